"""What repeated measurements say: ratios of each alternation, their median and spread, bars, and tables. No measuring here."""

from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Comparison:
    """`figure` of `left` divided by `right_figure` of `right`; of several contenders on one side, the one with the best median."""

    measure: str
    what: str
    left: tuple
    right: tuple
    figure: str
    right_figure: str = ""
    bar: float | None = None
    aim: float | None = None
    lower_is_better: bool = False

    @property
    def contenders(self):
        return self.left + self.right


def values(samples, contender, figure):
    return [sample[figure] for sample in samples[contender]]


def best(samples, contenders, figure, lower_is_better):
    choose = min if lower_is_better else max
    return choose(contenders, key=lambda contender: median(values(samples, contender, figure)))


def verdict(ratio, comparison):
    if comparison.bar is None:
        return ""
    reaches = (lambda limit: ratio <= limit) if comparison.lower_is_better else (lambda limit: ratio >= limit)
    if comparison.aim is not None and reaches(comparison.aim):
        return "aim reached"
    return "bar reached" if reaches(comparison.bar) else "BELOW THE BAR"


def compare(comparison, samples):
    """samples: contender -> figures of each alternation. None where a side was not measured at all."""
    left, right = ([name for name in side if samples.get(name)] for side in (comparison.left, comparison.right))
    if not left or not right:
        return None
    right_figure = comparison.right_figure or comparison.figure
    chosen_left = best(samples, left, comparison.figure, comparison.lower_is_better)
    chosen_right = best(samples, right, right_figure, comparison.lower_is_better)
    ratios = [a / b for a, b in zip(values(samples, chosen_left, comparison.figure), values(samples, chosen_right, right_figure), strict=True)]
    middle = median(ratios)
    return {"measure": comparison.measure, "what": comparison.what, "left": chosen_left, "right": chosen_right, "figure": comparison.figure,
            "right_figure": right_figure, "ratios": ratios, "median": middle, "min": min(ratios), "max": max(ratios), "bar": comparison.bar,
            "aim": comparison.aim, "lower_is_better": comparison.lower_is_better, "verdict": verdict(middle, comparison)}


def table(header, rows):
    """Columns as wide as their widest cell; the first one left-aligned, the others right-aligned."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = ["  ".join([row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]).rstrip() for row in cells]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _limit(value):
    return "" if value is None else f"{value:g}"


def ratio_table(results, judged):
    rows = []
    for result in results:
        spread = f"{result['min']:.2f} - {result['max']:.2f}"
        limits = [_limit(result["bar"]), _limit(result["aim"]), result["verdict"] if judged else ""]
        rows.append([result["what"], f"{result['median']:.2f}", spread, *limits, f"{result['left']} : {result['right']}"])
    return table(["ratio", "median", "min - max", "bar", "aim", "", "of"], rows)


UNITS = {"pairs_per_s": ("pairs/s", 1), "rows_per_s": ("rows/s", 1), "tokens_per_s": ("tokens/s", 1), "float32_flops_per_s": ("GFLOP/s in float32", 1e9),
         "bfloat16_flops_per_s": ("GFLOP/s in bfloat16", 1e9)}


def spread_text(numbers, scale):
    low, middle, high = min(numbers) / scale, median(numbers) / scale, max(numbers) / scale
    digits = 0 if middle >= 100 else 2
    return f"{middle:.{digits}f}", f"{low:.{digits}f} - {high:.{digits}f}"


def figure_table(samples, main_figures):
    """main_figures: contender -> the figures that it is about."""
    rows = []
    for contender, runs in samples.items():
        memory = f"{median(values(samples, contender, 'peak_memory_bytes')) / 1e9:.2f} GB" if runs else ""
        for figure in main_figures[contender] if runs else ():
            unit, scale = UNITS[figure]
            rows.append([contender, *spread_text(values(samples, contender, figure), scale), unit, memory])
    return table(["contender", "median", "min - max", "", "memory at most"], rows)
