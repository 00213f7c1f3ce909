"""Outliers among the current policy's responses, as `eval` finds them, beside numpy from transformers' hidden states."""

import json
import random
import shutil

import numpy as np
import pytest
import torch
from families import save_checkpoint
from programs import read_rows, run_metarm, run_ranks, write_rows
from random_rows import WORDS
from random_streams import stream
from reference import token_ids

FOLDS = 5


def make_text(rng, words, most=10):
    return " " + " ".join(rng.choice(words) for _ in range(rng.randrange(1, most)))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outliers")
    model, tokenizer = save_checkpoint(folder / "rm", "llama", "reward")
    rng = random.Random(3)
    prompts = [make_text(rng, WORDS) for _ in range(60)]
    pairs = [{"prompt": prompt, "chosen": make_text(rng, WORDS), "rejected": make_text(rng, WORDS) + " b"} for prompt in prompts]
    asked = [*prompts[:20], *(make_text(rng, WORDS) for _ in range(20))]
    like = [{"id": str(i), "prompt": prompt, "responses": [make_text(rng, WORDS) for _ in range(2)]} for i, prompt in enumerate(asked)]
    far = [row | {"responses": [" " + "zqx" * rng.randrange(5, 20) for _ in range(2)]} for row in like]
    first = [{"prompt": row["prompt"], "responses": [response]} for row in like for response in (make_text(rng, WORDS), make_text(rng, WORDS))]
    for name, rows in (("pairs", pairs), ("like", like), ("far", far), ("first", first)):
        write_rows(folder / f"{name}.jsonl", rows)
    model.double()

    def hidden(rows):
        with torch.no_grad():
            return np.stack([model.model(torch.tensor([token_ids(tokenizer, *row)])).last_hidden_state[0, -1].numpy() for row in rows])

    return folder, hidden, {"pairs": pairs, "like": like, "far": far, "first": first}


def texts(rows):
    """Prompt and response, row after row."""
    return [(row["prompt"], text) for row in rows for text in row.get("responses") or (row["chosen"], row["rejected"])]


def run_eval(folder, responses, *more, run=run_metarm):
    command = ["eval", "--model", folder / "rm", "--pairs", folder / "pairs.jsonl", "--responses", folder / f"{responses}.jsonl", "--outliers", "--outlier-level", "0.05", "--json", "--quiet"]
    return json.loads(run(*command, *more).stdout)["responses"]["outliers"]


def shuffled(count, seed):
    draws, order = stream(seed, "outlier folds"), list(range(count))
    for left in range(count, 1, -1):
        draw = next(draw for draw in draws if draw >= 2**64 % left)
        order[left - 1], order[draw % left] = order[draw % left], order[left - 1]
    return order


class Gaussian:
    """With its covariance drawn towards a multiple of the identity by Ledoit and Wolf's share."""

    def __init__(self, x):
        self.mean = x.mean(0)
        covariance, unit = np.cov(x.T, bias=True), np.eye(x.shape[1])
        target = unit * np.trace(covariance) / len(unit)
        estimate = np.mean([np.square(np.outer(row, row) - covariance).sum() for row in x - self.mean]) / len(x)
        shrinkage = min(1, estimate / np.square(covariance - target).sum())
        self.inverse = np.linalg.inv((1 - shrinkage) * covariance + shrinkage * target)

    def distance(self, x):
        return np.sqrt(np.einsum("bi,ij,bj->b", x - self.mean, self.inverse, x - self.mean))


