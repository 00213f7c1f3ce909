"""Figures of `eval` equal an independent calculation from transformers' rewards and log probabilities."""

import json
import math
import random
from itertools import combinations

import numpy as np
import pytest
from families import save_checkpoint
from programs import read_rows, run_metarm, write_rows
from random_rows import WORDS
from reference import token_ids
from scoring import by_transformers
from test_log_probs import reference_log_probs

NEAR = dict(abs=1e-4, rel=1e-4)


def make_text(rng, most=14):
    return " " + " ".join(rng.choice(WORDS) for _ in range(rng.randrange(1, most)))


def make_rows(folder, pairs=30, groups=14):
    rng = random.Random(7)
    pair_rows = [{"prompt": make_text(rng), "chosen": make_text(rng), "rejected": make_text(rng), "subset": rng.choice("ab")} for _ in range(pairs)]
    group_rows = [{"prompt": make_text(rng), "responses": [make_text(rng) for _ in range(rng.randrange(2, 6))], "id": f"g{i}"} for i in range(groups)]
    group_rows[0]["responses"] = [" the same", " the same"]  # tied
    group_rows[1]["responses"][1] = group_rows[1]["responses"][0]
    write_rows(folder / "pairs.jsonl", pair_rows)
    write_rows(folder / "groups.jsonl", group_rows)
    return pair_rows, group_rows


class Scores:
    """A reward model's rewards by transformers."""

    def __init__(self, folder, seed, pairs, groups, scale=1.0):
        self.folder = folder
        model, tokenizer = save_checkpoint(folder, "llama", "reward", seed=seed)
        if scale != 1.0:
            model.score.weight.data *= scale
            model.save_pretrained(folder)
        reward = lambda prompt, response: by_transformers(model, token_ids(tokenizer, prompt, response))
        self.pairs = np.array([[reward(row["prompt"], row[side]) for side in ("chosen", "rejected")] for row in pairs])
        self.groups = [np.array([reward(row["prompt"], response) for response in row["responses"]]) for row in groups]
        self.deviation = self.pairs.std()

    def spread(self, group):
        return np.mean([abs(a - b) for a, b in combinations(self.groups[group], 2)]) / self.deviation


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    pairs, groups = make_rows(folder)
    models = {name: Scores(folder / name, seed, pairs, groups) for seed, name in enumerate(("rm", "second", "before"))}
    return folder, pairs, groups, models


def run_eval(folder, *more, model="rm"):
    return json.loads(run_metarm("eval", "--model", folder / model, "--pairs", folder / "pairs.jsonl", "--json", "--quiet", *more).stdout)


def sign_pairs(first, second):
    return [(np.sign(round(first[i] - first[j], 6)), np.sign(round(second[i] - second[j], 6))) for i, j in combinations(range(len(first)), 2)]


def tau_b(first, second):
    signs = sign_pairs(first, second)
    untied = sum(a != 0 for a, _ in signs) * sum(b != 0 for _, b in signs)
    return sum(a * b for a, b in signs) / math.sqrt(untied) if untied else None


def test_pairs(prepared):
    folder, rows, _, models = prepared
    figures = run_eval(folder)["pairs"]
    rewards = models["rm"].pairs
    margin = rewards[:, 0] - rewards[:, 1]
    p = 1 / (1 + np.exp(-margin))
    assert figures["accuracy"] == pytest.approx((margin > 0).mean())
    assert figures["loss"] == pytest.approx(-np.log(p).mean(), **NEAR)
    assert figures["brier"] == pytest.approx(((1 - p) ** 2).mean(), **NEAR)
    assert figures["reward_deviation"] == pytest.approx(rewards.std(), **NEAR)
    confidence = np.maximum(p, 1 - p)
    edges = np.linspace(0.5, 1, 11)
    bins = [(confidence >= low) & (confidence < high) for low, high in zip(edges, edges[1:])]
    expected = [(confidence[b].mean(), (margin > 0)[b].mean(), b.sum()) for b in bins if b.any()]
    assert [(b["confidence"], b["accuracy"], b["pairs"]) for b in figures["calibration"]] == [pytest.approx(e, **NEAR) for e in expected]
    assert figures["calibration_error"] == pytest.approx(sum(n / len(rows) * abs(c - a) for c, a, n in expected), **NEAR)
    assert len(expected) > 2


