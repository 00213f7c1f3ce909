"""The arithmetic of recipes/gold, and a whole run of it on a tiny model."""

import argparse
import itertools
import json
import math
import random
import statistics
import sys
from pathlib import Path

import pytest
from programs import BUILD

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "recipes"))

from gold import bestof, bestofn, material, policies, study, tables  # noqa: E402
from gold import settings as S  # noqa: E402
from gold.work import OutOfTime, Work, read_rows  # noqa: E402


def drawn(count, seed):
    rng = random.Random(seed)
    return [rng.gauss(0, 1) for _ in range(count)]


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_best_of_n_is_the_mean_over_all_subsets(n):
    proxy, gold = drawn(7, 1), drawn(7, 2)
    subsets = list(itertools.combinations(range(7), n))
    expected = sum(gold[max(subset, key=lambda i: proxy[i])] for subset in subsets) / len(subsets)
    assert bestof.best_of_value(proxy, gold, n) == pytest.approx(expected, abs=1e-12)


def test_kl_of_best_of_n_is_that_of_the_order_statistic():
    # With u uniform, the best of n has the density n u^(n-1): KL is the mean of its logarithm.
    rng, n = random.Random(3), 8
    sampled = statistics.fmean(math.log(n * max(rng.random() for _ in range(n)) ** (n - 1)) for _ in range(40000))
    assert bestof.best_of_kl(n) == pytest.approx(sampled, abs=0.02)


def test_winners_are_the_best_of_disjoint_parts():
    proxy = drawn(64, 4)
    chosen = bestof.winners(proxy, 8, random.Random(0))
    assert len(set(chosen)) == 8 and max(range(64), key=lambda i: proxy[i]) in chosen
    assert statistics.fmean(proxy[i] for i in chosen) > statistics.fmean(sorted(proxy)[40:])
    assert sorted(bestof.winners(proxy, 1, random.Random(0))) == list(range(64))


def test_accuracy_counts_pairs_that_are_ordered_as_gold_does():
    gold = [[0.0, 1.0, 2.0, 3.0]]
    assert bestof.policy_accuracy(gold, gold, gold, 1, 0) == 1
    assert bestof.policy_accuracy(gold, [[3.0, 2.0, 1.0, 0.0]], gold, 1, 0) == 0
    assert bestof.policy_accuracy(gold, [[0.0, 0.0, 0.0, 0.0]], gold, 1, 0) == 0.5
    assert bestof.policy_accuracy(gold, [[1.0, 0.0, 2.0, 3.0]], gold, 1, 0) == pytest.approx(5 / 6)


def test_mean_difference_is_over_all_pairs():
    values = drawn(9, 5)
    expected = statistics.fmean(abs(a - b) for a, b in itertools.combinations(values, 2))
    assert bestofn.mean_difference([values]) == pytest.approx(expected)


def test_labels_follow_gold_rewards():
    groups = [{"prompt": "x", "responses": ["a", "b", "c", "c"], "rewards": [1.0, 3.0, 2.0, 2.0]}] * 20
    order = {"a": 1, "b": 3, "c": 2}
    pairs = material.label(groups, random.Random(0))
    assert 20 < len(pairs) <= 40 and all(order[pair["chosen"]] > order[pair["rejected"]] for pair in pairs)


def test_intervals_are_students():
    mean, half = tables.interval([1.0, 2.0, 4.0])
    assert mean == pytest.approx(7 / 3) and half == pytest.approx(4.303 * statistics.stdev([1, 2, 4]) / 3**0.5)


@pytest.fixture(scope="module")
def finished(options, tmp_path_factory):
    """A study in one run."""
    work = Work(tmp_path_factory.mktemp("study"), BUILD / "metarm")
    study.run(work, options)
    return work


class Interrupted(Work):
    """Stops after each third step."""

    done = 0

    def step(self, name, make):
        if not self.is_done(name):
            self.done += 1
            if self.done % 4 == 0:
                raise OutOfTime(name)
        return super().step(name, make)


