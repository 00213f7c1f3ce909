"""What a reward model begins from, and which of its layers learn when: other heads, gradual unfreezing."""

import pytest
import torch
from families import save_checkpoint
from programs import read_rows, run_metarm, write_rows
from random_rows import write_data
from reference import Reference, assert_same_steps, pair_ids
from safetensors.torch import load_file
from scoring import score_texts
from test_adapters import adapter_tensors
from test_foreign_heads import FOREIGN, save_foreign
from test_regularization import PAIRS, SGD, copy_of, layer_of

HEAD = "score.weight"
ADAPTER_HEAD = "base_model.model.score.weight"


def train(folder, model, output, *more, command="train", check=True):
    write_rows(folder / "pairs.jsonl", PAIRS)
    given = ["--model", folder / model, "--pairs", folder / "pairs.jsonl", "--output", folder / output, "--dtype", "float32", "--shuffle", "false", "--quiet", *more]
    return run_metarm(command, *given, *([] if "--max-steps" in more else ["--max-steps", 1]), check=check)


def head_of(folder, model, *more):
    """What training begins with."""
    train(folder, model, "begun", "--lr", 0, *more)
    head = load_file(folder / "begun/model.safetensors")[HEAD]
    (folder / "begun").rename(folder / f"begun{len(list(folder.iterdir()))}")
    return head


@pytest.fixture
def models(tmp_path):
    for name, family, kind, seed in [("lm", "llama", "causal", 0), ("rm", "llama", "reward", 1), ("other", "llama", "reward", 2)]:
        save_checkpoint(tmp_path / name, family, kind, seed)
    return tmp_path


def stored_head(folder):
    return load_file(folder / "model.safetensors")[HEAD]


def test_the_head_begins_as_it_is_told(models):
    of_lm = head_of(models, "lm")
    assert of_lm.std() == pytest.approx((48 + 1) ** -0.5, rel=0.3)
    assert torch.equal(head_of(models, "lm", "--init-head", "auto"), of_lm) and torch.equal(head_of(models, "lm", "--init-head", "normal"), of_lm)
    assert not torch.equal(head_of(models, "lm", "--seed", 1), of_lm)
    assert torch.equal(head_of(models, "rm"), stored_head(models / "rm")), "a reward model's head is kept"
    assert torch.equal(head_of(models, "rm", "--init-head", "normal"), of_lm), "or drawn anew"
    assert not head_of(models, "lm", "--init-head", "zeros").any() and not head_of(models, "rm", "--init-head", "zeros").any()
    for model in ("lm", "rm"):
        assert torch.equal(head_of(models, model, "--init-head", models / "other"), stored_head(models / "other"))


def test_the_head_of_an_adapter(models):
    train(models, "lm", "adapter", "--lora-rank", 2, "--lr", 0.05)
    head = adapter_tensors(models / "adapter")[ADAPTER_HEAD]
    assert torch.equal(head_of(models, "rm", "--init-head", models / "adapter"), head)


def test_an_adapter_begins_with_another_head(models):
    """Over a base, and where an adapter goes on."""
    other = stored_head(models / "other")
    train(models, "lm", "adapter", "--lora-rank", 2, "--lr", 0, "--init-head", models / "other")
    assert torch.equal(adapter_tensors(models / "adapter")[ADAPTER_HEAD], other)
    train(models, "lm", "first", "--lora-rank", 2, "--lr", 0.05)
    train(models, "first", "next", "--lr", 0, "--init-head", models / "other")
    before, after = (adapter_tensors(models / name) for name in ("first", "next"))
    assert torch.equal(after[ADAPTER_HEAD], other)
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items() if name != ADAPTER_HEAD)


@pytest.mark.parametrize("trainer", ["OASST, GPT-2", "Beaver"])
def test_a_foreign_head_is_taken_without_its_bias(trainer, tmp_path):
    family = "gpt2" if "GPT-2" in trainer else "llama"
    save_foreign(tmp_path / "foreign", trainer)
    save_checkpoint(tmp_path / "rm", family, "reward", 3)
    foreign = load_file(tmp_path / "foreign/model.safetensors")
    (weight,) = (tensor for name, tensor in foreign.items() if name in ("out_proj.weight", "score_head.weight"))
    train(tmp_path, "rm", "out", "--lr", 0, "--init-head", tmp_path / "foreign")
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("rm", "out"))
    assert torch.equal(after[HEAD], weight) and all(torch.equal(tensor, after[name]) for name, tensor in before.items() if name != HEAD)
    # The other way round: the bias of the head that is left.
    result = train(tmp_path, "foreign", "new", "--lr", 0, "--init-head", "zeros")
    assert "bias" not in result.stderr
    assert score_texts(tmp_path / "new", tmp_path) == [0, 0, 0]


