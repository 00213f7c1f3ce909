"""A browser, and pages of hand-made run directories."""

import json

import pytest
from browser import browser_of_a_session
from programs import run_metarm
from run_folders import write_rounds, write_training


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    yield from browser_of_a_session(tmp_path_factory)


@pytest.fixture(scope="session")
def runs_page(tmp_path_factory):
    """Two trainings, one killed while it wrote: (page, rows of `plain`, rows of `aligned`)."""
    folder = tmp_path_factory.mktemp("runs")
    plain = write_training(folder / "plain", "train", steps=120, seed=1)
    aligned = write_training(folder / "aligned", "align", steps=90, seed=2, finished=False, meta_lr=1e-3)
    with open(folder / "aligned" / "metrics.jsonl", "a") as metrics:
        metrics.write('{"step": 91, "lo')
    run_metarm("report", folder / "plain", folder / "aligned", "--output", folder / "page.html")
    return folder / "page.html", plain, aligned


@pytest.fixture(scope="session")
def rounds_page(tmp_path_factory):
    """(page, what the stages of each round said)"""
    folder = tmp_path_factory.mktemp("rounds")
    said = write_rounds(folder / "study", rounds=4, groups=12)
    summary = run_metarm("report", folder / "study", "--samples", 8, "--output", folder / "page.html", "--json")
    assert json.loads(summary.stdout)["response_groups"] == 4 * 8
    return folder / "page.html", said
