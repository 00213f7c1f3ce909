"""The numbers on the page are those of the files: read back from the page in a browser."""

import pytest
from programs import run_metarm, write_rows
from run_folders import write_rounds, write_training

# The table under a chart: its head, and each row's numbers, exact, null where it has none.
TABLE = """(() => {
  const chart = document.querySelector(`[data-chart="%s"]`);
  chart.querySelector("details").open = true;
  return new Promise((done) => setTimeout(() => done({
    head: [...chart.querySelectorAll("thead th")].map((cell) => cell.textContent),
    rows: [...chart.querySelectorAll("tbody tr")].map((row) =>
      [...row.children].map((cell) => cell.querySelector("data") ? Number(cell.querySelector("data").getAttribute("value")) : null)),
  }), 50));
})()"""
SECTIONS = "[...document.querySelectorAll('main > section')].map((section) => section.id)"


def table_of(browser, chart):
    table = browser.evaluate(TABLE % chart)
    return table["head"], table["rows"]


def test_curves(browser, runs_page):
    page, plain, aligned = runs_page
    browser.open(page)
    head, rows = table_of(browser, "loss")
    assert head == ["Step", "plain", "aligned", "plain, held out", "aligned, held out"]
    assert [row[0] for row in rows] == list(range(1, 121))
    for column, metrics, key in ((1, plain, "loss"), (2, aligned, "loss"), (3, plain, "eval_loss"), (4, aligned, "eval_loss")):
        assert [row[column] for row in rows] == [row.get(key) for row in metrics] + [None] * (120 - len(metrics))
    for chart, key in (("j_after", "j_after"), ("pairs_per_s", "pairs_per_s"), ("meta_cosine", "meta_cosine"), ("peak_memory_bytes", "peak_memory_bytes")):
        head, rows = table_of(browser, chart)
        assert [row[head.index("aligned, after" if key == "j_after" else "aligned")] for row in rows][:90] == [row[key] for row in aligned]


def test_overview(browser, runs_page):
    page, plain, aligned = runs_page
    browser.open(page)
    rows = browser.evaluate("[...document.querySelectorAll('.overview tbody tr')].map((row) => [...row.children].map((cell) => cell.textContent))")
    assert rows[0][:4] == ["plain", "train", "finished", "120"]
    assert rows[1][:4] == ["aligned", "align", "unfinished", "90"]
    assert rows[0][4] == f"{119 * 23.5 / 60:.1f}\u00a0min"
    assert rows[0][5] == f"{plain[-1]['loss']:.3f}"
    last = plain[119]
    assert rows[0][6] == f"{last['eval_accuracy']:.3f}[{last['eval_accuracy_low']:.3f}, {last['eval_accuracy_high']:.3f}]"


# The figures of the rounds by their names in rounds.jsonl: of each round [number, interval], null where there is none.
ROUND_FIGURES = """Object.fromEntries([...document.querySelectorAll(".rounds [data-figure]")].map((row) => [row.dataset.figure,
  [...row.querySelectorAll("td")].map((cell) => cell.querySelector("data")
    ? [Number(cell.querySelector("data").value), cell.querySelector(".interval")?.textContent.replaceAll("\u2212", "-") ?? ""] : null)]))"""


def test_what_rounds_to_nothing_has_no_sign(browser, tmp_path):
    (tmp_path / "run").mkdir()
    write_rows(tmp_path / "run" / "metrics.jsonl", [{"step": 1, "loss": -1e-9, "kl": -0.0006}])
    run_metarm("report", tmp_path / "run", "--output", tmp_path / "page.html")
    browser.open(tmp_path / "page.html")
    assert browser.evaluate("[...document.querySelectorAll('.overview tbody td')].map((cell) => cell.textContent).slice(-2)") == ["0.000", "\u22120.001"]


