#!/usr/bin/env bash
# What tpu_vm.sh does on the TPU VM itself, in the copied checkout:   launch/tpu_worker.sh install | start BUCKET SECONDS DATA -- ... | follow | stop
#
# start   begins what `keep` does, in the background, unless the same command is at it or has finished: a lost connection starts nothing twice
# keep    brings the workdir back from the bucket, runs the program, and copies the workdir to the bucket every SECONDS and at the end; of
#         several hosts the first copies, whose program alone writes results
# follow  prints the log until that has ended, and exits 0 finished | 90 failed | 91 finished or failed, but not copied | 92 stopped, resumes
# stop    ends the program with SIGTERM and waits until it has saved and the workdir is copied
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

metadata=http://metadata.google.internal/computeMetadata/v1/instance/attributes
notes=.launch # log, pid and command of the keeper, and how it ended
mkdir -p "$notes"

install() {
  if [[ ! -x .venv/bin/python ]]; then # the VM's own Python is older than 3.11
    python3 -m pip install --quiet --user uv
    "$HOME/.local/bin/uv" venv --quiet --seed --python 3.12 .venv
  fi
  .venv/bin/python -m pip install --quiet --editable '.[tpu]'
}

start() {
  local wanted
  printf -v wanted '%q ' "$@"
  exec 9>"$notes/lock"
  if ! flock --nonblock 9; then
    echo "already running"
    return
  fi
  if [[ -f $notes/status && $(<"$notes/status") == finished && $(<"$notes/command") == "$wanted" ]]; then
    echo "already finished"
    return
  fi
  rm -f "$notes/status"
  printf '%s\n' "$wanted" >"$notes/command"
  nohup setsid --fork bash launch/tpu_worker.sh keep "$@" >>"$notes/log" 2>&1 </dev/null # holds the lock, 9, as long as it lives
  until [[ -f $notes/pid && -d /proc/$(<"$notes/pid") || -f $notes/status ]]; do sleep 0.1; done
}

keep() {
  local bucket=$1 seconds=$2 data=$3 code=0 status=failed before
  shift 4
  echo "$BASHPID" >"$notes/pid"
  workdir=$(workdir_of "$@" | tail --lines=1)
  worker=$(curl --silent --fail --header 'Metadata-Flavor: Google' "$metadata/agent-worker-number" || echo 0)
  before=$(stat --format=%s "$notes/log")
  if ! gcloud storage cp "$notes/command" "$bucket/command.txt" || ! restore "$bucket" || ! fetch "$data"; then
    echo "error: $bucket or $data cannot be read, or $bucket not be written, by this VM's service account"
    echo failed >"$notes/status"
    return
  fi
  .venv/bin/python -m jaxstroke.main "$@" &
  program=$!
  trap 'trap "" TERM; kill -TERM "$program" 2>/dev/null || true' TERM # once: a second signal would end it without saving
  while going_on "$program" "$seconds"; do
    mirror "$bucket" || echo "the copy to $bucket failed; another follows in $seconds s"
  done
  trap '' TERM
  wait "$program" || code=$?
  # It exits 0 when it is done and when it was stopped. 143: the signal came before it could listen; 134: another host is gone.
  if ((code == 143 || code == 134)) || grep --quiet '^stopped, nothing is lost' <(tail --bytes=+$((before + 1)) "$notes/log"); then
    status=stopped
  elif ((code == 0)); then
    status=finished
  fi
  for _ in 1 2 3 4 5; do
    if mirror "$bucket"; then
      echo "$status" >"$notes/status"
      return
    fi
    sleep "${PAUSE:-30}"
  done
  echo uncopied >"$notes/status"
}

workdir_of() {
  while (($#)); do
    case $1 in
      --workdir | -workdir) echo "$2" ;;
      --workdir=* | -workdir=*) echo "${1#*=}" ;;
    esac
    shift
  done
}

# Wait some seconds, or until the program has ended: whether it goes on.
going_on() {
  for ((second = 0; second < $2; second++)); do
    kill -0 "$1" 2>/dev/null || return 1
    sleep 1
  done
}

# The workdir as it was last copied, on a VM that has none; whole or not at all.
restore() {
  local there
  there=$(gcloud storage ls "$1/") || return 1
  if [[ ! -e $workdir ]] && grep --quiet '/workdir/$' <<<"$there"; then
    mkdir -p "$notes/restored" "$(dirname "$workdir")"
    gcloud storage rsync "$1/workdir" "$notes/restored" --recursive && mv "$notes/restored" "$workdir"
  fi
}

fetch() {
  if [[ -n $1 ]]; then
    mkdir -p data
    gcloud storage rsync "$1" data --recursive
  fi
}

# The workdir to the bucket, such that what is there can be resumed from whenever this VM is lost. First a snapshot of links, the checkpoints
# before the rest: a network that a checkpoint calls finished is then among the networks. Then what is new, the checkpoints last, and only
# when all of it is there does the bucket lose what is gone here.
mirror() {
  local copy=$notes/mirror
  ((worker == 0)) || return 0
  rm -rf "$copy"
  mkdir -p "$copy/checkpoints"
  if [[ -d $workdir/checkpoints ]]; then
    find "$workdir/checkpoints" -mindepth 1 -maxdepth 1 ! -name '*tmp*' -exec cp -al -t "$copy/checkpoints" {} + || return 1
  fi
  if [[ -d $workdir ]]; then
    find "$workdir" -mindepth 1 -maxdepth 1 ! -name checkpoints -exec cp -al -t "$copy" {} + || return 1
  fi
  [[ -n $(find "$copy" -type f -print -quit) ]] || return 0
  gcloud storage rsync "$copy" "$1/workdir" --recursive --exclude='^checkpoints/.*' &&
    gcloud storage rsync "$copy" "$1/workdir" --recursive &&
    gcloud storage rsync "$copy" "$1/workdir" --recursive --delete-unmatched-destination-objects
}

follow() {
  [[ ! -f $notes/pid ]] || tail --pid="$(<"$notes/pid")" --lines=20 --follow "$notes/log"
  local status=gone
  [[ ! -f $notes/status ]] || status=$(<"$notes/status")
  case $status in
    finished) ;;
    failed) return 90 ;;
    uncopied) return 91 ;;
    *) return 92 ;; # stopped, or killed: the next start resumes
  esac
}

stop() {
  if [[ -f $notes/pid ]] && kill -TERM "$(<"$notes/pid")" 2>/dev/null; then
    tail --pid="$(<"$notes/pid")" --lines=0 --follow "$notes/log"
  fi
}

"$@"
