#!/usr/bin/env bash
# An experiment of recipes/, in the Python environment of the tests; each goes on from where it was.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/setup.sh
source tools/model.sh
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}

name=${1:-}
case $name in
  gold | shift | objectives) ;;
  *) fail "experiment: expected gold, shift or objectives, got ${name:-nothing}" ;;
esac
shift
case " $* " in
  *" -h "* | *" --help "*) ;;
  *)
    build_program
    need_test_python
    fetch_model || fail "could not get the language model; check the network, then call again"
    ;;
esac
PYTHONPATH=recipes exec "$PYTHON" -m "$name" "$@"