def test_a_study_in_parts_gives_what_one_run_gives(options, finished, tmp_path):
    whole = study.collect(finished, [1])
    rounds = {(row["setting"], row["method"], row["round"]) for row in whole}
    assert rounds == {("best-of-n", "vanilla", 0)} | {("best-of-n", name, t) for name in ("none", "meta 0.1") for t in (1, 2)} | {
        ("distilled best-of-n", "meta 0.1", t) for t in (1, 2)} | {("RLOO", "vanilla", t) for t in (1, 2)}
    assert all(math.isfinite(value) for row in whole for value in row.values() if not isinstance(value, str))

    parts = 0
    while True:
        work = Interrupted(tmp_path, BUILD / "metarm")
        try:
            study.run(work, options)
            break
        except OutOfTime:
            parts += 1
    assert parts > 5 and study.collect(work, [1]) == whole
    kept = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("model.safetensors"))
    assert kept == ["gold/model.safetensors", "policy/model.safetensors", "seed-1/proxy/model.safetensors", "trunk/model.safetensors"]


def test_figures_of_other_calls_stay():
    row = lambda seed, value: {"setting": "best-of-n", "method": "none", "seed": seed, "round": 1, "x": value}
    assert study.merge([row(1, 0.5), row(2, 0.6)], [row(2, 0.7), row(3, 0.8)]) == [row(1, 0.5), row(2, 0.7), row(3, 0.8)]


def test_all_that_is_run_has_figures(options, tmp_path, monkeypatch):
    """Seeds beyond the study's own, too; a plan for some of its own keeps out the others alone."""
    done = set()

    def row(setting, method, seed):
        return [{"setting": setting, "method": method.name, "seed": seed, "round": 1}] if (setting, method.name, seed) in done else []

    monkeypatch.setattr(S, "SEEDS", (1, 2, 3))
    monkeypatch.setattr(S, "MOVING", {"RLOO": (S.MAIN[:1], (1, 2))})
    monkeypatch.setattr(study, "prepare", lambda *_: {})
    monkeypatch.setattr(study, "make_models", lambda *_: None)
    monkeypatch.setattr(bestofn, "run_method", lambda work, method, seed, labelled: done.add(("best-of-n", method.name, seed)))
    monkeypatch.setattr(bestofn, "measure_method", lambda work, method, seed, labelled: row("best-of-n", method, seed))
    monkeypatch.setattr(policies, "run_method", lambda work, optimiser, method, seed, labelled: done.add((optimiser, method.name, seed)))
    monkeypatch.setattr(policies, "measure_method", lambda work, optimiser, method, seed: row(optimiser, method, seed))
    asked = argparse.Namespace(**vars(options) | {"work": tmp_path, "metarm": "metarm", "minutes": None, "seeds": [7, 2, 3], "figures": tmp_path / "figures.jsonl"})
    _, rows = study.take_part(asked, study.run, study.collect, S.SEEDS)
    assert {(row["setting"], row["method"], row["seed"]) for row in rows} == done and len(rows) == len(done)
    assert {seed for setting, _, seed in done if setting == "RLOO"} == {2, 7} and {seed for setting, _, seed in done if setting == "best-of-n"} == {2, 3, 7}


def test_more_seeds_than_the_tables_know_are_refused_at_once(options, tmp_path):
    (tmp_path / "figures.jsonl").write_text(json.dumps({"setting": "best-of-n", "method": "none", "seed": 99, "round": 1}) + "\n")
    asked = argparse.Namespace(**vars(options) | {"seeds": list(range(1, tables.MOST_SEEDS + 1)), "figures": tmp_path / "figures.jsonl"})
    with pytest.raises(SystemExit, match="expected at most 20 with the planned ones and those in .*figures.jsonl, got 21"):
        study.take_part(asked, study.run, study.collect, S.SEEDS)


@pytest.mark.parametrize("share,quantiles", [(0.95, tables.T95), (0.9875, tables.T9875)])
def test_quantiles_are_students(share, quantiles):
    """The density, integrated: what lies between them has that share."""
    assert list(quantiles) == list(range(1, tables.MOST_SEEDS))
    for freedom, quantile in quantiles.items():
        density = lambda t: math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi) * (1 + t * t / freedom) ** (-(freedom + 1) / 2)
        steps = 2000
        inside = 2 * sum(density(quantile * (i + 0.5) / steps) for i in range(steps)) * quantile / steps
        assert abs(inside - share) < 2 * 0.00051 * density(quantile) + 1e-7, freedom


