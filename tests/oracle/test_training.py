"""Training equals plain PyTorch: the pairwise loss with its options, AdamW, schedules, clipping, weight decay, LoRA."""

import math

import pytest
import torch
from families import save_checkpoint
from programs import read_rows, run_metarm, write_rows
from reference import Reference, assert_same_steps, pair_ids
from safetensors.torch import load_file

PAIRS = [
    {"prompt": "One", "chosen": " two three.", "rejected": " three", "margin": 0.5, "weight": 2.0},
    {"prompt": "The inn at", "chosen": " the river is there.", "rejected": " nine", "weight": 0.5},
    {"prompt": "Ah", "chosen": " then", "rejected": " then there is another thing.", "margin": -0.25},
    {"prompt": "In", "chosen": " the", "rejected": " a"},
]


def run_train(folder, **options):
    write_rows(folder / "pairs.jsonl", PAIRS)
    given = dict(model=folder / "rm", pairs=folder / "pairs.jsonl", output=folder / "out", dtype="float32", shuffle="false") | options
    arguments = [part for name, value in given.items() for part in ("--" + name.replace("_", "-"), str(value))]
    run_metarm("train", *arguments, "--quiet")
    return read_rows(given["output"] / "metrics.jsonl")


def factor(schedule, step, total, warmup):
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / (total - warmup)
    return {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[schedule]


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_adamw(schedule, tmp_path):
    model, tokenizer = save_checkpoint(tmp_path / "rm", "llama", "reward")
    lr, decay, clip, total = 1e-3, 0.1, 0.5, 6  # three epochs of two batches
    metrics = run_train(tmp_path, lr=lr, lr_schedule=schedule, warmup_ratio=0.3, weight_decay=decay, max_grad_norm=clip, batch_size=2, epochs=3, label_smoothing=0.1,
                        center_rewards_coefficient=0.01)
    reference = Reference(model)
    before = {name: weight.detach().clone() for name, weight in reference.weights.items()}
    parameters = list(reference.weights.values())
    matrices = [p for p in parameters if p.dim() > 1]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": decay}, {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0}], lr=lr)
    ids = pair_ids(tokenizer, PAIRS)
    assert len(metrics) == total
    for step, row in enumerate(metrics):
        begin = 2 * (step % 2)
        loss = reference.pairwise_loss(reference.weights, ids[begin : begin + 2], PAIRS[begin : begin + 2], smoothing=0.1, center=0.01)
        assert row["loss"] == pytest.approx(loss.item(), rel=1e-4)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_([p for p in parameters if p.grad is not None], clip)
        assert row["gradient_norm"] == pytest.approx(norm.item(), rel=1e-3)
        rate = lr * factor(schedule, step, total, math.ceil(0.3 * total))
        assert row["learning_rate"] == pytest.approx(rate, rel=1e-9)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    # Adam's first steps are near lr * sign(gradient): elements with gradients of the size of rounding decide the bound.
    assert_same_steps(load_file(tmp_path / "out" / "model.safetensors"), reference, before, tolerance=0.02)


def test_shuffled_epochs_take_each_pair_once(tmp_path):
    """Weights 1, 10, 100, 1000 and a learning rate of 0: the losses say which pairs a step took."""
    model, tokenizer = save_checkpoint(tmp_path / "rm", "llama", "reward")
    rows = [row | {"weight": 10.0**i, "margin": 0.0} for i, row in enumerate(PAIRS)]
    write_rows(tmp_path / "pairs.jsonl", rows)
    orders = []
    for seed in (0, 1):
        run_metarm("train", "--model", tmp_path / "rm", "--pairs", tmp_path / "pairs.jsonl", "--output", tmp_path / f"out{seed}", "--batch-size", 1, "--epochs", 4, "--lr", 0,
                   "--seed", seed, "--dtype", "float32", "--quiet")
        reference = Reference(model)
        losses = [reference.pairwise_loss(reference.weights, [ids], [row]).item() for ids, row in zip(pair_ids(tokenizer, rows), rows)]
        found = [min(range(4), key=lambda i: abs(losses[i] - row["loss"])) for row in read_rows(tmp_path / f"out{seed}" / "metrics.jsonl")]
        epochs = [found[i : i + 4] for i in range(0, 16, 4)]
        assert all(sorted(epoch) == [0, 1, 2, 3] for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) > 1, "every epoch had the same order"
        orders.append(epochs)
    assert orders[0] != orders[1], "another seed gave the same orders"


def test_new_heads_are_seeded_and_spread_as_stated(tmp_path):
    save_checkpoint(tmp_path / "rm", "gpt2", "causal")
    heads = {}
    for name, seed in [("a", 1), ("b", 1), ("c", 2)]:
        (tmp_path / name).mkdir()
        write_rows(tmp_path / "pairs.jsonl", PAIRS)
        run_metarm("train", "--model", tmp_path / "rm", "--pairs", tmp_path / "pairs.jsonl", "--output", tmp_path / name / "out", "--lr", 0, "--max-steps", 1, "--seed", seed,
                   "--quiet")
        heads[name] = load_file(tmp_path / name / "out" / "model.safetensors")["score.weight"]
    assert torch.equal(heads["a"], heads["b"]) and not torch.equal(heads["a"], heads["c"])
    assert heads["a"].std().item() == pytest.approx((48 + 1) ** -0.5, rel=0.3)


def test_dropout_does_not_depend_on_the_microbatches(tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    options = dict(dropout=0.3, lr=0.05, optimizer="sgd", batch_size=4, max_steps=3)
    others = {"whole": {}, "parts": {"tokens_per_batch": 1}, "again": {"gradient_checkpointing": "true"}, "without": {"dropout": 0}, "other": {"seed": 1}}
    runs = {name: run_train(tmp_path, **(options | {"output": tmp_path / name} | more)) for name, more in others.items()}
    losses = {name: [row["loss"] for row in rows] for name, rows in runs.items()}
    assert losses["parts"] == pytest.approx(losses["whole"], rel=1e-5) and losses["again"] == pytest.approx(losses["whole"], rel=1e-5)
    for name in ("without", "other"):
        assert all(abs(a - b) > 1e-3 for a, b in zip(losses[name], losses["whole"]))


def test_a_pull_past_the_start_is_refused(tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    write_rows(tmp_path / "pairs.jsonl", PAIRS)
    result = run_metarm("train", "--model", tmp_path / "rm", "--pairs", tmp_path / "pairs.jsonl", "--output", tmp_path / "out", "--lr", "1e-3", "--l2-sp", "1001", check=False)
    assert result.returncode == 2 and "--l2-sp: expected up to 1 / --lr, 1000, got 1001" in result.stderr and result.stderr.count("\n") == 1
