"""The study of over-optimisation with a gold reward model. `./run experiment gold --help`."""

import argparse
import json
from pathlib import Path

from gold import bestofn, policies, tables
from gold import settings as S
from gold.material import make_models, prepare
from gold.work import OutOfTime, Work

ROOT = Path(__file__).resolve().parents[2]
FIGURES = Path(__file__).parent / "figures.jsonl"
LABELS = Path(__file__).parent / "labels"
BEST_OF_N = [("test.accuracy_policy", "accuracy, policy's pairs"), ("test.gold_best_of_64", "gold, best of 64"), ("accuracy_pairs", "accuracy, pairs"),
         ("test.difference_scaled", "differences"), ("elsewhere.accuracy_policy", "accuracy elsewhere"), ("elsewhere.gold_best_of_32", "gold elsewhere, best of 32")]

MOVING = [("test.accuracy_own", "accuracy, policy's pairs"), ("test.gold", "gold"), ("kl", "KL"), ("accuracy_pairs", "accuracy, pairs"), ("elsewhere.accuracy_own", "accuracy elsewhere"),
          ("elsewhere.gold", "gold elsewhere")]


def make_parser(name, description, seeds, figures):
    """What every study of recipes/ is told; those that share a folder of work share its models and responses."""
    parser = argparse.ArgumentParser(prog=f"./run experiment {name}", description=description)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="HH-RLHF harmless pairs: train.jsonl.gz and validation.jsonl.gz")
    parser.add_argument("--work", type=Path, default=ROOT / ".cache/experiments/gold", metavar="DIR", help="models and responses; a later call goes on from there")
    parser.add_argument("--minutes", type=float, metavar="M", help="begin no step after this long; the next call goes on")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(seeds), metavar="N", help=f"default {' '.join(map(str, seeds))}; others may follow, up to {tables.MOST_SEEDS} in all")
    parser.add_argument("--model", type=Path, default=ROOT / ".cache/smollm2/SmolLM2-135M-Instruct", metavar="DIR", help="the language model")
    parser.add_argument("--metarm", type=Path, default=ROOT / "build/metarm", metavar="PROGRAM")
    parser.add_argument("--figures", type=Path, default=figures, metavar="FILE", help="where the figures of what has finished go, beside those that it holds")
    parser.add_argument("--labels", type=Path, default=LABELS, metavar="DIR", help="responses with gold rewards: read where they are there, else made and left there")
    return parser


def parse_arguments():
    description = "Proxies learn from a gold reward model; policies are optimised against them; what does each way of aligning them change?"
    return make_parser("gold", description, S.SEEDS, FIGURES).parse_args()


def labelled_pools(work):
    """pool -> file of response groups with gold rewards, as `prepare` leaves them."""
    return {pool: work.path(f"pools/{pool}.gold.jsonl") for pool in ("pairs", "train", "test", "elsewhere")}


def moving_seeds(planned, asked):
    """Of the seeds that are asked for, those of the plan and those beyond the study's own."""
    return [seed for seed in sorted(set(asked)) if seed in planned or seed not in S.SEEDS]


def run(work, options):
    labelled = prepare(work, options.model, options.data, ROOT / "data/starter", options.labels)
    for methods in (S.QUESTION, S.MAIN, S.GRID):
        for seed in options.seeds:
            for method in methods:
                bestofn.run_method(work, method, seed, labelled)
    if S.MOVING:
        make_models(work, options.model, options.data)
    for optimiser, (methods, seeds) in S.MOVING.items():
        for seed in moving_seeds(seeds, options.seeds):
            for method in methods:
                policies.run_method(work, optimiser, method, seed, labelled)


def merge(old, new):
    """Figures of earlier calls, on this machine or others, and those of this one, which count where both have a round."""
    key = lambda row: (row["setting"], row["method"], row["seed"], row["round"])
    return list(({key(row): row for row in old} | {key(row): row for row in new}).values())


def collect(work, seeds):
    """Figures of everything that has finished here, in the order of the plan."""
    labelled = labelled_pools(work)
    rows = [row for method in (*S.MAIN, *S.GRID) for seed in seeds for row in bestofn.measure_method(work, method, seed, labelled)]
    return rows + [row for optimiser, (methods, _) in S.MOVING.items() for method in methods for seed in seeds
                   for row in policies.measure_method(work, optimiser, method, seed)]


def take_part(options, run, collect, planned):
    """One call of any study: its steps as far as the time goes, and the figures of all planned and asked seeds to their file. Returns (work, all figures)."""
    seeds = sorted({*planned, *options.seeds})
    count = len({*seeds, *(row["seed"] for row in tables.read_figures(options.figures))})
    if count > tables.MOST_SEEDS:
        raise SystemExit(f"experiment: --seeds: expected at most {tables.MOST_SEEDS} with the planned ones and those in {options.figures}, got {count}")
    work = Work(options.work, options.metarm, options.minutes)
    try:
        run(work, options)
    except OutOfTime as next_step:
        print(f"the time of this part is over before {next_step}; call again to go on")
    rows = merge(tables.read_figures(options.figures), collect(work, seeds))
    options.figures.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return work, rows


def main():
    options = parse_arguments()
    work, rows = take_part(options, run, collect, S.SEEDS)
    for setting in dict.fromkeys(row["setting"] for row in rows):
        for number in range(1, S.ROUNDS + 1):
            found = [row for row in rows if row["setting"] == setting]
            print(f"\n{setting}, round {number}\n\n{tables.table(found, BEST_OF_N if setting == 'best-of-n' else MOVING, number)}")
    fixed = [row for row in rows if row["setting"] == "best-of-n"]
    for pool in bestofn.MEASURED if fixed else ():
        print(f"\nover-optimisation, {pool}, round {S.ROUNDS}\n\n{tables.over_optimisation(fixed, pool, S.ROUNDS)}")
    planned = [method.name for method in S.QUESTION if method.options.get("method") == "meta"]
    print(f"\nwhat was asked, round {S.ROUNDS}\n\n{tables.verdicts(fixed, planned, BEST_OF_N[:2], S.ROUNDS)}")
    seconds = work.seconds()
    print(f"\n{len(seconds)} steps done, {sum(seconds.values()) / 3600:.2f} processor hours in all; figures: {options.figures}")


if __name__ == "__main__":
    main()
