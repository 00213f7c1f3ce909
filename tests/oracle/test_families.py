"""Logits and rewards of every family equal transformers', and checkpoints go both ways."""

import json
import random

import pytest
import torch
from programs import run_program
from families import FAMILIES, VOCAB, make_model, save_checkpoint, edit_config

TOLERANCE = 1e-4


def forward(directory, what, **request):
    return json.loads(run_program("forward", directory, what, input=json.dumps(request)).stdout)


def make_groups(seed=0):
    """Groups that share a prompt, one that shares nothing, one whose sequence is a prefix of another, a single one."""
    rng = random.Random(seed)
    ids = lambda n: [rng.randrange(4, VOCAB) for _ in range(n)]
    prompt = ids(11)
    return [[prompt + ids(3), prompt + ids(9)], [ids(5), ids(4)], [prompt, prompt + ids(2), prompt + ids(6)], [ids(17)]]


def reference_logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0]


@pytest.mark.parametrize("name", FAMILIES)
def test_logits(name, tmp_path):
    model, _ = save_checkpoint(tmp_path, name, "causal")
    groups = make_groups()
    ours = forward(tmp_path, "logits", groups=groups)["logits"]
    for group, got_group in zip(groups, ours):
        for ids, got in zip(group, got_group):
            torch.testing.assert_close(torch.tensor(got), reference_logits(model, ids), atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("budget", [1, 30, 10000])
@pytest.mark.parametrize("name", FAMILIES)
def test_rewards(name, budget, tmp_path):
    model, _ = save_checkpoint(tmp_path, name, "reward")
    groups = make_groups()
    ours = forward(tmp_path, "rewards", groups=groups, tokens_per_batch=budget)["rewards"]
    for group, got in zip(groups, ours):
        expected = [reference_logits(model, ids).item() for ids in group]
        assert got == pytest.approx(expected, abs=TOLERANCE)
    assert len({round(r, 3) for group in ours for r in group}) > 4, "rewards that hardly differ would prove nothing"


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_padding_tokens_inside_a_sequence_are_pooled_as_transformers_does(name, tmp_path):
    model, _ = save_checkpoint(tmp_path, name, "reward")
    sequences = [[7, 8, 9, 3, 3], [7, 3, 8, 9], [7, 8, 9], [7, 3]]
    ours = forward(tmp_path, "rewards", groups=[sequences], tokens_per_batch=100)["rewards"][0]
    assert ours == pytest.approx([reference_logits(model, ids).item() for ids in sequences], abs=TOLERANCE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_checkpoints(dtype, tmp_path):
    model, _ = save_checkpoint(tmp_path, "llama", "reward", dtype=dtype)
    ids = make_groups()[0]
    ours = forward(tmp_path, "rewards", groups=[ids], tokens_per_batch=100)["rewards"][0]
    assert ours == pytest.approx([reference_logits(model, x).item() for x in ids], abs=TOLERANCE)


def test_sharded_checkpoints(tmp_path):
    model, _ = save_checkpoint(tmp_path, "qwen2", "causal", max_shard_size="40KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    ids = make_groups()[0][0]
    ours = forward(tmp_path, "logits", groups=[[ids]])["logits"][0][0]
    torch.testing.assert_close(torch.tensor(ours), reference_logits(model, ids), atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("name", FAMILIES)
def test_greedy_generation(name, tmp_path):
    """Cached branches, whatever their company, continue as transformers' generate does."""
    model, _ = save_checkpoint(tmp_path, name, "causal")
    prompts = [g[0] for g in make_groups(3)]
    request = dict(prompts=prompts, max_new_tokens=12, responses=2, temperature=0)
    ours = forward(tmp_path, "generate", **request)["tokens"]
    assert forward(tmp_path, "generate", **request, tokens_per_batch=1)["tokens"] == ours
    for prompt, responses in zip(prompts, ours):
        expected = list(prompt)
        for _ in range(12):
            expected.append(int(reference_logits(model, expected)[-1].argmax()))
        assert responses == [expected[len(prompt):]] * 2
