"""Consistency of unlabelled responses under two dropout masks, in plain PyTorch with the program's own masks."""

import functools
import shutil

import pytest
import torch
from families import save_checkpoint
from programs import read_rows, run_metarm, run_ranks, write_rows
from random_streams import derive_seed, stream
from reference import Reference, assert_same_steps, group_ids, pair_ids
from safetensors.torch import load_file
from test_regularization import PAIRS, copy_of

GROUPS = [{"prompt": "The inn", "responses": [" at the river", " nine", " in there."]}, {"prompt": "Ah", "responses": [" then", " another thing there"]}]
SHARE, WEIGHT, SEED, RATE = 0.3, 0.7, 3, 0.1
OPTIONS = dict(model="rm", pairs="pairs.jsonl", responses="groups.jsonl", output="out", dropout=SHARE, consistency_coef=WEIGHT, seed=SEED, optimizer="sgd", lr=RATE, lr_schedule="constant",
               max_grad_norm=0, batch_size=2, dtype="float32", shuffle="false", max_steps=1, quiet="true")


def train(folder, check=True, runner=run_metarm, without=(), **more):
    """Metrics and weights, or the result where it is not to be checked."""
    if not (folder / "pairs.jsonl").exists():
        write_rows(folder / "pairs.jsonl", PAIRS), write_rows(folder / "groups.jsonl", GROUPS)
    given = {name: value for name, value in (OPTIONS | more).items() if name not in without}
    result = runner("train", *(word for name, value in given.items() for word in ("--" + name.replace("_", "-"), value)), check=check, cwd=folder)
    if not check:
        return result
    run = folder / given["output"]
    weights = run / ("model.safetensors" if (run / "model.safetensors").exists() else "adapter_model.safetensors")
    return read_rows(run / "metrics.jsonl"), load_file(weights)


