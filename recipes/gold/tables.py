"""Figures of all seeds to tables: means with 95 % intervals over seeds, and differences from a method seed by seed."""

import json
import statistics
from collections import defaultdict

from gold.bestof import best_of_kl

# Student's t, two-sided 95 %, by degrees of freedom.
T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228, 11: 2.201, 12: 2.179, 13: 2.160, 14: 2.145, 15: 2.131, 16: 2.120,
       17: 2.110, 18: 2.101, 19: 2.093}
# The same, 98.75 %: for four comparisons that share 5 %.
T9875 = {1: 50.923, 2: 8.860, 3: 5.392, 4: 4.315, 5: 3.810, 6: 3.521, 7: 3.335, 8: 3.206, 9: 3.111, 10: 3.038, 11: 2.981, 12: 2.934, 13: 2.896, 14: 2.864, 15: 2.837, 16: 2.813,
         17: 2.793, 18: 2.775, 19: 2.759}
MOST_SEEDS = max(T95) + 1


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


def over_optimisation(rows, pool, round_number):
    """Markdown: a line a method, gold reward of the best of each n, means over seeds, and seed by seed what the largest n has more than n = 1 and than the n that is best on average; 95 % intervals.

    Where the largest is the best, the last cell is empty. The best n is chosen by the same figures: an interval just below 0 is no proof.
    """
    figure = f"{pool}.gold_best_of_"
    numbers = sorted({int(name.removeprefix(figure)) for row in rows for name in row if name.startswith(figure)})
    most = numbers[-1]
    apart = lambda seeds, n: shown([row[f"{figure}{most}"] - row[f"{figure}{n}"] for row in seeds.values()])
    lines = [f"| method | seeds | n = {' | '.join(map(str, numbers))} | {most} − 1 | {most} − best |", "| --- " * (4 + len(numbers)) + "|",
             "| KL, nats | | " + " | ".join(f"{best_of_kl(n):.2f}" for n in numbers) + " | | |"]
    for method, seeds in by_method(rows, round_number).items():
        means = {n: statistics.fmean(row[f"{figure}{n}"] for row in seeds.values()) for n in numbers}
        best = max(numbers, key=means.get)
        cells = [*(f"{mean:.3f}" for mean in means.values()), apart(seeds, 1), f"{apart(seeds, best)} (n = {best})" if best != most else ""]
        lines.append(f"| {method} | {len(seeds)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def read_figures(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
