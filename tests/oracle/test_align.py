"""Steps of `align` equal a plain PyTorch implementation of MetaRM, tensor by tensor."""

import pytest
import torch
from families import FAMILIES, save_checkpoint
from programs import read_rows, run_metarm, write_rows
from reference import MetaStep, Reference, assert_same_steps, group_ids, pair_ids
from safetensors.torch import load_file

PAIRS = [
    {"prompt": "The sum of two and two", "chosen": " is four.", "rejected": " is a fish, said the man."},
    {"prompt": "Tell me", "chosen": " a story of the inn, then.", "rejected": " no"},
    {"prompt": "What?", "chosen": " Nothing at all.", "rejected": " Nothing at all, there."},
]
GROUPS = [
    {"prompt": "Name the river", "responses": [" Rhine", " the other one", " a river in the east"]},
    {"prompt": "Sing", "responses": [" la la", " no"]},
    {"prompt": "Then what", "responses": [" it ends", " it ends there", " it ends", " the inn burns"]},  # equal ones are computed once
]


def run_align(folder, **options):
    write_rows(folder / "pairs.jsonl", PAIRS)
    write_rows(folder / "groups.jsonl", GROUPS)
    fixed = dict(model=folder / "rm", pairs=folder / "pairs.jsonl", responses=folder / "groups.jsonl", output=folder / "out", optimizer="sgd", dtype="float32",
                 lr_schedule="constant", max_grad_norm=0, shuffle="false", batch_size=len(PAIRS), meta_batch_size=len(GROUPS))
    arguments = [part for name, value in (fixed | options).items() for part in ("--" + name.replace("_", "-"), str(value))]
    run_metarm("align", *arguments, "--quiet")
    return load_file(folder / "out" / "model.safetensors"), read_rows(folder / "out" / "metrics.jsonl")


def setup(folder, family):
    model, tokenizer = save_checkpoint(folder / "rm", family, "reward")
    reference = Reference(model)
    before = {name: weight.detach().clone() for name, weight in reference.weights.items()}
    return reference, before, pair_ids(tokenizer, PAIRS), group_ids(tokenizer, GROUPS)


def compare_meta(folder, family, scale, order, meta_lr, lr, steps, tolerance=1e-4):
    reference, before, pairs, groups = setup(folder, family)
    saved, metrics = run_align(folder, meta_scale=scale, meta_order=order, meta_lr=meta_lr, lr=lr, max_steps=steps)
    step = MetaStep(reference, meta_lr, scale, order)
    for row in metrics:
        assert row["j_before"] == pytest.approx(reference.difference_loss(reference.weights, groups).item(), abs=1e-5)
        reference.sgd_step(step.gradient(pairs, groups), lr)
        assert row["kept_share"] == pytest.approx(1.0, abs=1e-3)
        assert row["j_after"] > row["j_before"]
    assert_same_steps(saved, reference, before, tolerance)


@pytest.mark.parametrize("order", ["first", "second"])
@pytest.mark.parametrize("scale, meta_lr", [("absolute", 0.005), ("normalized", 0.1)])
def test_meta_step(scale, meta_lr, order, tmp_path):
    compare_meta(tmp_path, "llama", scale, order, meta_lr, lr=0.1, steps=1)


@pytest.mark.parametrize("family", FAMILIES)
def test_second_order_of_every_family(family, tmp_path):
    compare_meta(tmp_path, family, "normalized", "second", 0.05, lr=0.1, steps=1)


@pytest.mark.parametrize("order", ["first", "second"])
def test_several_steps(order, tmp_path):
    compare_meta(tmp_path, "qwen2", "normalized", order, 0.05, lr=0.05, steps=3, tolerance=1e-3)


# Adam's direction divides by the size of each element's gradient, so that elements near 0 magnify float32's rounding: a looser bound, and the derivative for the second order
# is compared with autograd's in tests/meta.
def test_adam_direction(tmp_path):
    compare_meta(tmp_path, "llama", "adam", "first", 1e-4, lr=0.1, steps=2, tolerance=1e-2)


def test_the_second_order_differs_from_the_first(tmp_path):
    saved = {}
    for order in ("first", "second"):
        (tmp_path / order).mkdir()
        _, before, _, _ = setup(tmp_path / order, "llama")
        saved[order], _ = run_align(tmp_path / order, meta_scale="absolute", meta_order=order, meta_lr=0.005, lr=0.1, max_steps=1)
    name = "model.layers.1.mlp.down_proj.weight"
    moved = (saved["first"][name].double() - before[name]).norm()
    assert (saved["first"][name] - saved["second"][name]).double().norm() > 0.01 * moved


@pytest.mark.parametrize("method, weight", [("joint", 0.5), ("none", 0.0)])
def test_methods_to_compare_with(method, weight, tmp_path):
    reference, before, pairs, groups = setup(tmp_path, "llama")
    options = {"joint_weight": weight} if method == "joint" else {}
    saved, _ = run_align(tmp_path, method=method, lr=0.1, max_steps=1, **options)
    loss = reference.pairwise_loss(reference.weights, pairs) - weight * reference.difference_loss(reference.weights, groups)
    reference.sgd_step(reference.gradient(loss), 0.1)
    assert_same_steps(saved, reference, before)


@pytest.mark.parametrize("options", [{"tokens_per_batch": 1}, {"gradient_checkpointing": "true"}])
def test_memory_options_change_results_by_rounding_only(options, tmp_path):
    saved = []
    for index, more in enumerate([{}, options]):
        folder = tmp_path / str(index)
        folder.mkdir()
        setup(folder, "qwen3")
        saved.append(run_align(folder, meta_lr=0.05, lr=0.1, max_steps=2, **more)[0])
    for name, tensor in saved[0].items():
        torch.testing.assert_close(saved[1][name], tensor, atol=1e-6, rtol=1e-5)