@pytest.mark.parametrize("trainer", ["OASST, GPT-2", "OASST"])
def test_a_merged_adapter_leaves_the_bias_of_the_old_head_out(trainer, tmp_path):
    """The base is loaded again to merge: its final norm has a place for the bias, which went with the head."""
    save_foreign(tmp_path / "foreign", trainer)
    save_checkpoint(tmp_path / "rm", FOREIGN[trainer][0], "reward", 3)
    for output, merge in (("adapter", "false"), ("merged", "true")):
        train(tmp_path, "foreign", output, "--init-head", tmp_path / "rm", "--lora-rank", 2, "--merge-lora", merge, "--max-steps", 2, "--lr", 0.02)
    assert score_texts(tmp_path / "merged", tmp_path) == pytest.approx(score_texts(tmp_path / "adapter", tmp_path), abs=1e-5)


def test_training_goes_on_from_a_head_of_zeros(models):
    """Its first loss is log 2, and its first step moves the head alone."""
    model, _ = save_checkpoint(models / "rm", "llama", "reward", 1)
    train(models, "rm", "out", "--init-head", "zeros", "--optimizer", "sgd", "--lr", 0.1)
    before, after = (load_file(models / name / "model.safetensors") for name in ("rm", "out"))
    weights = sum(row.get("weight", 1) for row in PAIRS) / len(PAIRS)
    assert read_rows(models / "out/metrics.jsonl")[0]["loss"] == pytest.approx(weights * 0.693147, rel=1e-5)
    assert {name for name, tensor in before.items() if not torch.equal(tensor, after[name])} == {HEAD} and after[HEAD].any()


def test_heads_that_cannot_be_taken(models):
    def error(*more):
        result = train(models, "rm", "none", *more, check=False)
        assert result.returncode == 2 and result.stderr.count("\n") == 1 and not (models / "none").exists()
        return result.stderr

    assert "train: --init-head: expected auto, normal, zeros or a reward model's directory, got zero\n" in error("--init-head", "zero")
    assert "lm: expected a reward model, got a causal language model" in error("--init-head", models / "lm")
    write_data(models)
    run_metarm("sft", "--model", "lm", "--data", "pairs.jsonl", "--output", "policy", "--lora-rank", 2, "--max-steps", 1, "--quiet", cwd=models)
    assert "policy: expected the adapter of a reward model, with a reward head, got one without" in error("--init-head", models / "policy")
    import transformers as hf

    hf.AutoModelForSequenceClassification.from_config(hf.LlamaConfig(vocab_size=320, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, num_labels=1)).save_pretrained(models / "narrow")
    message = error("--init-head", models / "narrow")
    assert f"--init-head {models / 'narrow'}: expected a head of 48 numbers, as wide as the hidden states of {models / 'rm'}, got 32" in message
    (models / "ensemble").mkdir()
    (models / "ensemble/ensemble.json").write_text("{}")
    assert "expected one model, got an ensemble" in error("--init-head", models / "ensemble")
    assert "--init-head: expected auto, normal or a directory with --head-training length-head, got zeros" in error("--init-head", "zeros", "--head-training", "length-head")


def unfrozen(step, every, name):
    return layer_of(name) >= 3 - step // every


@pytest.mark.parametrize("checkpointing", ["false", "true"])
@pytest.mark.parametrize("every", [1, 2])
def test_layers_are_unfrozen_from_the_top(every, checkpointing, tmp_path):
    """Each step moves what is unfrozen by then as plain gradient descent does, and nothing else."""
    model, tokenizer = save_checkpoint(tmp_path / "rm", "llama", "reward")
    reference, ids = Reference(model), pair_ids(tokenizer, PAIRS)
    before = copy_of(reference)
    for steps in range(1, 3 * every + 3):
        gradient = reference.gradient(reference.pairwise_loss(reference.weights, ids, PAIRS))
        reference.sgd_step({name: g * unfrozen(steps - 1, every, name) for name, g in gradient.items()}, SGD["lr"])
        if steps % every == 0:
            options = [word for name, value in SGD.items() for word in ("--" + name.replace("_", "-"), value)]
            train(tmp_path, "rm", f"out{steps}", "--unfreeze-every", every, "--max-steps", steps, "--gradient-checkpointing", checkpointing, *options)
            saved = load_file(tmp_path / f"out{steps}/model.safetensors")
            assert {name for name in before if not torch.equal(saved[name].double(), before[name])} == {name for name in before if unfrozen(steps - 1, every, name)}
            if steps > every:  # before it there are but two tensors
                assert_same_steps(saved, reference, before, tolerance=2e-3)
    assert unfrozen(steps - 1, every, "model.embed_tokens.weight") == (every == 1)


