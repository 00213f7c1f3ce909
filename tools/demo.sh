#!/usr/bin/env bash
# The main job on a real language model: train a reward model, let the policy answer, align the reward model to its answers, compare.
set -euo pipefail
CALLED_FROM=${METARM_CALLED_FROM:-$PWD}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/setup.sh
source tools/model.sh
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}  # threads that spin starve each other on a busy machine

WORK=demo
OUTPUTS=(rm aligned rm.json aligned.json train.jsonl heldout.jsonl responses.jsonl)

usage() {
  cat <<'TEXT'
./run demo [--pairs FILE] [--prompts FILE] [--work DIR]
  --pairs FILE    your own preference pairs (JSON lines: prompt, chosen, rejected; or chosen, rejected); a fifth is held out
  --prompts FILE  prompts for the policy; default: the starter set's, or with --pairs those of the pairs
  --work DIR      where the models and tables go (default: demo)
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

# A mark says that what is under the demo's names in the folder is the demo's, to be written again.
claim_work_folder() {
  local mark=$WORK/.metarm-demo
  if [ ! -e "$mark" ]; then
    for name in "${OUTPUTS[@]}"; do
      [ ! -e "$WORK/$name" ] || fail "demo: --work: expected a folder without a $name of yours, got $WORK; choose another"
    done
    mkdir -p "$WORK"
    touch "$mark"
  fi
  rm -rf "$WORK"/{rm,aligned}
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
claim_work_folder
fetch_model || fail "could not get the language model; check the network, then call again"
if [ -n "$pairs" ]; then
  "$PYTHON" tools/split_pairs.py "$pairs" "$WORK/train.jsonl" "$WORK/heldout.jsonl"
  train=$WORK/train.jsonl heldout=$WORK/heldout.jsonl prompts=${prompts:-$pairs}
else
  train=data/starter/train.jsonl heldout=data/starter/heldout.jsonl prompts=${prompts:-data/starter/prompts.jsonl}
fi

say "training a reward model on $train"
build/metarm train --model "$MODEL" --pairs "$train" --output "$WORK/rm" --lr 2e-5 --batch-size 8 --epochs 1 --max-length 512 --seed 1
say "sampling 4 responses a prompt from the model itself, the policy of this round"
build/metarm sample --model "$MODEL" --prompts "$prompts" --output "$WORK/responses.jsonl" --responses 4 --max-new-tokens 64 --temperature 1.0 --top-p 0.95 --seed 1
say "aligning the reward model with these responses"
build/metarm align --model "$WORK/rm" --pairs "$train" --responses "$WORK/responses.jsonl" --output "$WORK/aligned" --lr 5e-6 --batch-size 8 --max-steps 16 --meta-batch-size 4 --max-length 512 --seed 1
for model in rm aligned; do
  build/metarm eval --model "$WORK/$model" --pairs "$heldout" --responses "$WORK/responses.jsonl" --max-length 512 --json >"$WORK/$model.json"
done
build/metarm report "$WORK/rm" "$WORK/aligned" --output "$WORK/report.html" --quiet
"$PYTHON" tools/compare.py "$WORK/rm.json" "$WORK/aligned.json"
say "models: $WORK/rm and $WORK/aligned; responses: $WORK/responses.jsonl; curves: $WORK/report.html"
