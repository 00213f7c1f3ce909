"""What is asked of each server: forms of requests, each by a few clients and by many; figures and tables of the answers."""

import math
from dataclasses import dataclass
from statistics import median

import figures
from figures import Comparison
from servers import METARM, PLAIN

SINGLE, GROUPS, ALONE = "one response a request", "eight responses a request", "prompts that never come again"
CLIENTS = (1, 8, 64)
FULL = {"prompts": 64, "responses": 8, "max_length": 512, "batch_sizes": [1, 4, 8, 16, 32],
        "requests": {SINGLE: {1: 32, 8: 96, 64: 192}, GROUPS: {1: 8, 8: 24, 64: 64}, ALONE: {1: 16, 8: 48, 64: 64}}}
SHORT = {"prompts": 16, "responses": 8, "max_length": 2048, "batch_sizes": [4],
         "requests": {SINGLE: {1: 4, 8: 16, 64: 32}, GROUPS: {1: 1, 8: 2, 64: 4}, ALONE: {1: 2, 8: 4, 64: 4}}}


@dataclass(frozen=True)
class Cell:
    form: str
    clients: int
    requests: tuple  # of texts each

    @property
    def name(self):
        return f"{self.form}, {self.clients} client{'s' if self.clients > 1 else ''}"


def requests_of(form, groups):
    """groups: the texts of each prompt, which follow one another as a trainer sends them."""
    if form == GROUPS:
        return [tuple(texts) for texts in groups]
    if form == ALONE:
        return [(texts[0],) for texts in groups]
    return [(text,) for texts in groups for text in texts]


def make_cells(groups, counts, forms):
    cells = []
    for form in forms:
        requests = requests_of(form, groups)
        cells += [Cell(form, clients, tuple(requests[:count])) for clients, count in counts[form].items()]
    return cells


def percentile(numbers, percent):
    """The smallest number that so many per cent do not exceed."""
    return sorted(numbers)[max(0, math.ceil(len(numbers) * percent / 100) - 1)]


def cell_figures(cell, answer):
    """By names that tell the cells apart."""
    found = {"requests_per_s": len(cell.requests) / answer["seconds"], "rows_per_s": sum(map(len, cell.requests)) / answer["seconds"],
             "p50_s": percentile(answer["latencies"], 50), "p99_s": percentile(answer["latencies"], 99), "reconnections": answer["reconnections"]}
    return {f"{cell.name}: {name}": value for name, value in found.items()}


RATIOS = (("rows_per_s", False), ("p50_s", True), ("p99_s", True))


def compare_cells(cells, samples):
    """metarm to its peer, within each alternation."""
    return [figures.compare(Comparison(cell.form, f"{cell.name}: {name}", (METARM,), (PLAIN,), f"{cell.name}: {name}", lower_is_better=lower), samples)
            for cell in cells for name, lower in RATIOS]


def ratio_table(results):
    rows = [[result["what"], f"{result['median']:.2f}", f"{result['min']:.2f} - {result['max']:.2f}"] for result in results]
    return figures.table([f"{METARM} : {PLAIN}", "median", "min - max"], rows)


def reconnection_lines(samples):
    """A line for each server that closed connections under its clients."""
    counts = {name: sum(value for run in runs for figure, value in run.items() if figure.endswith(": reconnections")) for name, runs in samples.items()}
    return [f"requests sent again, as {name} had closed the connection: {count}" for name, count in counts.items() if count]


def figure_table(cells, samples):
    rows = []
    for cell in cells:
        for name, runs in samples.items():
            middle = {figure: median(run[f"{cell.name}: {figure}"] for run in runs) for figure in ("requests_per_s", "rows_per_s", "p50_s", "p99_s")}
            rows.append([f"{cell.name}: {name}", f"{middle['requests_per_s']:.2f}", f"{middle['rows_per_s']:.2f}", f"{middle['p50_s']:.3f}", f"{middle['p99_s']:.3f}"])
    return figures.table(["medians", "requests/s", "rows/s", "p50 s", "p99 s"], rows)