class Dropout:
    """The program's masks (model/dropout.h) on the outputs of attention and MLP of a llama in transformers."""

    def __init__(self, model):
        self.ids, self.seed = [], 0
        for index, layer in enumerate(model.model.layers):
            layer.self_attn.register_forward_hook(lambda module, inputs, output, index=index: (output[0] * self.mask(index, 0, output[0].shape[-1]), *output[1:]))
            layer.mlp.register_forward_hook(lambda module, inputs, output, index=index: output * self.mask(index, 1, output.shape[-1]))

    def mask(self, layer, block, width):
        seed, key, rows = derive_seed(self.seed, "dropout", layer, block), 0, []
        for token in self.ids:
            key = derive_seed(key, "token", token)
            draws = stream(seed, "dropout", key)
            halves = [half for _ in range((width + 1) // 2) for draw in [next(draws)] for half in (draw & 0xFFFFFFFF, draw >> 32)]
            rows.append([0.0 if half < int(SHARE * 2**32) else 1 / (1 - SHARE) for half in halves[:width]])
        return torch.tensor([rows], dtype=torch.float64)

    def reward(self, reference, ids, seed):
        self.ids, self.seed = ids, seed
        return reference.reward(reference.weights, ids)


def pairwise(dropout, reference, ids, step):
    seed = derive_seed(SEED, "dropout", step)
    losses = []
    for (chosen, rejected), row in zip(ids, PAIRS):
        difference = dropout.reward(reference, chosen, seed) - dropout.reward(reference, rejected, seed)
        losses.append(-row.get("weight", 1.0) * torch.nn.functional.logsigmoid(difference))
    return torch.stack(losses).mean()


def consistency(dropout, reference, groups, step):
    values = []
    for group in groups:
        passes = [torch.stack([dropout.reward(reference, ids, derive_seed(SEED, "consistency", step, number)) for ids in group]) for number in (0, 1)]
        distances = []
        for i in range(len(group)):
            for j in range(i + 1, len(group)):
                q, other = (torch.distributions.Bernoulli(logits=rewards[i] - rewards[j]) for rewards in passes)
                distances.append(0.5 * (torch.distributions.kl_divergence(q, other) + torch.distributions.kl_divergence(other, q)))
        values.append(torch.stack(distances).mean())
    return torch.stack(values).mean()


@pytest.mark.parametrize("more", [{}, {"tokens_per_batch": 1}, {"gradient_checkpointing": "true"}], ids=["whole", "parts", "checkpointing"])
def test_steps(more, tmp_path):
    model, tokenizer = save_checkpoint(tmp_path / "rm", "llama", "reward")
    reference, steps = Reference(model), 2
    dropout, before = Dropout(reference.model), copy_of(reference)
    metrics, saved = train(tmp_path, max_steps=steps, **more)
    for step in range(steps):
        labelled = pairwise(dropout, reference, pair_ids(tokenizer, PAIRS), step)
        unlabelled = consistency(dropout, reference, group_ids(tokenizer, GROUPS), step)
        assert metrics[step]["loss"] == pytest.approx(labelled.item(), rel=1e-4)
        assert metrics[step]["consistency"] == pytest.approx(unlabelled.item(), rel=1e-3) and unlabelled > 1e-3
        assert metrics[step]["consistency_groups"] == 2 and metrics[step]["pairs"] == 2
        reference.sgd_step(reference.gradient(labelled + WEIGHT * unlabelled), RATE)
    assert_same_steps(saved, reference, before, tolerance=2e-3)


@pytest.mark.parametrize("method", [dict(method="none"), dict(meta_lr=1e-7)], ids=["none", "meta"])
def test_an_alignment_descends_it_too(method, tmp_path):
    """Without a meta step, or with next to none, it is the training that is compared with plain PyTorch above."""
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    trained, expected = train(tmp_path, max_steps=2)
    aligned, weights = train(tmp_path, max_steps=2, output="aligned", runner=lambda _, *words, **more: run_metarm("align", *words, **more), **method)
    for row, other in zip(aligned, trained, strict=True):
        assert row["consistency"] == pytest.approx(other["consistency"], rel=1e-3) and row["consistency_groups"] == row["groups"] == 2
        assert row["tokens"] > other["tokens"], "those of J, too"
    start = load_file(tmp_path / "rm/model.safetensors")
    moved = sum((expected[name] - start[name]).norm() ** 2 for name in start) ** 0.5
    assert sum((expected[name] - weights[name]).norm() ** 2 for name in start) ** 0.5 < 1e-3 * moved


def test_tokens_count_both_passes(tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    (both,), _ = train(tmp_path)
    (alone,), _ = train(tmp_path, output="alone", without=("consistency_coef", "responses"))
    assert "consistency" not in alone and (both["tokens"] - alone["tokens"]) % 2 == 0 and both["tokens"] > alone["tokens"] + 20
    assert both["loss"] == alone["loss"], "the pairs' masks are their own"


def test_repeated_it_makes_the_two_passes_agree(tmp_path):
    """Of responses alone: the pairs have no weight."""
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    write_rows(tmp_path / "none.jsonl", [row | {"weight": 0.0} for row in PAIRS])
    write_rows(tmp_path / "pairs.jsonl", PAIRS), write_rows(tmp_path / "groups.jsonl", GROUPS)
    metrics, _ = train(tmp_path, pairs="none.jsonl", max_steps=60, optimizer="adamw", lr=0.003)
    values = [row["consistency"] for row in metrics]
    assert sum(values[-15:]) < 0.5 * sum(values[:15])


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="mpirun is not installed: runs of several ranks are not tested")
@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_divide_the_groups(ranks, tmp_path):
    """Three ranks: one has neither pairs nor groups."""
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    one, of_one = train(tmp_path, output="one", threads=1)
    several, of_several = train(tmp_path, output="several", threads=1, runner=functools.partial(run_ranks, ranks))
    start = load_file(tmp_path / "rm/model.safetensors")
    moved = sum((of_one[name] - start[name]).norm() ** 2 for name in start) ** 0.5
    assert sum((of_one[name] - of_several[name]).norm() ** 2 for name in start) ** 0.5 < 1e-4 * moved
    assert several[0]["consistency"] == pytest.approx(one[0]["consistency"], rel=1e-4) and several[0]["tokens"] == one[0]["tokens"]


def test_adapters_and_an_interruption(tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    given = dict(consistency_batch_size=1, shuffle="true", lora_rank=2, threads=1)
    train(tmp_path, max_steps=5, output="whole", **given)
    for steps in (2, 5):
        metrics, _ = train(tmp_path, max_steps=steps, save_steps=steps, output="parts", resume="true", **given)
    assert (tmp_path / "parts/adapter_model.safetensors").read_bytes() == (tmp_path / "whole/adapter_model.safetensors").read_bytes()
    assert [row["consistency_groups"] for row in metrics] == [1] * 5
    write_rows(tmp_path / "groups.jsonl", GROUPS[::-1])
    result = train(tmp_path, check=False, max_steps=6, output="parts", resume="true", **given)
    assert result.returncode != 0 and "data.json: responses: expected the 2 rows with which the run began" in result.stderr


ERRORS = {
    "no dropout": (dict(dropout=0), "--consistency-coef: expected --dropout with it"),
    "no weight": (dict(consistency_coef=0), "--responses: expected --consistency-coef with it"),
    "a head training": (dict(head_training="batch-norm"), "--consistency-coef: expected --head-training plain with it, got batch-norm"),
    "too long": (dict(max_length=12, pairs="short.jsonl", responses="long.jsonl"), "--responses: expected groups that fit in --max-length 12"),
    "no responses": (dict(without=["responses"]), "train: --consistency-coef: expected --responses with it, unlabelled response groups, got none"),
    "a group of one": (dict(responses="one.jsonl"), "one.jsonl:2: "),
}


@pytest.mark.parametrize("what", ERRORS)
def test_errors(what, tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    write_rows(tmp_path / "short.jsonl", [{"prompt": "A", "chosen": "h", "rejected": "x"}])
    write_rows(tmp_path / "long.jsonl", [{"prompt": "A", "responses": [" the inn at a river there", " nine other three when in heather"]}])
    write_rows(tmp_path / "one.jsonl", [GROUPS[0], {"prompt": "Ah", "responses": [" then"]}])
    options, message = ERRORS[what]
    result = train(tmp_path, check=False, **options)
    assert result.returncode == 2 and message in result.stderr and result.stderr.count("\n") == 1, result.stderr
    assert not (tmp_path / "out").exists()
