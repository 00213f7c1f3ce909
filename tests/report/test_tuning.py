"""A page of what `metarm tune` leaves: a dot a trial, and the numbers of its files."""

import json

import pytest
from programs import read_rows, run_metarm
from test_figures import SECTIONS

CONFIG = """output = "study"
run = "case {kind} in '<worst>') exit 3;; esac; printf '{{\\"loss\\": %s}}' {lr}"
figure = "loss"
goal = "minimise"
trials = 9
min_steps = 4

[[range]]
option = "lr"
low = 1e-3
high = 0.1
scale = "log"

[[range]]
option = "kind"
choices = ["a", "b", "<worst>"]
"""
MARKS = "[...document.querySelectorAll('[data-chart=\"tuning-%s\"] [data-trial]')].map((mark) => [mark.tagName, mark.dataset.trial, mark.getBoundingClientRect().x])"
TRIALS = "[...document.querySelectorAll('#tuning tr[data-trial]')].map((row) => [row.dataset.trial, ...[...row.querySelectorAll('td')].map((cell) => cell.querySelector('data')?.value ?? cell.textContent)])"
SHARES = "Object.fromEntries([...document.querySelectorAll('#tuning tr[data-option]')].map((row) => [row.dataset.option, row.querySelector('data')?.value]))"


@pytest.fixture
def page(browser, tmp_path):
    (tmp_path / "tune.toml").write_text(CONFIG)
    run_metarm("tune", "--config", "tune.toml", "--quiet", cwd=tmp_path)
    assert json.loads(run_metarm("report", "study", "--output", "page.html", "--json", cwd=tmp_path).stdout)["tunings"] == 1
    browser.open(tmp_path / "page.html")
    assert browser.errors == []
    return browser, read_rows(tmp_path / "study/trials.jsonl"), json.loads((tmp_path / "study/tuning.json").read_text())


def test_each_trial_is_a_mark_and_a_row(page):
    browser, trials, _ = page
    assert browser.evaluate(SECTIONS) == ["tuning"]
    failed = {str(row["trial"]) for row in trials if "failure" in row["rungs"][0]}
    assert len(failed) == 3
    for option in ("lr", "kind"):
        marks = browser.evaluate(MARKS % option)
        assert [number for _, number, _ in marks] == [str(row["trial"]) for row in trials]
        assert {number for tag, number, _ in marks if tag == "path"} == failed
    by_place = [number for _, number, _ in sorted(browser.evaluate(MARKS % "lr"), key=lambda mark: mark[2])]
    assert by_place == [str(row["trial"]) for row in sorted(trials, key=lambda row: row["options"]["lr"])]
    rows = browser.evaluate(TRIALS)
    assert [row[0] for row in rows] == [str(row["trial"]) for row in sorted(trials, key=lambda row: row["rank"])]
    best = min((row for row in trials if "figure" in row["rungs"][0]), key=lambda row: row["options"]["lr"])
    assert rows[0] == [str(best["trial"]), "36", str(best["options"]["lr"]), best["options"]["kind"], str(best["options"]["lr"]), ""]
    assert rows[-1][-1] == "exit code 3" and rows[-1][3] == "<worst>"


def test_shares_are_those_of_the_file(page):
    browser, _, tuning = page
    shares = browser.evaluate(SHARES)
    assert {name: float(share) for name, share in shares.items()} == {option["option"]: option["share"] for option in tuning["sensitivity"]}
    assert list(shares) == [option["option"] for option in tuning["sensitivity"]]
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_file_without_what_is_shown_is_an_error(tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study/trials.jsonl").write_text("{}\n")
    (tmp_path / "study/tuning.json").write_text('{"figure": "loss", "goal": "minimise", "best": {"trial": 1}}')
    result = run_metarm("report", "study", "--output", "page.html", cwd=tmp_path, check=False)
    assert result.returncode == 2 and "study/tuning.json: best: rank: expected a" in result.stderr
