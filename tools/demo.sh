#!/usr/bin/env bash
# The main job on a real language model: train a reward model, then two rounds of sampling, aligning, optimising the policy and measuring.
# Interrupted, the same call goes on.
set -euo pipefail
CALLED_FROM=${METARM_CALLED_FROM:-$PWD}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/setup.sh
source tools/model.sh
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}  # threads that spin starve each other on a busy machine

WORK=demo
OUTPUTS=(rm rounds rounds.toml report.html train.jsonl heldout.jsonl prompts.jsonl)
RECIPE=recipes/demo/rounds.toml
STARTER=data/starter
PROMPTS=48 HELDOUT=100  # rows at most: more take longer

usage() {
  cat <<'TEXT'
./run demo [--pairs FILE] [--prompts FILE] [--work DIR]
  --pairs FILE    your own preference pairs (JSON lines: prompt, chosen, rejected; or chosen, rejected); a fifth is held out
  --prompts FILE  prompts for the policy; default: the starter set's, or with --pairs those of the pairs
  --work DIR      where the models and tables go (default: demo)
The same call again goes on where it was interrupted; other files in the same --work begin anew.
TEXT
}

# The value of the option $1, a path as seen from where the demo was called.
path_after() {
  [ -n "${2:-}" ] || fail "demo: $1: expected a path, got none"
  case $2 in /*) echo "$2" ;; *) echo "$CALLED_FROM/$2" ;; esac
}

check_input() {
  [ -f "$2" ] && [ -r "$2" ] || fail "demo: $1: expected a file, got $2"
  for name in "${OUTPUTS[@]}"; do
    ! [ "$2" -ef "$WORK/$name" ] || fail "demo: $1: expected a file that the demo does not write, got $2; move it or choose another --work"
  done
}

# A mark says that what is under the demo's names in the folder is the demo's, and what it was made from: it is gone on with, or with other
# inputs made anew.
claim_work_folder() {
  local mark=$WORK/.metarm-demo name inputs
  inputs=$(sha256sum "$RECIPE" "$@")
  if [ ! -e "$mark" ]; then
    for name in "${OUTPUTS[@]}"; do
      [ ! -e "$WORK/$name" ] || fail "demo: --work: expected a folder without a $name of yours, got $WORK; choose another"
    done
    mkdir -p "$WORK"
  elif [ "$(cat "$mark")" != "$inputs" ]; then
    for name in "${OUTPUTS[@]}"; do rm -rf "${WORK:?}/$name"; done
  fi
  echo "$inputs" >"$mark"
}

# The recipe with this run's files in the place of the starter set's.
write_config() {
  local text
  case $train$heldout$WORK in
    *['"\{}']*) fail "demo: expected paths without quotes, backslashes and braces, got $train and $WORK" ;;
  esac
  text=$(cat "$RECIPE")
  text=${text//"$STARTER/train.jsonl"/"$train"}
  text=${text//"$STARTER/heldout.jsonl"/"$heldout"}
  text=${text//"$STARTER/prompts.jsonl"/"$WORK/prompts.jsonl"}
  echo "$text" >"$WORK/rounds.toml"
}

pairs='' prompts=''
while [ $# -gt 0 ]; do
  case $1 in
    --pairs) pairs=$(path_after "$@"); shift 2 ;;
    --prompts) prompts=$(path_after "$@"); shift 2 ;;
    --work) WORK=$(path_after "$@"); shift 2 ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && fail "demo: unknown option $1" ;;
  esac
done

[ -z "$pairs" ] || check_input --pairs "$pairs"
[ -z "$prompts" ] || check_input --prompts "$prompts"
prompts=${prompts:-${pairs:-$STARTER/prompts.jsonl}}
claim_work_folder "${pairs:-$STARTER/train.jsonl}" "$prompts"
fetch_model || fail "could not get the language model; check the network, then call again"
if [ -n "$pairs" ]; then
  "$PYTHON" tools/split_pairs.py "$pairs" "$WORK/train.jsonl" "$WORK/heldout.jsonl"
  "$PYTHON" tools/pick_rows.py "$WORK/heldout.jsonl" "$WORK/heldout.jsonl" "$HELDOUT"
  train=$WORK/train.jsonl heldout=$WORK/heldout.jsonl
else
  train=$STARTER/train.jsonl heldout=$STARTER/heldout.jsonl
fi
"$PYTHON" tools/pick_rows.py "$prompts" "$WORK/prompts.jsonl" "$PROMPTS"
write_config

say "training a reward model on $train"
build/metarm train --model "$MODEL" --pairs "$train" --eval-pairs "$heldout" --output "$WORK/rm" --lr 2e-5 --batch-size 8 --max-steps 32 --save-steps 16 --max-length 512 --seed 1 --resume
say "two rounds, as $WORK/rounds.toml says: sample from the policy, align the reward model, optimise the policy against it, measure"
build/metarm rounds --config "$WORK/rounds.toml" --output "$WORK/rounds" --policy "$MODEL" --rm "$WORK/rm"
build/metarm report "$WORK/rm" "$WORK/rounds" --output "$WORK/report.html" --quiet
"$PYTHON" tools/demo_summary.py "$WORK/rm" "$WORK/rounds"
say "all of it as a page, for a browser: $WORK/report.html"
