"""All parts of the toolbox on the same data, in one table. `./run experiment shift --help`."""

from pathlib import Path

from gold import tables
from gold.material import prepare
from gold.study import ROOT, labelled_pools, make_parser, take_part
from shift import parts
from shift import settings as S

FIGURES = Path(__file__).parent / "figures.jsonl"
SHOWN = [("accuracy_pairs", "accuracy, pairs"), ("pairs.calibration_error", "calibration error, pairs"), ("test.accuracy_policy", "accuracy, shifted"), ("test.calibration_error", "calibration error, shifted"),
         ("elsewhere.accuracy_policy", "accuracy elsewhere"), ("elsewhere.calibration_error", "calibration error elsewhere"),
         ("test.gold_best_of_64", "gold, best of 64"), ("seconds", "processor seconds")]


def parse_arguments():
    description = "What does each part of the toolbox do for a small reward model, on its pairs, on shifted responses, elsewhere?"
    return make_parser("shift", description, S.SEEDS, FIGURES).parse_args()


def run(work, options):
    """Makes and scores what the file of figures lacks."""
    labelled = prepare(work, options.model, options.data, ROOT / "data/starter", options.labels)
    for seed in options.seeds:
        measured = {row["method"] for row in tables.read_figures(options.figures) if row["seed"] == seed}
        if not measured.issuperset(parts.all_names()):
            parts.Seed(work, seed, labelled, measured).run_all()


def collect(work, seeds):
    labelled = labelled_pools(work)
    seconds = work.seconds()
    found = [parts.measure(work, seed, name, labelled, seconds) for name in parts.all_names() for seed in seeds]
    return [row for row in found if row]


def main():
    options = parse_arguments()
    _, rows = take_part(options, run, collect, S.SEEDS)
    print(tables.table(rows, SHOWN, 0, against=parts.PLAIN))
    print(f"\nfigures: {options.figures}")


if __name__ == "__main__":
    main()
