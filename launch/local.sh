#!/usr/bin/env bash
# Make the environment and run, here:   launch/local.sh -- --config configs/mri_cnn_lstm.py:demo --workdir runs/demo
#
# Before the `--`: --cpu, --cuda or --tpu (default: that of the last time, else cuda where nvidia-smi finds a GPU, else cpu), --install (end
# before the program), --dry-run (print the commands, execute none). What follows the `--` goes to the program as it is. The environment is
# .venv beside pyproject.toml; it is made once, and installed again only after pyproject.toml or the accelerator has changed.
# PYTHON names the Python that makes it, 3.11 or later.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
environment=$root/.venv
installed=$environment/installed-by-launch
python=${PYTHON:-python3}
dry_run=${DRY_RUN:-}
accelerator='' install_only=''

while (($#)); do
  case $1 in
    --cpu | --cuda | --tpu) accelerator=${1#--} ;;
    --install) install_only=1 ;;
    --dry-run) dry_run=1 ;;
    --) break ;;
    *)
      echo "error: $1 is no option of local.sh: --cpu, --cuda, --tpu, --install, --dry-run; the program's own go after --" >&2
      exit 2
      ;;
  esac
  shift
done
(($# == 0)) || shift # the --

run() {
  if [[ -n $dry_run ]]; then
    printf '+'
    printf ' %q' "$@"
    echo
  else
    "$@"
  fi
}

before='' kind=''
if [[ -f $installed ]]; then
  before=$(<"$installed")
  kind=${before%% *}
fi
if [[ -z $accelerator ]]; then
  if [[ -n $kind ]]; then
    accelerator=$kind
  elif nvidia-smi --list-gpus >/dev/null 2>&1; then
    accelerator=cuda
  else
    accelerator=cpu
  fi
fi
wanted="$accelerator $(cksum <"$root/pyproject.toml")"

if [[ ! -x $environment/bin/python ]]; then
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "error: $python is not Python 3.11 or later: name one that is, such as PYTHON=python3.12 launch/local.sh ..." >&2
    exit 2
  fi
  run "$python" -m venv "$environment"
fi
if [[ $before != "$wanted" ]]; then
  extra=''
  [[ $accelerator == cpu ]] || extra="[$accelerator]"
  run "$environment/bin/python" -m pip install --quiet --editable "$root$extra"
  [[ -n $dry_run ]] || echo "$wanted" >"$installed"
fi
[[ -z $install_only ]] || exit 0

# In this process: SIGTERM and Ctrl-C reach the program, which saves.
run exec "$environment/bin/python" -m jaxstroke.main "$@"
