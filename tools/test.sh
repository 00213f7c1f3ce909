#!/usr/bin/env bash
# Every test: the C++ programs, the parsers' corpus under sanitizers, then the Python ones (oracles, commands, faults).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/setup.sh
source tools/model.sh
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}  # threads that spin starve each other on a busy machine

need_packages "${BUILD_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
need_browser
need_test_python
build_in build
fetch_model || fail "could not get the language model of the tests; check the network, then call again"
build_in build-sanitize -- -DMETARM_TORCH=OFF -DMETARM_SANITIZE=ON -DMETARM_MPI=OFF

status=0
say "C++ tests"
ctest --test-dir build --output-on-failure || status=1
say "parsers and their corpus under address and undefined-behaviour sanitizers"
ctest --test-dir build-sanitize --output-on-failure || status=1
say "Python tests: transformers, tokenizers, gguf, PEFT and plain PyTorch as oracles; commands; faults"
METARM=build/metarm "$PYTHON" -m pytest -q -rs -n auto --maxprocesses 4 --dist loadfile tests "$@" || status=1
exit $status
