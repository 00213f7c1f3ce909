"""The server's benchmark: its sums on given figures, and the short form with both servers."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from programs import BUILD, ROOT

sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "bench/serve")]

import cells  # noqa: E402
import memory  # noqa: E402
import process  # noqa: E402
import swaps  # noqa: E402
from servers import METARM, PLAIN  # noqa: E402

GROUPS = [["a1", "a2"], ["b1", "b2"], ["c1", "c2"]]


@pytest.mark.parametrize("form, expected", [
    (cells.SINGLE, [("a1",), ("a2",), ("b1",), ("b2",), ("c1",), ("c2",)]), (cells.GROUPS, [("a1", "a2"), ("b1", "b2"), ("c1", "c2")]), (cells.ALONE, [("a1",), ("b1",), ("c1",)])])
def test_forms_of_requests(form, expected):
    assert cells.requests_of(form, GROUPS) == expected


def test_as_many_requests_as_a_cell_wants():
    found = cells.make_cells(GROUPS, cells.FULL["requests"] | {cells.GROUPS: {1: 1, 8: 2}}, [cells.GROUPS])
    assert [(cell.clients, len(cell.requests), cell.name) for cell in found] == [(1, 1, "eight responses a request, 1 client"), (8, 2, "eight responses a request, 8 clients")]


@pytest.mark.parametrize("percent, expected", [(50, 50), (99, 99), (100, 100), (1, 1), (0, 1)])
def test_percentile(percent, expected):
    assert cells.percentile(list(range(100, 0, -1)), percent) == expected


def test_the_slowest_of_few_is_their_99th_percentile():
    assert cells.percentile([3.0, 1.0, 2.0], 99) == 3.0 and cells.percentile([3.0, 1.0, 2.0], 50) == 2.0


def test_figures_and_ratios_of_a_cell():
    cell = cells.Cell(cells.GROUPS, 8, (("a", "b"), ("c", "d")))
    ours = cells.cell_figures(cell, {"seconds": 2.0, "latencies": [1.0, 2.0], "reconnections": 0})
    theirs = cells.cell_figures(cell, {"seconds": 8.0, "latencies": [4.0, 8.0], "reconnections": 3})
    assert ours == {f"{cell.name}: {name}": value for name, value in {"requests_per_s": 1.0, "rows_per_s": 2.0, "p50_s": 1.0, "p99_s": 2.0, "reconnections": 0}.items()}
    speed, middle, slowest = cells.compare_cells([cell], {METARM: [ours], PLAIN: [theirs]})
    assert (speed["median"], middle["median"], slowest["median"]) == (4.0, 0.25, 0.25)
    assert cells.reconnection_lines({METARM: [ours], PLAIN: [theirs, theirs]}) == [f"requests sent again, as {PLAIN} had closed the connection: 6"]
    assert "4.00" in cells.ratio_table([speed]) and "0.50" in cells.figure_table([cell], {PLAIN: [theirs]})


def test_the_line_of_memory():
    assert memory.fit_line([0, 1, 2, 3], [5, 7, 9, 11]) == (2, 5)
    points = [(second, 900 if second < 20 else 1000 + 2 * second) for second in range(101)]  # grows at first, then by 2 bytes a second
    found = memory.describe_growth(points)
    assert found["slope_bytes_per_hour"] == pytest.approx(7200) and found["slopes_of_halves"] == pytest.approx([7200, 7200])
    assert (found["first_bytes"], found["median_bytes"], found["last_bytes"]) == (900, 1120, 1200)


def test_an_answer_of_neither_version_stops_the_benchmark():
    one, other = [[1.0, 2.0], [3.0]], [[1.5, 2.5], [3.5]]
    swaps.check_rewards([[1.5, 2.5], [3.0]], [one, other])
    swaps.check_rewards([None, [3.5]], [one, other])  # a request that was not asked
    with pytest.raises(process.Failed, match="neither version"):
        swaps.check_rewards([[1.0, 2.5], [3.0]], [one, other])


def run_short(tmp_path, *arguments, metarm=BUILD / "metarm"):
    command = [sys.executable, ROOT / "bench/serve/main.py", "--short", "--metarm", metarm, "--output", tmp_path / "bench.json", *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, env=os.environ | {"OMP_WAIT_POLICY": "passive"})


def test_short_form(tmp_path):
    result = run_short(tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "both servers ran, and computed the same" in result.stdout and "the line grows by" in result.stdout
    found = json.loads((tmp_path / "bench.json").read_text())
    assert len(found["load"]["comparisons"]) == 27 and set(found["load"]["samples"]) == {METARM, PLAIN}
    assert found["load"]["equal"][0].startswith(f"rewards: {PLAIN} differs from {METARM} by")
    assert len(found["memory"]["points"]) > 10
    assert "swaps under load" in result.stdout and found["swaps"]["runs"][0]["swapped"]["swaps"] >= 2


def test_another_result_stops_the_benchmark(tmp_path):
    """A program that serves a reward model of another scale."""
    wrong = Path(tmp_path / "metarm")
    wrong.write_text(f"""#!{sys.executable}
import os, shutil, sys
from safetensors.torch import load_file, save_file
at = sys.argv.index("--model") + 1
shutil.copytree(sys.argv[at], {str(tmp_path / "rm")!r})
sys.argv[at] = {str(tmp_path / "rm")!r}
weights = load_file(sys.argv[at] + "/model.safetensors")
weights["score.weight"] *= 1.01
save_file(weights, sys.argv[at] + "/model.safetensors", {{"format": "pt"}})
os.execv({str(BUILD / "metarm")!r}, sys.argv)
""")
    wrong.chmod(wrong.stat().st_mode | stat.S_IXUSR)
    result = run_short(tmp_path, "--only", "load", metarm=wrong)
    assert result.returncode != 0
    assert "results differ, so no time counts: rewards" in result.stderr
    assert not (tmp_path / "bench.json").exists()
