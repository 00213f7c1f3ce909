"""Figures of all seeds to tables: means with 95 % intervals over seeds, and differences from a method seed by seed."""

import json
import statistics
from collections import defaultdict

# Student's t, two-sided 95 %, by degrees of freedom.
T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
# The same, 98.75 %: for four comparisons that share 5 %.
T9875 = {1: 50.923, 2: 8.860, 3: 5.392, 4: 4.315, 5: 3.810, 6: 3.521, 7: 3.335, 8: 3.206, 9: 3.111}


def interval(values, quantiles=T95):
    """(mean, half of its interval over seeds; None from one value)."""
    mean = statistics.fmean(values)
    return mean, quantiles[len(values) - 1] * statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None


def shown(values, digits=3, quantiles=T95):
    mean, half = interval(values, quantiles)
    return f"{mean:.{digits}f}" + ("" if half is None else f" ± {half:.{digits}f}")


def by_method(rows, round_number):
    """method -> seed -> figures; a method that never trains counts in every round."""
    found = defaultdict(dict)
    for row in rows:
        if row["round"] in (round_number, 0):
            found[row["method"]][row["seed"]] = row
    return found


def differences(rows, method, against, figure, round_number):
    """Of each seed that has both."""
    methods = by_method(rows, round_number)
    ours, theirs = methods.get(method, {}), methods.get(against, {})
    return [ours[seed][figure] - theirs[seed][figure] for seed in ours if seed in theirs]


def verdicts(rows, methods, figures, round_number, against="none"):
    """Markdown: a line for each comparison that was planned, with its interval and whether that is the success that was stated before."""
    lines = [f"| method | measure | seeds | − {against}, 98.75 % interval | success |", "| --- | --- | --- | --- | --- |"]
    for method in methods:
        for figure, title in figures:
            found = differences(rows, method, against, figure, round_number)
            mean, half = interval(found, T9875) if found else (0, None)
            if half is not None:
                lines.append(f"| {method} | {title} | {len(found)} | {shown(found, 3, T9875)} | {'yes' if mean - half > 0 else 'no'} |")
    return "\n".join(lines)


def table(rows, figures, round_number, against="none"):
    """Markdown: a line a method, for each (figure, title) its mean and, below `against`, its difference from that method on the same seeds."""
    methods = by_method(rows, round_number)
    lines = ["| method | seeds | " + " | ".join(f"{title} | − {against}" for _, title in figures) + " |", "| --- " * (2 + 2 * len(figures)) + "|"]
    for method, seeds in methods.items():
        cells = []
        for figure, _ in figures:
            apart = differences(rows, method, against, figure, round_number)
            cells += [shown([row[figure] for row in seeds.values()]), shown(apart) if apart and method != against else ""]
        lines.append(f"| {method} | {len(seeds)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def read_figures(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
