#!/usr/bin/env bash
# Fuzzes every parser under address and undefined-behaviour sanitizers: tools/fuzz.sh SECONDS (for each parser). Finds land in the current folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/setup.sh

seconds=${1:-}
[[ $seconds =~ ^[0-9]+$ ]] || fail "fuzz: expected seconds for each parser, got '${seconds}'"
need_packages "${BUILD_PACKAGES[@]}" "${FUZZ_PACKAGES[@]}"
build_in build-fuzz -- -DCMAKE_CXX_COMPILER=clang++-14 -DMETARM_TORCH=OFF -DMETARM_SANITIZE=ON -DMETARM_FUZZ=ON
for corpus in tests/fuzz/corpus/*/; do
  parser=$(basename "$corpus")
  say "fuzzing $parser for $seconds s"
  mkdir -p "build-fuzz/new/$parser"
  "build-fuzz/tests/fuzz/fuzz_$parser" "build-fuzz/new/$parser" "$corpus" -max_total_time="$seconds" -print_final_stats=0 -verbosity=0 -artifact_prefix="build-fuzz/$parser-"
done
say "no parser failed"