def test_labels_stand_in_for_the_gold_reward_model(options, finished, tmp_path):
    """Another machine needs neither policy nor gold reward model for best-of-n."""
    work = Work(tmp_path, BUILD / "metarm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(S, "MOVING", {})
        study.run(work, options)
        assert study.collect(work, [1]) == [row for row in study.collect(finished, [1]) if row["setting"] == "best-of-n"]
    assert not work.path("gold").exists() and not work.path("policy").exists()


def test_figures_are_those_of_the_models(finished):
    row = study.collect(finished, [1])[0]
    proxy, gold = (read_rows(finished.path(name)) for name in ("seed-1/round-0/test.jsonl", "pools/test.gold.jsonl"))
    best = [group["rewards"][max(range(8), key=lambda i: judged["rewards"][i])] for judged, group in zip(proxy, gold, strict=True)]
    assert row["test.gold_best_of_8"] == pytest.approx(statistics.fmean(best))
    assert row["test.gold_best_of_1"] == pytest.approx(statistics.fmean(value for group in gold for value in group["rewards"]))
    groups = read_rows(finished.path("seed-1/meta-0.1/round-2/groups.jsonl"))
    assert [len(group["responses"]) for group in groups] == [4] * 4


def test_a_part_begins_nothing_after_its_time(tmp_path):
    work = Work(tmp_path, BUILD / "metarm", minutes=0)
    with pytest.raises(OutOfTime):
        work.step("anything", lambda path: path.write_text("x"))
    assert not work.path("anything").exists()


def test_verdicts_share_the_chance_among_four():
    rows = [{"method": method, "seed": seed, "round": 3, "x": value}
            for method, values in {"none": [0.0] * 5, "better": [0.9, 1.0, 1.0, 1.0, 1.1], "unsure": [0.1, 2.0, 1.0, 0.2, 1.5]}.items() for seed, value in enumerate(values)]
    half = 4.315 * statistics.stdev([0.9, 1.0, 1.0, 1.0, 1.1]) / math.sqrt(5)
    lines = tables.verdicts(rows, ["better", "unsure", "absent"], [("x", "X")], 3).splitlines()
    assert lines[2] == f"| better | X | 5 | 1.000 ± {half:.3f} | yes |"
    assert lines[3].endswith("| no |") and len(lines) == 4


def test_tables_compare_seed_by_seed():
    rows = [{"method": method, "seed": seed, "round": 1, "x": value + seed} for method, value in (("none", 0.0), ("meta", 0.5)) for seed in (1, 2, 3)]
    lines = tables.table(rows, [("x", "X")], 1).splitlines()
    assert lines[2] == "| none | 3 | 2.000 ± 2.484 |  |" and lines[3] == "| meta | 3 | 2.500 ± 2.484 | 0.500 ± 0.000 |"


def test_over_optimisation_is_seen_seed_by_seed():
    """By hand: 4 − 1 is 0.5, 0.8, 0.5, deviation √0.03; 4 − 2 is −0.5, −0.4, −0.3, deviation 0.1; t of two degrees of freedom is 4.303."""
    gold = {"none": ([0.0, 0.0, 0.0], [1.0, 1.2, 0.8], [0.5, 0.8, 0.5]), "vanilla": ([0.0], [0.25], [0.5])}
    rows = [{"method": method, "seed": seed, "round": round_number, "pool.gold_best_of_1": one, "pool.gold_best_of_2": two, "pool.gold_best_of_4": four, "other.gold_best_of_8": 9.0}
            for method, values in gold.items() for round_number in ([1, 2] if method == "none" else [0]) for seed, (one, two, four) in enumerate(zip(*values))]
    for row in rows:
        row["pool.gold_best_of_1"] += 7 * (row["round"] == 1)  # an earlier round, which does not count
    assert tables.over_optimisation(rows, "pool", 2).splitlines() == [
        "| method | seeds | n = 1 | 2 | 4 | 4 − 1 | 4 − best |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| KL, nats | | 0.00 | 0.19 | 0.64 | | |",
        "| none | 3 | 0.000 | 1.000 | 0.600 | 0.600 ± 0.430 | -0.400 ± 0.248 (n = 2) |",
        "| vanilla | 1 | 0.000 | 0.250 | 0.500 | 0.500 |  |",
    ]
