"""What keeps a reward model near what it was, or changes what its labels say, in plain PyTorch: the pull to the start, layer rates, frozen layers, the language-model loss, soft labels."""

import math

import pytest
import torch
from families import save_checkpoint
from programs import read_rows, run_metarm, write_rows
from reference import Reference, assert_same_steps, pair_ids
from safetensors.torch import load_file

PAIRS = [
    {"prompt": "The inn at", "chosen": " the river is there.", "rejected": " nine", "weight": 0.5},
    {"prompt": "Ah", "chosen": " then", "rejected": " then there is another thing."},
]
SGD = dict(optimizer="sgd", lr=0.1, lr_schedule="constant", max_grad_norm=0, batch_size=2)


def run_train(folder, rows=PAIRS, model="rm", **options):
    write_rows(folder / "pairs.jsonl", rows)
    fixed = dict(model=folder / model, pairs=folder / "pairs.jsonl", output=folder / "out", dtype="float32", shuffle="false")
    arguments = [part for name, value in (fixed | options).items() for part in ("--" + name.replace("_", "-"), str(value))]
    run_metarm("train", *arguments, "--quiet")
    return read_rows(folder / "out" / "metrics.jsonl"), load_file(folder / "out" / "model.safetensors")


def copy_of(reference):
    return {name: weight.detach().clone() for name, weight in reference.weights.items()}


def test_the_pull_to_the_start_is_decoupled_and_of_all_weights(tmp_path):
    model, tokenizer = save_checkpoint(tmp_path / "rm", "llama", "reward")
    reference, pull, steps = Reference(model), 2.0, 3
    before = copy_of(reference)
    _, saved = run_train(tmp_path, l2_sp=pull, max_steps=steps, **SGD)
    ids = pair_ids(tokenizer, PAIRS)
    for _ in range(steps):
        reference.sgd_step(reference.gradient(reference.pairwise_loss(reference.weights, ids, PAIRS)), SGD["lr"])
        reference.weights = {
            name: (weight - SGD["lr"] * pull * (weight - before[name])).detach().requires_grad_(True) for name, weight in reference.weights.items()
        }
    assert_same_steps(saved, reference, before, tolerance=1e-3)


def layer_of(name, layers=3):
    if "embed_tokens" in name:
        return -1
    return int(name.split(".")[2]) if ".layers." in name else layers


def test_learning_rates_fall_from_the_head_to_the_embeddings(tmp_path):
    model, tokenizer = save_checkpoint(tmp_path / "rm", "llama", "reward")
    reference, decay = Reference(model), 0.5
    before = copy_of(reference)
    _, saved = run_train(tmp_path, layer_lr_decay=decay, max_steps=1, **SGD)
    gradient = reference.gradient(reference.pairwise_loss(reference.weights, pair_ids(tokenizer, PAIRS), PAIRS))
    reference.sgd_step({name: g * decay ** (3 - layer_of(name)) for name, g in gradient.items()}, SGD["lr"])
    assert_same_steps(saved, reference, before, tolerance=1e-3)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("checkpointing", ["false", "true"])
def test_frozen_layers_stay_and_the_others_move_as_before(optimizer, checkpointing, tmp_path):
    model, tokenizer = save_checkpoint(tmp_path / "rm", "llama", "reward")
    reference = Reference(model)
    before = copy_of(reference)
    options = SGD | {"optimizer": optimizer}
    _, saved = run_train(tmp_path, freeze_layers=2, max_steps=1, weight_decay=0.1, gradient_checkpointing=checkpointing, **options)
    moved = {name for name, weight in before.items() if not torch.equal(saved[name].double(), weight)}
    assert moved == {name for name in before if layer_of(name) >= 2}
    if optimizer == "adamw":
        return
    gradient = reference.gradient(reference.pairwise_loss(reference.weights, pair_ids(tokenizer, PAIRS), PAIRS))
    decayed = {name: g + 0.1 * before[name] * (before[name].dim() > 1) for name, g in gradient.items()}
    reference.sgd_step({name: g * (layer_of(name) >= 2) for name, g in decayed.items()}, SGD["lr"])
    assert_same_steps(saved, reference, before, tolerance=1e-3)