def test_length_bias(prepared):
    folder, rows, _, models = prepared
    length = run_eval(folder)["pairs"]["length"]
    rewards = models["rm"].pairs
    lengths = np.array([[len(row["chosen"]), len(row["rejected"])] for row in rows])
    assert length["correlation"] == pytest.approx(np.corrcoef(rewards.flatten(), lengths.flatten())[0, 1], **NEAR)
    centred = lambda x: (x - x.mean(1, keepdims=True)).flatten()
    assert length["within_correlation"] == pytest.approx(np.corrcoef(centred(rewards), centred(lengths))[0, 1], **NEAR)
    right = rewards[:, 0] > rewards[:, 1]
    for name, which in (("chosen_longer", lengths[:, 0] > lengths[:, 1]), ("chosen_shorter", lengths[:, 0] < lengths[:, 1])):
        assert length[name]["pairs"] == which.sum() > 0
        assert length[name]["accuracy"] == pytest.approx(right[which].mean())


def test_differences(prepared):
    folder, _, rows, models = prepared
    rm = models["rm"]
    figures = run_eval(folder, "--responses", folder / "groups.jsonl", "--near-tie", 0.3)["responses"]
    differences = [np.array([abs(a - b) for a, b in combinations(group, 2)]) for group in rm.groups]
    assert figures["groups"] == len(rows)
    assert figures["mean"] == pytest.approx(np.mean([d.mean() for d in differences]), **NEAR)
    assert figures["variance"] == pytest.approx(np.mean([(d**2).mean() for d in differences]), **NEAR)
    assert figures["scaled_mean"] == pytest.approx(figures["mean"] / rm.deviation, **NEAR)
    assert figures["scaled_variance"] == pytest.approx(figures["variance"] / rm.deviation**2, **NEAR)
    assert figures["near_ties"] == pytest.approx(np.mean([(d < 0.3 * rm.deviation).mean() for d in differences]))
    assert figures["near_ties"] > 0.05
    counts, _ = np.histogram(np.minimum(np.concatenate(differences) / rm.deviation, 4.1), np.append(np.arange(17) * 0.25, 5))
    assert figures["histogram"] == counts.tolist()
    assert figures["histogram_step"] == pytest.approx(0.25 * rm.deviation, **NEAR)
    lengths = [np.array([len(response) for response in row["responses"]]) for row in rows]
    centred = [np.concatenate([x - x.mean() for x in values]) for values in (rm.groups, lengths)]
    assert figures["length_correlation"] == pytest.approx(np.corrcoef(*centred)[0, 1], **NEAR)


def test_second_reward_model(prepared):
    folder, _, _, models = prepared
    more = ("--responses", folder / "groups.jsonl", "--second-rm", folder / "second")
    figures = run_eval(folder, *more)["responses"]["second_rm"]
    both = list(zip(models["rm"].groups, models["second"].groups))
    taus = [tau for tau in (tau_b(*group) for group in both) if tau is not None]
    assert figures["groups"] == len(taus) and figures["undefined_groups"] == 1
    assert figures["tau_b"] == pytest.approx(np.mean(taus), **NEAR)
    signs = [sign_pairs(*group) for group in both]
    right = np.array([sum(a == b != 0 for a, b in group) for group in signs])
    told_apart = np.array([sum(b != 0 for _, b in group) for group in signs])
    assert figures["pairs"] == told_apart.sum()
    assert figures["accuracy"] == pytest.approx(right.sum() / told_apart.sum())
    draws = np.random.default_rng(0).integers(0, len(both), (20000, len(both)))
    expected = np.nanquantile(right[draws].sum(1) / told_apart[draws].sum(1), [0.025, 0.975])
    assert [figures["accuracy_low"], figures["accuracy_high"]] == pytest.approx(expected, abs=0.02)
    draws = np.random.default_rng(0).integers(0, len(taus), (20000, len(taus)))
    assert [figures["tau_b_low"], figures["tau_b_high"]] == pytest.approx(np.quantile(np.array(taus)[draws].mean(1), [0.025, 0.975]), abs=0.04)


