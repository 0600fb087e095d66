#!/usr/bin/env bash
# Run on a Cloud TPU VM to the end, over as many preemptions as it takes:   launch/tpu_vm.sh all --name NAME --zone us-west4-a --type v5litepod-8 --spot --bucket gs://BUCKET/FOLDER -- --config configs/mri_cnn_lstm.py:demo --workdir runs/demo
#
# create | install | run | delete   the steps of `all`: make the VM, copy the checkout and install it on every worker, run until done, delete.
#                                   `run` takes the options of `all`; it makes the VM where it is not there, and leaves it.
# --type      one host: v2-8 v3-8 v4-8 v5p-8 v5litepod-1 v5litepod-4 v5litepod-8 v6e-1 v6e-4 v6e-8. A larger one is a slice of several hosts: the
#             same command starts on each, and gets --config.device.processes=0, with which they train together (train and evaluate only).
# --bucket    gets the workdir every --seconds (300) and at the end; a VM made after a preemption resumes from there. A folder for each run.
# --data      gs:// folder with your table and scans, copied to `data/` on the VM: --config.cohort.table=data/my.csv
# --version   runtime of the VM, default the one that belongs to --type.    --spot  cheaper, and preempted at any time.
# --dry-run   prints the commands and executes none.
#
# gcloud must be logged in, with a project; the VM's service account must be allowed to read --data and to write --bucket. --workdir is a folder
# on the VM, relative to the checkout. When `all` is interrupted the program saves, the workdir is copied, and the VM is deleted.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
pause=${PAUSE:-60} # seconds between two attempts
most=60            # attempts after a preemption, or another loss, without ten minutes of work between
dry_run=${DRY_RUN:-}
step='' name='' zone='' type='' bucket='' data='' version='' seconds=300 spot=()

stop_with() {
  echo "error: $1" >&2
  exit 2
}

parse() {
  step=${1:-}
  case $step in create | install | run | delete | all) shift ;; *) stop_with "begin with create, install, run, delete or all: see the first lines of this file" ;; esac
  while (($#)); do
    case $1 in
      --name | --zone | --type | --bucket | --data | --version | --seconds)
        (($# > 1)) || stop_with "$1 needs a value"
        printf -v "${1#--}" '%s' "${2%/}"
        shift
        ;;
      --spot) spot=(--spot) ;;
      --dry-run) dry_run=1 ;;
      --)
        shift
        break
        ;;
      *) stop_with "$1 is no option of tpu_vm.sh; the program's own go after --" ;;
    esac
    shift
  done
  program=("$@")
}

check() {
  [[ -n $name && -n $zone ]] || stop_with "--name and --zone are missing"
  case $step in create | run | all) check_type ;; esac
  case $step in run | all) check_run ;; esac
}

check_type() {
  case $type in
    v[234]-[1-9]*) version=${version:-tpu-ubuntu2204-base} ;;
    v5litepod-[1-9]*) version=${version:-v2-alpha-tpuv5-lite} ;;
    v5p-[1-9]*) version=${version:-v2-alpha-tpuv5} ;;
    v6e-[1-9]*) version=${version:-v2-alpha-tpuv6e} ;;
    '') stop_with "--type is missing, such as --type v5litepod-8" ;;
    *) stop_with "--type $type is unknown: one as v5litepod-8, of v2, v3, v4, v5litepod, v5p or v6e" ;;
  esac
  case $type in
    v[234]-8 | v5p-8 | v5litepod-[148] | v6e-[148]) ;;
    *) program+=(--config.device.processes=0) ;;
  esac
}