@pytest.mark.parametrize("order", ["first", "second"])
def test_frozen_layers_take_no_part_in_the_meta_step(order, tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    write_rows(tmp_path / "pairs.jsonl", PAIRS)
    write_rows(tmp_path / "groups.jsonl", [{"prompt": "The", "responses": [" inn", " river there", " ah"]}])
    run_metarm("align", "--model", tmp_path / "rm", "--pairs", tmp_path / "pairs.jsonl", "--responses", tmp_path / "groups.jsonl", "--output", tmp_path / "out", "--freeze-layers",
               3, "--meta-order", order, "--max-steps", 2, "--lr", 0.1, "--dtype", "float32", "--quiet")
    before, after = load_file(tmp_path / "rm" / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    assert {name for name in after if not torch.equal(before[name], after[name])} == {"model.norm.weight", "score.weight"}
    assert all(math.isfinite(row["meta_cosine"]) for row in read_rows(tmp_path / "out" / "metrics.jsonl"))


def common_prefix(a, b):
    """Of a pair's sequences, less the last token of one that would end in it."""
    length = 0
    while length < min(len(a), len(b)) - 1 and a[length] == b[length]:
        length += 1
    return length


def lm_loss(causal, head, weights, ids):
    chosen, rejected = ids
    begin = max(common_prefix(chosen, rejected), 1)
    backbone = {name.removeprefix("model."): weight for name, weight in weights.items() if name.startswith("model.")}
    hidden = torch.func.functional_call(causal.model, backbone, (torch.tensor([chosen]),)).last_hidden_state[0]
    log_probs = torch.log_softmax(hidden @ head(weights).T, -1)
    return -torch.stack([log_probs[place - 1, chosen[place]] for place in range(begin, len(chosen))]).mean()


@pytest.mark.parametrize("family", ["llama", "mistral"])  # tied embeddings, and a head of its own that stays
@pytest.mark.parametrize("tokens_per_batch", [1, 4096])
def test_the_language_model_loss_of_chosen_responses(family, tokens_per_batch, tmp_path):
    causal, tokenizer = save_checkpoint(tmp_path / "lm", family, "causal")
    _, start = run_train(tmp_path, model="lm", lr=0, max_steps=1)  # gives it a head
    (tmp_path / "out").rename(tmp_path / "start")
    metrics, saved = run_train(tmp_path, model="lm", lm_loss_weight=0.3, max_steps=1, tokens_per_batch=tokens_per_batch, **SGD)
    causal = causal.double()
    from transformers import AutoModelForSequenceClassification

    reference = Reference(AutoModelForSequenceClassification.from_pretrained(tmp_path / "start", attn_implementation="eager"))
    before = copy_of(reference)
    own_head = causal.lm_head.weight.detach()
    head = (lambda weights: weights["model.embed_tokens.weight"][: own_head.shape[0]]) if family == "llama" else (lambda weights: own_head)
    ids = pair_ids(tokenizer, PAIRS)
    of_language = torch.stack([row.get("weight", 1.0) * lm_loss(causal, head, reference.weights, pair) for pair, row in zip(ids, PAIRS)]).mean()
    assert metrics[0]["lm_loss"] == pytest.approx(of_language.item(), rel=1e-4)
    loss = reference.pairwise_loss(reference.weights, ids, PAIRS) + 0.3 * of_language
    reference.sgd_step(reference.gradient(loss), SGD["lr"])
    assert_same_steps(saved, reference, before, tolerance=1e-3)


def test_soft_labels_are_what_a_teacher_thinks(tmp_path):
    """Rows that `score` has scored by a teacher; the loss is the cross entropy of its probabilities at a temperature."""
    save_checkpoint(tmp_path / "teacher", "llama", "reward", seed=1)
    model, tokenizer = save_checkpoint(tmp_path / "rm", "llama", "reward")
    write_rows(tmp_path / "pairs.jsonl", PAIRS)
    run_metarm("score", "--model", tmp_path / "teacher", "--input", tmp_path / "pairs.jsonl", "--output", tmp_path / "scored.jsonl", "--quiet")
    rows = read_rows(tmp_path / "scored.jsonl")
    reference, temperature = Reference(model), 2.0
    before = copy_of(reference)
    metrics, saved = run_train(tmp_path, rows=rows, soft_labels=temperature, max_steps=1, **SGD)
    losses = []
    for ids, row in zip(pair_ids(tokenizer, PAIRS), rows):
        label = torch.sigmoid(torch.tensor((row["chosen_reward"] - row["rejected_reward"]) / temperature, dtype=torch.float64))
        assert 0.01 < label < 0.99
        difference = reference.reward(reference.weights, ids[0]) - reference.reward(reference.weights, ids[1])
        losses.append(row.get("weight", 1.0) * torch.nn.functional.binary_cross_entropy_with_logits(difference, label))
    loss = torch.stack(losses).mean()
    assert metrics[0]["loss"] == pytest.approx(loss.item(), rel=1e-4)
    reference.sgd_step(reference.gradient(loss), SGD["lr"])
    assert_same_steps(saved, reference, before, tolerance=1e-3)
