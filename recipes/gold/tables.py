"""Figures of all seeds to tables: means with 95 % intervals over seeds, and differences from a method seed by seed."""

import json
import statistics
from collections import defaultdict

# Student's t, two-sided 95 %, by degrees of freedom.
T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def interval(values):
    """(mean, half of its 95 % interval over seeds; None from one value)."""
    mean = statistics.fmean(values)
    return mean, T95[len(values) - 1] * statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None


def shown(values, digits=3):
    mean, half = interval(values)
    return f"{mean:.{digits}f}" + ("" if half is None else f" ± {half:.{digits}f}")


def by_method(rows, round_number):
    """method -> seed -> figures; a method that never trains counts in every round."""
    found = defaultdict(dict)
    for row in rows:
        if row["round"] in (round_number, 0):
            found[row["method"]][row["seed"]] = row
    return found


def table(rows, figures, round_number, against="none"):
    """Markdown: a line a method, for each (figure, title) its mean and, below `against`, its difference from that method on the same seeds."""
    methods = by_method(rows, round_number)
    lines = ["| method | seeds | " + " | ".join(f"{title} | − {against}" for _, title in figures) + " |", "| --- " * (2 + 2 * len(figures)) + "|"]
    for method, seeds in methods.items():
        cells = []
        for figure, _ in figures:
            shared = [seed for seed in seeds if seed in methods.get(against, {})]
            differences = [seeds[seed][figure] - methods[against][seed][figure] for seed in shared]
            cells += [shown([row[figure] for row in seeds.values()]), shown(differences) if differences and method != against else ""]
        lines.append(f"| {method} | {len(seeds)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def read_figures(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
