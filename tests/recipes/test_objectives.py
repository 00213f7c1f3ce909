"""recipes/objectives on a tiny model: every training has its two rows, and the table says what improved."""

import argparse
import math

import pytest
from programs import BUILD

from gold.work import Work  # noqa: E402, I001: conftest.py tells where recipes are
from objectives import settings as S  # noqa: E402
from objectives import study  # noqa: E402


@pytest.fixture(scope="module")
def finished(options, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(S, "START", S.START | {"max_steps": 2, "batch_size": 4})
        patch.setattr(S, "HELD_OUT", 4)
        small = {name: {"max_steps": 4, "batch_size": 4, "lr": 0.01} | ({"max_new_tokens": 4} if training.command == "ppo" else {}) for name, training in S.TRAININGS.items()}
        patch.setattr(S, "TRAININGS", {name: S.Training(training.command, training.options | small[name], training.is_loss) for name, training in S.TRAININGS.items()})
        work = Work(tmp_path_factory.mktemp("objectives"), BUILD / "metarm")
        study.run(work, options)
        yield work


def test_every_training_is_measured_at_start_and_end(finished):
    rows = study.collect(finished, [1])
    assert [row["method"] for row in rows] == [method for name in S.TRAININGS for method in (f"{name}, start", name)]
    assert all(math.isfinite(row["objective"]) for row in rows)
    by_method = {row["method"]: row["objective"] for row in rows}
    assert by_method["dpo, start"] == pytest.approx(-math.log(2)), "the policy as it starts is its own reference"
    assert by_method["sft"] > by_method["sft, start"]
    assert len({by_method[f"{name}, start"] for name in ("rloo", "reinforce", "ppo")}) == 1, "the same draws from the same policy"


def test_other_seeds_are_collected(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "measure", lambda work, name, seed: [{"setting": "objectives", "method": name, "seed": seed, "round": 0, "objective": 0.0}])
    asked = argparse.Namespace(work=tmp_path, metarm="metarm", minutes=None, seeds=[7], figures=tmp_path / "figures.jsonl")
    _, rows = study.take_part(asked, lambda *_: None, study.collect, S.SEEDS)
    assert {row["seed"] for row in rows} == {*S.SEEDS, 7}


def test_the_table_says_what_improved():
    values = {"sft, start": (-2, -2.1, -2), "sft": (-1, -1.1, -0.9), "dpo, start": (0, 0, 0), "dpo": (1, -1, 0.5)}
    rows = [{"method": method, "seed": seed, "round": 0, "objective": value} for method, of_seeds in values.items() for seed, value in enumerate(of_seeds)]
    lines = study.table(rows).splitlines()
    assert lines[2].startswith("| sft | 3 |") and lines[2].endswith("| yes |")
    assert lines[3].startswith("| dpo | 3 |") and lines[3].endswith("| no |") and len(lines) == 4
