#!/usr/bin/env bash
# metarm beside its peers on this machine: builds it, sets up the peers, gets the model, measures. With --serve, its server beside a plain one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/setup.sh
source tools/model.sh

main=bench/main.py
if [ "${1:-}" = --serve ]; then
  main=bench/serve/main.py
  shift
fi

case " $* " in
  *" -h "* | *" --help "*) exec python3 "$main" --help ;;
  *" --metarm "*) ;;
  *) build_program ;;
esac
case " $* " in
  *" --short "* | *" --model "*) ;;
  *) [ -f "$MODEL/config.json" ] || { build_program && fetch_model; } || fail "could not get the language model; check the network, then call again" ;;
esac
need_bench_python
exec .venv-bench/bin/python "$main" "$@"
