"""A tuning that goes on with what its journal says, though other options that change nothing were known or asked for then."""

import json

from families import save_checkpoint
from programs import read_rows, run_metarm
from random_rows import write_data
from test_tune import TRAINING


def rewrite(journal, old, new):
    rows = read_rows(journal)
    assert all(old in row.get("told", old) for row in rows)
    journal.write_text("".join(json.dumps(row | ({"told": row["told"].replace(old, new)} if "told" in row else {})) + "\n" for row in rows))


def test_options_that_change_nothing_are_no_other_trial(tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    write_data(tmp_path)
    (tmp_path / "tune.toml").write_text(TRAINING.replace("COMMAND", "train").replace("MORE\n", ""))
    tune = lambda **run: run_metarm("tune", "--config", "tune.toml", cwd=tmp_path, **run)
    tune()
    journal = tmp_path / "out/journal.jsonl"
    rewrite(journal, "threads = 1\n", "threads = 2\n")
    rewrite(journal, "label_smoothing = 0.0\n", "")  # as a metarm without that option would have it
    before = journal.read_text()
    assert tune().returncode == 0 and journal.read_text() == before
    rewrite(journal, "dtype = \"float32\"\n", "dtype = \"bfloat16\"\n")
    result = tune(check=False)
    assert result.returncode == 2 and "expected the options and the figure with which trial 1 ran" in result.stderr
