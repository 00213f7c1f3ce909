"""`merge`: weights are a plain torch average of the members', and transformers loads them; models that do not belong together are refused."""

import json
import shutil

import pytest
import torch
import transformers as hf
from families import edit_config, save_checkpoint
from peft import PeftModel
from programs import run_metarm
from safetensors.torch import load_file
from scoring import load_in_transformers, score_texts, texts_by_transformers
from test_adapters import train


def merge(output, models, *more, **how):
    return run_metarm("merge", "--models", *models, "--output", output, *more, **how)


def averaged(states, weights):
    total = sum(weights)
    return {name: sum(weight / total * state[name].double() for state, weight in zip(states, weights)) for name in states[0]}


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
def test_weights_are_the_average(family, tmp_path):
    models, weights = [tmp_path / f"rm{seed}" for seed in range(3)], [1, 2.5, 0.5]
    states = [save_checkpoint(model, family, "reward", seed)[0].state_dict() for seed, model in enumerate(models)]
    merge(tmp_path / "merged", models, "--weights", *weights)
    merged = load_in_transformers(tmp_path / "merged")
    for name, tensor in averaged(states, weights).items():
        torch.testing.assert_close(merged.state_dict()[name].double(), tensor, atol=1e-6, rtol=1e-6)
    tokenizer = hf.AutoTokenizer.from_pretrained(tmp_path / "merged")
    assert score_texts(tmp_path / "merged", tmp_path) == pytest.approx(texts_by_transformers(merged, tokenizer), abs=1e-4)


def test_without_weights_all_count_the_same_and_the_type_is_as_asked(tmp_path):
    models = [tmp_path / "a", tmp_path / "b"]
    states = [save_checkpoint(model, "llama", "reward", seed)[0].state_dict() for seed, model in enumerate(models)]
    merge(tmp_path / "merged", models, "--save-dtype", "bfloat16")
    saved = load_file(tmp_path / "merged/model.safetensors")
    for name, tensor in averaged(states, [1, 1]).items():
        assert torch.equal(saved[name], tensor.float().bfloat16()), name


def test_adapters_are_merged_into_their_base(tmp_path):
    save_checkpoint(tmp_path / "base", "llama", "causal")
    adapters = [tmp_path / "a0", tmp_path / "a1"]
    for seed, adapter in enumerate(adapters):
        train("train", tmp_path / "base", adapter, "--lora-rank", 3, "--lr", 0.05, "--seed", seed, "--quiet")
    merge(tmp_path / "merged", adapters)
    states = []
    for adapter in adapters:
        base = hf.AutoModelForSequenceClassification.from_pretrained(tmp_path / "base", num_labels=1, dtype=torch.float32)
        states.append(PeftModel.from_pretrained(base, adapter).merge_and_unload().state_dict())
    saved = load_file(tmp_path / "merged/model.safetensors")
    for name, tensor in averaged(states, [1, 1]).items():
        torch.testing.assert_close(saved[name].double(), tensor, atol=1e-6, rtol=1e-5)
    assert not torch.equal(states[0]["score.weight"], states[1]["score.weight"])


def test_heads_that_were_drawn_apart_are_warned_of(tmp_path):
    save_checkpoint(tmp_path / "lm", "llama", "causal")
    apart, one = [tmp_path / "a0", tmp_path / "a1"], [tmp_path / "b0", tmp_path / "b1"]
    train("train", tmp_path / "lm", tmp_path / "start", "--lr", 0, "--quiet")
    for seed, (own, same) in enumerate(zip(apart, one)):
        train("train", tmp_path / "lm", own, "--seed", seed, "--quiet")
        train("train", tmp_path / "start", same, "--seed", seed, "--quiet")
    assert "averaging expects members that began from one reward model, head included" in merge(tmp_path / "unsound", apart).stderr
    assert "began" not in merge(tmp_path / "sound", one).stderr
    head = lambda folder: load_file(folder / "model.safetensors")["score.weight"]
    assert not torch.equal(head(one[0]), head(tmp_path / "start"))


WRONG = {
    "another architecture": (lambda other: save_checkpoint(other, "llama3_rope", "reward"), "expected the architecture of rm, got another: head_dim: expected 8, got 16"),
    "another pad token": (lambda other: edit_config(other, pad_token_id=0), "expected rewards to be read at the last token that is not 3, as in rm, got the last token that is not 0"),
    "another vocabulary": (lambda other: edit_tokenizer(other, "model"), "expected the tokenizer of rm, got another: model of tokenizer.json differs"),
    "another end token": (lambda other: edit_special(other), "expected the tokenizer of rm, got another: its end token is <pad>, not </s>"),
    "another template": (lambda other: edit_config(other, metarm_chat_template="chatml"), "expected the chat template of rm, got another"),
    "no head": (lambda other: save_checkpoint(other, "llama", "causal"), "other: "),
}


def edit_tokenizer(folder, part):
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocab = tokenizer[part]["vocab"]
    vocab["b"], vocab["c"] = vocab["c"], vocab["b"]
    path.write_text(json.dumps(tokenizer))


def edit_special(folder):
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token": "<pad>"}))


@pytest.mark.parametrize("wrong", WRONG)
def test_models_that_do_not_belong_together(wrong, tmp_path):
    change, message = WRONG[wrong]
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    shutil.copytree(tmp_path / "rm", tmp_path / "other")
    change(tmp_path / "other")
    result = merge("merged", ["rm", "other"], check=False, cwd=tmp_path)
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and message in result.stderr, result.stderr
    assert not (tmp_path / "merged").exists() and not list(tmp_path.glob("*merged*"))