def test_where_discrimination_was_lost(prepared, tmp_path):
    folder, _, rows, models = prepared
    more = ("--responses", folder / "groups.jsonl", "--output")
    figures = run_eval(folder, *more, tmp_path / "out", "--before", folder / "before", "--second-rm", folder / "second")
    spreads = [[models[name].spread(i) for i in range(len(rows))] for name in ("before", "rm")]
    before = figures["responses"]["before"]
    assert before["groups"] == len(rows)
    assert [before["before"], before["after"]] == pytest.approx([np.mean(s) for s in spreads], **NEAR)
    losses = np.subtract(*spreads)
    assert before["loss"] == pytest.approx(losses.mean(), abs=1e-4)
    assert before["share_lost"] == pytest.approx((losses > 1e-6).mean())
    written = read_rows(tmp_path / "out" / "prompts.jsonl")
    by_id = {row["id"]: i for i, row in enumerate(rows)}
    order = [by_id[row["id"]] for row in written]
    assert sorted(order) == list(range(len(rows)))
    assert [row["spread_loss"] for row in written] == pytest.approx([losses[i] for i in order], abs=1e-4)
    assert [row["spread_loss"] for row in written] == sorted((row["spread_loss"] for row in written), reverse=True)
    for i, row in zip(order, written):
        assert (row["prompt"], row["responses"]) == (rows[i]["prompt"], rows[i]["responses"])
        for field, name in (("rewards", "rm"), ("before_rewards", "before"), ("second_rewards", "second")):
            assert row[field] == pytest.approx(models[name].groups[i], **NEAR)
        assert row["tau_b"] == (pytest.approx(tau_b(models["rm"].groups[i], models["second"].groups[i])) if i else None)
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text()) == figures

    # The same from an earlier scoring, and from the folder that an earlier evaluation wrote.
    run_metarm("score", "--model", folder / "before", "--input", folder / "groups.jsonl", folder / "pairs.jsonl", "--output", tmp_path / "scored.jsonl", "--quiet")
    run_eval(folder, *more, tmp_path / "earlier", model="before")
    for file in (tmp_path / "scored.jsonl", tmp_path / "earlier" / "prompts.jsonl"):
        assert run_eval(folder, "--responses", folder / "groups.jsonl", "--before", file)["responses"]["before"] == pytest.approx(before, abs=1e-5)


def test_a_mere_change_of_scale_is_no_loss(prepared, tmp_path):
    folder, pairs, groups, _ = prepared
    Scores(tmp_path / "scaled", 0, pairs, groups, scale=0.1)
    figures = run_eval(folder, "--responses", folder / "groups.jsonl", "--before", tmp_path / "scaled")["responses"]
    assert figures["before"]["loss"] == pytest.approx(0, abs=1e-5)


def test_responses_that_are_too_long_keep_their_places(tmp_path):
    folder = tmp_path
    pairs = [{"prompt": "a", "chosen": " the inn", "rejected": " nine"}]
    groups = [{"prompt": "the", "responses": [" inn" * 40, " nine", " river"]}, {"prompt": "the", "responses": [" inn" * 40, " inn"]}]
    write_rows(folder / "pairs.jsonl", pairs)
    write_rows(folder / "groups.jsonl", groups)
    rm = Scores(folder / "rm", 0, pairs, groups)
    figures = run_eval(folder, "--responses", folder / "groups.jsonl", "--max-length", 30, "--second-rm", folder / "rm", "--output", folder / "out")
    assert figures["responses"]["groups"] == 1 and figures["responses"]["second_rm"]["groups"] == 1
    assert figures["responses"]["mean"] == pytest.approx(abs(rm.groups[0][1] - rm.groups[0][2]), **NEAR)
    first, second = read_rows(folder / "out" / "prompts.jsonl")
    assert first["rewards"] == [None, *(pytest.approx(r, **NEAR) for r in rm.groups[0][1:])]
    assert second["rewards"] == [None, None] and second["scaled_spread"] is None


def divergence(folder, *more):
    return json.loads(run_metarm("eval", "--policy", folder / "policy", "--reference-policy", folder / "start", "--responses", folder / "groups.jsonl", "--json", "--quiet", *more).stdout)["divergence"]