def test_rounds(browser, rounds_page):
    page, said = rounds_page
    browser.open(page)
    shown = browser.evaluate(ROUND_FIGURES)
    for name in ("mean", "variance", "scaled_mean", "scaled_variance", "near_ties"):
        assert shown[f"measure.responses.{name}"] == [[of["measure"]["responses"][name], ""] for of in said[:3]] + [None]
    for stage, key, path in (("measure", "accuracy", "pairs.accuracy"), ("judged", "win", "win")):
        for of, (value, ends) in zip(said[:3], shown[f"{stage}.{path}"]):
            figures = of[stage]["pairs"] if stage == "measure" else of[stage]
            assert value == figures[key]
            low, high = figures[f"{key}_low"], figures[f"{key}_high"]
            assert ends == (f"[{low:.3f}, {high:.3f}]" if stage == "measure" else f"[{100 * low:.1f}\u00a0%, {100 * high:.1f}\u00a0%]")
    assert shown["measure.divergence.k3_per_response"][0] == [2.6, "[2.208, 2.992]"]
    assert shown["policy.reward"] == [[of["policy"]["reward"], ""] for of in said[:3]] + [None]
    assert shown["rm.loss"] == [[of["rm"]["loss"], ""] for of in said]  # the fourth round has come so far
    assert not any(name.endswith(("_low", "_high", "histogram", "output")) for name in shown)
    times = browser.evaluate("Object.fromEntries([...document.querySelectorAll('.rounds [data-stage]')].map((row) => [row.children[0].textContent, row.children[4].textContent]))")
    assert times == {"responses (sample)": "1.5\u00a0min", "rm (align)": "1.5\u00a0min", "policy (ppo)": "\u2013", "measure (eval)": "\u2013", "judged (judge)": "\u2013"}
    assert "Round 4, unfinished" in browser.evaluate("document.querySelector('.rounds thead').textContent")

    _, rows = table_of(browser, "differences-2")
    counts = said[1]["measure"]["responses"]["histogram"]
    assert rows == [[0.25 * i, pytest.approx(count / sum(counts))] for i, count in enumerate(counts)]
    head, rows = table_of(browser, "distance-rounds")
    assert head == ["Root of KL", "Proxy", "Gold"]
    points = sorted((of["policy"]["kl"] ** 0.5, of["policy"]["reward"], of["policy"]["gold_reward"]) for of in said[:3])
    assert rows == [[pytest.approx(distance), *rewards] for distance, *rewards in points]
    _, rows = table_of(browser, "calibration")
    bins = [of["measure"]["pairs"]["calibration"] for of in said[:3]]
    assert rows == [[bins[0][i]["confidence"], *(of[i]["accuracy"] for of in bins)] for i in range(len(bins[0]))]


def test_win_tie_lose_bars(browser, rounds_page):
    browser.open(rounds_page[0])
    bars = browser.evaluate("[...document.querySelectorAll('.outcome')].map((bar) => [...bar.children].map((part) => part.getBoundingClientRect().width / bar.getBoundingClientRect().width))")
    assert bars == [pytest.approx([0.42 + 0.05 * t, 0.2 - 0.01 * t, 0.38 - 0.04 * t], abs=0.01) for t in (1, 2, 3)]


def test_policies_by_distance(browser, rounds_page, tmp_path):
    rows = write_training(tmp_path / "policy", "ppo", steps=30)
    run_metarm("report", tmp_path / "policy", "--output", tmp_path / "page.html")
    browser.open(tmp_path / "page.html")
    _, shown = table_of(browser, "distance-runs")
    expected = sorted((row["kl"] ** 0.5, row["reward"], row["gold_reward"]) for row in rows)
    assert [value for row in shown for value in row] == pytest.approx([value for row in expected for value in row])


def test_a_section_without_data_is_not_there(browser, runs_page, rounds_page, tmp_path):
    browser.open(runs_page[0])
    assert browser.evaluate(SECTIONS) == ["overview", "training", "settings"]
    browser.open(rounds_page[0])
    assert browser.evaluate(SECTIONS) == ["rounds", "differences", "distance", "accuracy", "outcomes", "overview", "training", "samples", "settings"]
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "metrics.jsonl").write_text("")
    run_metarm("report", tmp_path / "begun", "--output", tmp_path / "page.html")
    browser.open(tmp_path / "page.html")
    assert browser.evaluate(SECTIONS) == ["overview"]


def test_long_runs_are_thinned_and_it_is_said(browser, tmp_path):
    rows = [{"step": step, "loss": 0.5 + 0.1 * (step % 7), "accuracy": (step % 17) / 16, "tokens": step} for step in range(1, 100_001)]
    rows[70_003]["loss"] = 9.75
    (tmp_path / "long").mkdir()
    write_rows(tmp_path / "long" / "metrics.jsonl", rows)
    run_metarm("report", tmp_path / "long", "--output", tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size < 400_000
    browser.open(tmp_path / "page.html")
    assert "long (100,000 steps)" in browser.evaluate("document.querySelector('#training').textContent")
    _, shown = table_of(browser, "loss")
    assert len(shown) <= 1000
    by_step = {row["step"]: row["loss"] for row in rows}
    assert all(by_step[step] == loss for step, loss in shown)
    assert [70_004, 9.75] in shown and shown[0][0] == 1 and shown[-1][0] == 100_000


def test_several_rounds_directories_are_told_apart(browser, tmp_path):
    for name in ("left", "right"):
        write_rounds(tmp_path / name, rounds=2, groups=2)
    run_metarm("report", tmp_path / "left", tmp_path / "right", "--output", tmp_path / "page.html")
    browser.open(tmp_path / "page.html")
    assert browser.errors == []
    head, _ = table_of(browser, "accuracy-rounds")
    assert head == ["Round", "left: Held-out pairs", "left: Gold", "right: Held-out pairs", "right: Gold"]
    assert "left/round-1/rm" in browser.evaluate("document.querySelector('.overview').textContent")