check_run() {
  local place='' argument
  [[ $bucket == gs://?* ]] || stop_with "--bucket gs://BUCKET/FOLDER is missing: what the VM wrote is lost with it otherwise"
  [[ -z $data || $data == gs://?* ]] || stop_with "--data $data is no gs:// folder"
  [[ $seconds =~ ^[1-9][0-9]*$ ]] || stop_with "--seconds $seconds is no whole number above 0"
  for argument in "${program[@]}"; do
    [[ $place != next ]] || place=$argument
    case $argument in --workdir) place=next ;; --workdir=*) place=${argument#*=} ;; esac
  done
  [[ -n $place && $place != next ]] || stop_with "the program's --workdir is missing after the --"
  [[ $place != /* && $place != *://* && $place != *..* ]] ||
    stop_with "--workdir $place must be a folder below the checkout, such as runs/demo: it is --bucket that keeps it"
}

run() {
  if [[ -n $dry_run ]]; then
    printf '+'
    printf ' %q' "$@"
    echo
  else
    "$@"
  fi
}

tpu_vm() {
  run gcloud --quiet compute tpus tpu-vm "$@" --zone="$zone"
}

on_workers() {
  tpu_vm ssh "$name" --worker=all --command="$1"
}

state() {
  if [[ -n $dry_run ]]; then
    echo "${pretended:-ABSENT}"
  else
    gcloud --quiet compute tpus tpu-vm describe "$name" --zone="$zone" --format='value(state)' 2>/dev/null || echo ABSENT
  fi
}

create() {
  made=1
  tpu_vm create "$name" --accelerator-type="$type" --version="$version" --scopes=https://www.googleapis.com/auth/cloud-platform "${spot[@]}"
}

# Only what is installed leaves the checkout: patients' files may lie in it.
install() {
  local folder code=0
  folder=$(mktemp -d)
  run tar -czf "$folder/jaxstroke.tar.gz" -C "$root" --exclude=__pycache__ pyproject.toml README.md LICENSE jaxstroke configs launch &&
    tpu_vm scp "$folder/jaxstroke.tar.gz" "$name:" --worker=all &&
    on_workers 'mkdir -p jaxstroke && tar -xzf jaxstroke.tar.gz -C jaxstroke && bash jaxstroke/launch/tpu_worker.sh install' || code=$?
  rm -rf "$folder"
  return "$code"
}

delete() {
  tpu_vm delete "$name"
}

# A VM that is ready, whatever became of the last one.
have_vm() {
  case $(state) in
    READY) ;;
    ABSENT) create && install && pretended=READY ;;
    PREEMPTED | TERMINATED | STOPPED)
      echo "$name was taken away: making it again" >&2
      delete && create && install
      ;;
    *) return 1 ;; # on its way
  esac
}

begin() {
  on_workers "bash jaxstroke/launch/tpu_worker.sh start$1"
}

# Start and follow until the program has ended. Once it ran, whatever fails is tried again: the VM may be gone, or no other to be had yet.
run_to_the_end() {
  local arguments code began failures=0
  printf -v arguments ' %q' "$bucket" "$seconds" "$data" -- "${program[@]}"
  while ((failures < most)); do
    code=1
    if have_vm && { begin "$arguments" || { install && begin "$arguments"; }; }; then
      ran=1 code=0 began=$SECONDS
      on_workers 'bash jaxstroke/launch/tpu_worker.sh follow' & # in the background, so that a signal to this script is heard
      follower=$!
      wait "$follower" || code=$?
      follower=''
      ((SECONDS - began < 600)) || failures=0
    fi
    case $code in
      0)
        echo "done: $bucket/workdir"
        return
        ;;
      90) return 1 ;;
      91)
        keep_vm=1
        echo "error: the workdir could not be copied to $bucket; it is on $name, which is not deleted" >&2
        return 1
        ;;
    esac
    [[ -n $ran ]] || return 1
    failures=$((failures + 1))
    sleep "$pause"
  done
  echo "error: $most attempts on $name came to nothing; the same command resumes from $bucket" >&2
  return 1
}

leave() {
  [[ -z $follower ]] || kill "$follower" 2>/dev/null || true
}

# Whatever ends `all` deletes the VM, after the program has saved where it was interrupted.
finish() {
  local code=$?
  trap '' INT TERM
  leave
  if [[ -z $keep_vm ]]; then
    if ((code == 130 || code == 143)) && [[ $(state) == READY ]]; then
      on_workers 'bash jaxstroke/launch/tpu_worker.sh stop' || echo "the program on $name could not be stopped; what was copied before is kept" >&2
    fi
    if [[ -n $made || $(state) != ABSENT ]] && ! delete; then
      echo "error: $name could not be deleted; see that it does not go on costing money: launch/tpu_vm.sh delete --name $name --zone $zone" >&2
      code=1
    fi
  fi
  exit "$code"
}

follower='' keep_vm='' made='' ran='' pretended=''
parse "$@"
check
trap 'exit 130' INT
trap 'exit 143' TERM
case $step in
  run)
    trap leave EXIT # the program goes on; the same command follows it again
    run_to_the_end
    ;;
  all)
    trap finish EXIT
    run_to_the_end
    ;;
  *) "$step" ;;
esac