def test_a_frozen_layer_has_no_part_in_the_gradient_s_length(tmp_path):
    """What --max-grad-norm cuts is the gradient of what learns."""
    model, tokenizer = save_checkpoint(tmp_path / "rm", "llama", "reward")
    reference = Reference(model)
    gradient = reference.gradient(reference.pairwise_loss(reference.weights, pair_ids(tokenizer, PAIRS), PAIRS))
    train(tmp_path, "rm", "out", "--unfreeze-every", 1, "--max-steps", 2, "--batch-size", 2, "--lr", 0)
    for step, row in enumerate(read_rows(tmp_path / "out/metrics.jsonl")):
        expected = torch.stack([g.norm() for name, g in gradient.items() if unfrozen(step, 1, name)]).norm().item()
        assert row["gradient_norm"] == pytest.approx(expected, rel=1e-4)


def test_frozen_layers_stay_so_while_others_are_unfrozen(tmp_path):
    model, _ = save_checkpoint(tmp_path / "rm", "llama", "reward")
    before = copy_of(Reference(model))
    train(tmp_path, "rm", "out", "--unfreeze-every", 1, "--freeze-layers", 2, "--max-steps", 6, "--lr", 0.01)
    saved = load_file(tmp_path / "out/model.safetensors")
    assert {name for name in before if not torch.equal(saved[name].double(), before[name])} == {name for name in before if layer_of(name) >= 2}


def test_adapters_are_unfrozen_from_the_top(tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    train(tmp_path, "rm", "start", "--lora-rank", 2, "--lr", 0.05, "--max-steps", 2)
    before = adapter_tensors(tmp_path / "start")
    for steps in (1, 2, 4):
        train(tmp_path, "start", f"out{steps}", "--unfreeze-every", 1, "--max-steps", steps, "--lr", 0.01)
        after = adapter_tensors(tmp_path / f"out{steps}")
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        assert moved == {name for name in before if layer_of(name.removeprefix("base_model.model.")) >= 4 - steps}


def test_the_meta_step_leaves_frozen_layers_out(tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    write_rows(tmp_path / "groups.jsonl", [{"prompt": "The", "responses": [" inn", " river there", " ah"]}])
    train(tmp_path, "rm", "out", "--responses", tmp_path / "groups.jsonl", "--unfreeze-every", 5, "--max-steps", 2, "--lr", 0.1, command="align")
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("rm", "out"))
    assert {name for name in after if not torch.equal(before[name], after[name])} == {"model.norm.weight", HEAD}


@pytest.mark.parametrize("command", [["sft", "--model", "lm", "--data", "pairs.jsonl", "--lora-rank", "2"], ["dpo", "--model", "lm", "--pairs", "pairs.jsonl"]], ids=["sft, LoRA", "dpo"])
def test_policies_are_unfrozen_from_the_top(command, tmp_path):
    """Adapters of a policy have no head beside them: the last layer's begin."""
    save_checkpoint(tmp_path / "lm", "mistral", "causal")
    write_data(tmp_path)
    run_metarm(*command, "--output", "out", "--batch-size", 2, "--max-steps", 2, "--lr", 0.01, "--unfreeze-every", 5, "--quiet", cwd=tmp_path)
    if "--lora-rank" in command:
        assert {name.split(".")[4] for name, tensor in adapter_tensors(tmp_path / "out").items() if "lora_B" in name and tensor.any()} == {"2"}
    else:
        before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("lm", "out"))
        assert {name for name in after if not torch.equal(before[name], after[name])} == {"model.norm.weight", "lm_head.weight"}


def test_unfreezing_goes_on_after_an_interruption(tmp_path):
    """The state is the step's: a run in two parts, of which each unfreezes layers, ends as one in a piece."""
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    write_data(tmp_path)
    given = ["train", "--model", "rm", "--pairs", "pairs.jsonl", "--batch-size", 2, "--lr", 0.003, "--lr-schedule", "constant", "--unfreeze-every", 2, "--dtype", "float32", "--threads", 1, "--quiet"]
    run_metarm(*given, "--max-steps", 9, "--output", "whole", cwd=tmp_path)
    for steps in (3, 9):
        run_metarm(*given, "--max-steps", steps, "--save-steps", steps, "--output", "parts", "--resume", cwd=tmp_path)
    assert (tmp_path / "parts/model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()
