"""recipes/shift: every part of the toolbox runs on a tiny model, and what is measured of it is what it scored."""

import math
import sys
from pathlib import Path

import pytest
from programs import BUILD

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "recipes"))

from gold.work import Work, read_rows  # noqa: E402
from shift import parts, study  # noqa: E402
from shift import settings as S  # noqa: E402


@pytest.fixture(scope="module")
def finished(options, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(S, "MEMBERS", 2)
        patch.setitem(S.TRAININGS, "3 of 6 layers frozen", {"freeze_layers": 1})  # the tiny model has one
        work = Work(tmp_path_factory.mktemp("shift"), BUILD / "metarm")
        study.run(work, options)
        yield work


def test_every_part_is_measured(finished):
    rows = study.collect(finished, [1])
    assert [row["method"] for row in rows] == parts.all_names() and len(rows) == len(set(parts.all_names()))
    assert all(math.isfinite(value) for row in rows for value in row.values() if not isinstance(value, str))
    table = study.tables.table(rows, study.SHOWN[:2], 0, against=parts.PLAIN)
    assert table.count("\n") == len(rows) + 1


def test_parts_differ(finished):
    """An option without effect would give the plain model's scores."""
    plain = read_rows(finished.path("seed-1/round-0/test.jsonl"))
    for name in parts.all_names()[1:]:
        assert read_rows(finished.path(f"{parts.part_folder(1, name)}/test.jsonl")) != plain, name


def test_a_second_call_has_nothing_to_do(finished, options, monkeypatch):
    monkeypatch.setattr(Work, "call", lambda *_, **__: pytest.fail("a step was run again"))
    study.run(finished, options)


def test_figures_of_pairs():
    pairs = [{"chosen_reward": 2.0, "rejected_reward": 1.0}, {"chosen_reward": 0.0, "rejected_reward": 3.0}]
    assert parts.log_loss(pairs) == pytest.approx((math.log1p(math.exp(-1)) + math.log1p(math.exp(3))) / 2)
    sure, surer = 1 / (1 + math.exp(-1)), 1 / (1 + math.exp(-3))
    assert parts.calibration_error(pairs, bins=2) == pytest.approx(((1 - sure) + surer) / 2)
    assert parts.calibration_error(pairs, bins=1) == pytest.approx(abs(sure + surer - 1) / 2)