def expected_divergence(by_group):
    """By group, a list of (log p_A, log p_B) arrays, one a response."""
    sums = lambda of_response: np.array([sum(of_response(a - b) for a, b in group) for group in by_group])
    k1, k3 = sums(np.sum), sums(lambda d: np.sum(np.exp(-d) - 1 + d))
    counts = {"response": sums(lambda d: 1.0), "token": sums(len)}
    figures = {}
    for name, values in (("k1", k1), ("k3", k3)):
        for per, count in counts.items():
            mean, n = values.sum() / count.sum(), len(by_group)
            error = math.sqrt(n / (n - 1) * ((values - mean * count) ** 2).sum()) / count.sum()
            figures[f"{name}_per_{per}"] = {"mean": pytest.approx(mean, abs=1e-3, rel=1e-4), "standard_error": pytest.approx(error, abs=1e-3, rel=1e-4)}
    return figures


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_divergence_of_policies(family, tmp_path):
    _, groups = make_rows(tmp_path, pairs=1)
    models = [save_checkpoint(tmp_path / name, family, "causal", seed=seed) for seed, name in enumerate(("policy", "start"))]
    tokenizer = models[0][1]
    by_group = []
    for row in groups:
        count = lambda ids: len(ids) - len(tokenizer(row["prompt"])["input_ids"])
        sequences = [token_ids(tokenizer, row["prompt"], response) for response in row["responses"]]
        by_group.append([tuple(np.array(reference_log_probs(model, ids, count(ids))) for model, _ in models) for ids in sequences])
    figures = divergence(tmp_path)
    assert {name: figures[name] for name in expected_divergence(by_group)} == expected_divergence(by_group)
    assert figures["responses"] == sum(len(group) for group in by_group)
    assert figures["tokens"] == sum(len(a) for group in by_group for a, _ in group)
    assert figures["k3_per_response"]["mean"] > 1
    same = json.loads(run_metarm("eval", "--policy", tmp_path / "policy", "--reference-policy", tmp_path / "policy", "--responses", tmp_path / "groups.jsonl", "--json", "--quiet").stdout)
    assert same["divergence"]["k1_per_response"] == {"mean": 0, "standard_error": 0}


def test_divergence_in_conversations_ends_with_the_end_token(tmp_path):
    """A template's line end after <|im_end|> was chosen by no policy."""
    groups = [{"prompt": [{"role": "user", "content": "the inn"}], "responses": [" nine", " a river"]}, {"prompt": [{"role": "user", "content": "x"}], "responses": [[{"role": "assistant", "content": "in"}]]}]
    write_rows(tmp_path / "groups.jsonl", groups)
    models = []
    for seed, name in enumerate(("policy", "start")):
        model, tokenizer = save_checkpoint(tmp_path / name, "llama", "causal", seed=seed)
        tokenizer.add_special_tokens({"eos_token": "<|im_end|>"})
        tokenizer.save_pretrained(tmp_path / name)
        models.append(model)
    by_group = []
    for row in groups:
        prompt = f"<|im_start|>user\n{row['prompt'][0]['content']}<|im_end|>\n<|im_start|>assistant\n"
        texts = [response if isinstance(response, str) else response[0]["content"] for response in row["responses"]]
        start = len(tokenizer(prompt)["input_ids"])
        sequences = [tokenizer(prompt + text + "<|im_end|>")["input_ids"] for text in texts]
        by_group.append([tuple(np.array(reference_log_probs(model, ids, len(ids) - start)) for model in models) for ids in sequences])
    figures = divergence(tmp_path, "--chat-template", "chatml")
    assert figures["tokens"] == sum(len(a) for group in by_group for a, _ in group)
    assert {name: figures[name] for name in expected_divergence(by_group)} == expected_divergence(by_group)


def test_divergence_takes_no_end_from_a_cut_response(tmp_path):
    _, groups = make_rows(tmp_path, pairs=1)
    groups = [row | {"ended": [i % 2 == 0 for i in range(len(row["responses"]))]} for row in groups]
    write_rows(tmp_path / "groups.jsonl", groups)
    models = [save_checkpoint(tmp_path / name, "llama", "causal", seed=seed) for seed, name in enumerate(("policy", "start"))]
    tokenizer = models[0][1]
    by_group = []
    for row in groups:
        start = len(tokenizer(row["prompt"])["input_ids"])
        sequences = [token_ids(tokenizer, row["prompt"], response)[: None if ended else -1] for response, ended in zip(row["responses"], row["ended"])]
        by_group.append([tuple(np.array(reference_log_probs(model, ids, len(ids) - start)) for model, _ in models) for ids in sequences])
    figures = divergence(tmp_path)
    assert figures["tokens"] == sum(len(a) for group in by_group for a, _ in group)
    assert {name: figures[name] for name in expected_divergence(by_group)} == expected_divergence(by_group)


def test_policies_need_one_tokenizer(tmp_path):
    make_rows(tmp_path, pairs=1)
    for name in ("policy", "start"):
        _, tokenizer = save_checkpoint(tmp_path / name, "llama", "causal")
    tokenizer.add_tokens(["the"])
    tokenizer.save_pretrained(tmp_path / "start")
    result = run_metarm("eval", "--policy", tmp_path / "policy", "--reference-policy", tmp_path / "start", "--responses", tmp_path / "groups.jsonl", "--quiet", check=False)
    assert result.returncode == 2 and "groups.jsonl:1: expected the same tokens" in result.stderr
