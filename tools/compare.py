"""compare.py BEFORE.json AFTER.json: the table of what aligning changed, from two `metarm eval --json` outputs."""

import json
import sys

ROWS = [
    ("accuracy on held-out pairs", lambda e: f"{e['pairs']['accuracy']:.3f} [{e['pairs']['accuracy_low']:.3f}, {e['pairs']['accuracy_high']:.3f}]"),
    ("reward deviation on the pairs", lambda e: f"{e['pairs']['reward_deviation']:.3f}"),
    ("reward differences on the responses: mean", lambda e: f"{e['responses']['mean']:.3f}"),
    ("  variance", lambda e: f"{e['responses']['variance']:.3f}"),
    ("  mean / deviation", lambda e: f"{e['responses']['scaled_mean']:.3f}"),
    ("  variance / deviation squared", lambda e: f"{e['responses']['scaled_variance']:.3f}"),
    ("  near ties", lambda e: f"{100 * e['responses']['near_ties']:.1f} %"),
]


def main():
    before, after = (json.load(open(path)) for path in sys.argv[1:3])
    print(f"{before['pairs']['pairs']} held-out pairs, {before['responses']['groups']} prompts with responses; accuracy with its 95 % interval\n")
    print(f"{'':44}{'before':24}after")
    for name, show in ROWS:
        print(f"{name:44}{show(before):24}{show(after)}")
    print("\nRaw differences grow with the rewards' scale; only those divided by the deviation say how well responses are told apart,\n"
          "and only accuracy says whether they are told apart rightly.")


if __name__ == "__main__":
    main()