def expected(reference, responses, hidden, seed):
    """Distances and p-values of responses."""
    prompts = {prompt: None for prompt, _ in texts(reference)}
    fold = dict(zip(prompts, (place % FOLDS for place in shuffled(len(prompts), seed))))
    reference_states, states = hidden(texts(reference)), hidden(texts(responses))
    folds = np.array([fold[prompt] for prompt, _ in texts(reference)])
    fitted = [Gaussian(reference_states[folds != f]) for f in range(FOLDS)]
    held_out = [fitted[f].distance(reference_states[folds == f]) for f in range(FOLDS)]
    distances, p_values = [], []
    for (prompt, _), state in zip(texts(responses), states):
        of_folds = [gaussian.distance(state[None])[0] for gaussian in fitted]
        if prompt in fold:
            of_folds = [of_folds[fold[prompt]]] * FOLDS
        distances.append(np.mean(of_folds))
        p_values.append((1 + sum((held >= distance).sum() for held, distance in zip(held_out, of_folds))) / (len(folds) + 1))
    return np.array(distances), np.array(p_values), np.concatenate(held_out)


@pytest.mark.parametrize("reference, seed", [("pairs", 0), ("pairs", 4), ("first", 0)])
def test_distances_and_p_values(reference, seed, prepared, tmp_path):
    folder, hidden, rows = prepared
    more = ["--reference-responses", folder / "first.jsonl"] if reference == "first" else []
    figures = run_eval(folder, "like", "--seed", seed, "--output", tmp_path / "out", *more)
    distances, p_values, held_out = expected(rows[reference], rows["like"], hidden, seed)
    found = {row["id"]: row for row in read_rows(tmp_path / "out/prompts.jsonl")}
    assert np.concatenate([found[row["id"]]["outlier_distances"] for row in rows["like"]]) == pytest.approx(distances, rel=1e-3)
    ranked = np.concatenate([found[row["id"]]["outlier_p_values"] for row in rows["like"]])
    assert ranked == pytest.approx(p_values, abs=1.01 / (len(held_out) + 1)) and (abs(ranked - p_values) > 1e-6).sum() <= 2  # equal texts' ties are broken by rounding
    p_values = ranked
    assert figures["share"]["mean"] == pytest.approx((p_values <= 0.05).mean()) and figures["level"] == 0.05
    assert figures["farther"]["mean"] == pytest.approx((1 - p_values).mean(), abs=1e-5)
    assert figures["distance"]["mean"] == pytest.approx(distances.mean(), rel=1e-4) and figures["reference_distance"] == pytest.approx(held_out.mean(), rel=1e-4)
    by_prompt = {prompt: 0.0 for prompt, _ in texts(rows["like"])}
    for (prompt, _), p_value in zip(texts(rows["like"]), p_values):
        by_prompt[prompt] += (p_value <= 0.05) - (p_values <= 0.05).mean()
    assert figures["share"]["standard_error"] == pytest.approx(np.sqrt(len(by_prompt) / (len(by_prompt) - 1) * np.square(list(by_prompt.values())).sum()) / 80, abs=1e-6)
    assert (figures["responses"], figures["reference_responses"]) == (80, len(held_out))


def test_responses_like_the_reference_and_others(prepared):
    folder, _, _ = prepared
    like, far = run_eval(folder, "like"), run_eval(folder, "far")
    assert like["share"]["mean"] < 0.15 and abs(like["farther"]["mean"] - 0.5) < 0.15
    assert far["share"]["mean"] > 0.8 and far["farther"]["mean"] > 0.95 and far["distance"]["mean"] > like["distance"]["mean"]


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="mpirun is not installed: runs of several ranks are not tested")
def test_ranks_find_the_same(prepared):
    folder, _, _ = prepared
    one, three = run_eval(folder, "like"), run_eval(folder, "like", run=lambda *arguments: run_ranks(3, *arguments))
    assert three["distance"] == pytest.approx(one["distance"], rel=1e-4) and three["share"] == pytest.approx(one["share"], abs=0.02)


def test_a_reference_too_small_for_its_level(prepared):
    folder, _, _ = prepared
    result = run_metarm("eval", "--model", folder / "rm", "--pairs", folder / "pairs.jsonl", "--responses", folder / "like.jsonl", "--outliers", "--outlier-level", "0.005", check=False)
    assert result.returncode == 2 and "--outlier-level 0.005: expected a reference of 199 responses at least, got 120" in result.stderr
