"""recipes/shift: every part of the toolbox runs on a tiny model, and what is measured of it is what it scored."""

import json
import math
import sys
from pathlib import Path

import pytest
import torch
from programs import BUILD
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "recipes"))

from gold.work import Work, read_rows  # noqa: E402
from shift import parts, study  # noqa: E402
from shift import settings as S  # noqa: E402


EARLY = "early stopping"  # which may end as the plain model does, or before


@pytest.fixture(scope="module")
def finished(options, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(S, "MEMBERS", 2)
        patch.setitem(S.TRAININGS, "3 of 6 layers frozen", {"freeze_layers": 1})  # the tiny model has one
        for name in ("pseudo-labels", "pseudo-labels, surest first"):  # of which it is sure of none
            patch.setitem(S.AUGMENTATIONS, name, S.AUGMENTATIONS[name] | {"min_confidence": 0.5})
        work = Work(tmp_path_factory.mktemp("shift"), BUILD / "metarm")
        study.run(work, options)
        yield work


def test_every_part_is_measured(finished):
    rows = study.collect(finished, [1])
    assert [row["method"] for row in rows] == parts.all_names() and len(rows) == len(set(parts.all_names()))
    assert all(math.isfinite(value) for row in rows for value in row.values() if not isinstance(value, str))
    assert {row["method"] for row in rows if "meta_cosine" in row} == {*S.ALIGNMENTS} - {"none"} and all(abs(row.get("meta_cosine", 0)) <= 1 for row in rows)
    table = study.tables.table(rows, study.SHOWN[:2], 0, against=parts.PLAIN)
    assert table.count("\n") == len(rows) + 1


def test_parts_differ(finished):
    """An option without effect would give the plain model's scores."""
    plain = read_rows(finished.path("seed-1/round-0/test.jsonl"))
    for name in parts.all_names()[1:]:
        if name == EARLY:  # here the held-out loss falls to the end
            continue
        assert read_rows(finished.path(f"{parts.part_folder(1, name)}/test.jsonl")) != plain, name


def test_a_second_call_has_nothing_to_do(finished, options, monkeypatch):
    monkeypatch.setattr(Work, "call", lambda *_, **__: pytest.fail("a step was run again"))
    study.run(finished, options)


def test_what_has_figures_is_not_made_again(finished, options, tmp_path, monkeypatch):
    """On a machine without what was made elsewhere: all of it, then all but one part."""
    rows = study.collect(finished, [1])
    made = []
    monkeypatch.setattr(parts.Seed, "run_all", lambda self: made.append({name for name in parts.all_names()[1:] if not self.done(name)}))
    for lacking in (set(), {"corruptions"}):
        options.figures.write_text("".join(json.dumps(row) + "\n" for row in rows if row["method"] not in lacking))
        study.run(Work(tmp_path, BUILD / "metarm"), options)
        assert made == ([lacking] if lacking else [])
    options.figures.unlink()


def last_step(folder):
    return max(row["step"] for row in read_rows(folder / "metrics.jsonl"))


def test_trainings_are_as_long_as_the_plain_one(finished):
    trained = [finished.path(f"{parts.part_folder(1, name)}/rm") for name in (*S.TRAININGS, *S.AUGMENTATIONS, S.DISTILLED) if name != EARLY]
    steps = {last_step(folder) for folder in (*trained, *map(finished.path, parts.member_folders(1)))}
    assert steps == {last_step(finished.path("seed-1/proxy"))}


def test_members_start_from_one_head(finished):
    heads = [load_file(finished.path(folder) / "model.safetensors")["score.weight"] for folder in ("seed-1/start", *parts.member_folders(1))]
    for head in heads[1:]:
        assert not torch.equal(head, heads[0]) and torch.cosine_similarity(head, heads[0]).item() > 0.9


def test_units_are_those_of_pairs_of_their_own(finished):
    """Neither learned nor measured; the teacher that is distilled has none."""
    learned, measured, reference = ([json.dumps(row, sort_keys=True) for row in read_rows(finished.path(f"seed-1/{name}.jsonl"))] for name in ("pairs/train", "pairs/held_out", "reference"))
    assert reference and not set(reference) & {*learned, *measured}
    for name, what, standardised in ((next(iter(S.ENSEMBLES)), "rm", True), (S.DISTILLED, "teacher", False)):
        members = json.loads(finished.path(f"{parts.part_folder(1, name)}/{what}/ensemble.json").read_text())["members"]
        assert all(("reward_deviation" in member) == standardised for member in members)


def test_the_cost_is_that_of_all_steps_that_make_it(finished):
    seconds = finished.seconds()
    of = lambda *steps: pytest.approx(sum(seconds[f"seed-1/{step}"] for step in steps))
    cost = {row["method"]: row["seconds"] for row in study.collect(finished, [1])}
    assert cost[parts.PLAIN] == of("proxy")
    assert cost["dropout 0.1"] == of("parts/dropout-0.1/rm")
    assert cost["corruptions"] == of("parts/corruptions/pairs.jsonl", "parts/corruptions/rm")
    assert cost["pseudo-labels"] == of("proxy", "round-0/train.jsonl", *(f"parts/pseudo-labels/{step}" for step in ("groups.jsonl", "scored.jsonl", "pairs.jsonl", "rm")))
    assert cost["none"] == of("proxy", "round-0/train.jsonl", "parts/none/groups.jsonl", "parts/none/rm")
    members = ("start", "members/0", "members/1")
    assert cost[S.MERGED] == of(*members, f"parts/{parts.slug(S.MERGED)}/rm")
    aligned = parts.slug(S.ALIGNED)
    assert cost[S.ALIGNED] == of("proxy", "round-0/train.jsonl", *members, *(f"parts/{aligned}/{step}" for step in ("groups.jsonl", "members/0", "members/1", "rm")))
    assert cost[S.DISTILLED] == of(*members, *(f"parts/{parts.slug(S.DISTILLED)}/{step}" for step in ("teacher", "scored.jsonl", "rm")))


def test_figures_of_pairs():
    margins = [1.0, -3.0]
    assert parts.log_loss(margins) == pytest.approx((math.log1p(math.exp(-1)) + math.log1p(math.exp(3))) / 2)
    sure, surer = 1 / (1 + math.exp(-1)), 1 / (1 + math.exp(-3))
    assert parts.calibration_error(margins, bins=2) == pytest.approx(((1 - sure) + surer) / 2)
    assert parts.calibration_error(margins, bins=1) == pytest.approx(abs(sure + surer - 1) / 2)
