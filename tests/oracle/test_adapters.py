"""LoRA adapters as base of further training, as PEFT writes and reads them, and broken ones."""

import json
import shutil

import pytest
import torch
import transformers as hf
from families import edit_config, save_checkpoint
from peft import PeftModel
from programs import run_metarm, write_rows
from safetensors.torch import load_file, save_file
from scoring import load_in_transformers, score_error, score_texts, texts_by_transformers

PAIRS = [{"prompt": "a", "chosen": " the inn", "rejected": " nine"}] * 4
GROUPS = [{"prompt": "a", "responses": [" the inn", " nine", " x"]}] * 4


def train(command, model, output, *more, dtype="float32", check=True):
    folder = output.parent
    write_rows(folder / "pairs.jsonl", PAIRS)
    write_rows(folder / "groups.jsonl", GROUPS)
    arguments = ["--model", model, "--pairs", folder / "pairs.jsonl", "--output", output, "--max-steps", 2, "--dtype", dtype]
    if command == "align":
        arguments += ["--responses", folder / "groups.jsonl", "--meta-lr", 0.01]
    return run_metarm(command, *arguments, *more, check=check)


@pytest.fixture(scope="module", params=["causal", "reward"])
def adapter(request, tmp_path_factory):
    """An adapter that does something, over a causal language model and over a reward model."""
    folder = tmp_path_factory.mktemp(request.param)
    save_checkpoint(folder / "base", "llama", request.param)
    train("train", folder / "base", folder / "adapter", "--lora-rank", 3, "--lr", 0.02, "--quiet")
    return folder / "adapter"


@pytest.mark.parametrize("command", ["train", "align"])
@pytest.mark.parametrize("kind", ["full", "merged"])
def test_training_starts_from_the_adapter(command, kind, adapter, tmp_path):
    """With a learning rate of 0 the output is the adapter's model; a weight that was left behind would show."""
    more = ["--lora-rank", 2, "--merge-lora", "true"] if kind == "merged" else []
    train(command, adapter, tmp_path / "out", "--lr", 0, "--quiet", *more)
    before = score_texts(adapter, tmp_path)
    assert score_texts(tmp_path / "out", tmp_path) == pytest.approx(before, abs=1e-5)
    tokenizer = hf.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert texts_by_transformers(load_in_transformers(tmp_path / "out"), tokenizer) == pytest.approx(before, abs=1e-4)


def test_no_adapter_over_an_adapter(adapter, tmp_path):
    result = train("train", adapter, tmp_path / "out", "--lora-rank", 2, check=False)
    assert result.returncode == 2 and "expected a whole checkpoint for an adapter, got an adapter; merge the adapter" in result.stderr
    shutil.copytree(adapter, tmp_path / "chain")
    edit_adapter(tmp_path / "chain", base_model_name_or_path=str(adapter))
    assert "expected a whole checkpoint, got another adapter" in score_error(tmp_path / "chain", tmp_path)


def test_a_chat_template_that_the_adapter_remembers_is_kept(tmp_path):
    save_checkpoint(tmp_path / "base", "llama", "causal")
    train("train", tmp_path / "base", tmp_path / "adapter", "--lora-rank", 2, "--chat-template", "chatml", "--quiet")
    train("train", tmp_path / "adapter", tmp_path / "out", "--lr", 0, "--quiet")
    assert json.loads((tmp_path / "out/config.json").read_text())["metarm_chat_template"] == "chatml"


def test_the_head_is_never_rounded(tmp_path):
    """LoRA in bfloat16 trains a float32 head: what is written with a learning rate of 0 is the head that was read."""
    save_checkpoint(tmp_path / "base", "llama", "reward")
    train("train", tmp_path / "base", tmp_path / "adapter", "--lora-rank", 2, "--lr", 0, "--quiet", dtype="bfloat16")
    head = load_file(tmp_path / "base/model.safetensors")["score.weight"]
    assert torch.equal(load_file(tmp_path / "adapter/adapter_model.safetensors")["base_model.model.score.weight"], head)


def test_lora_targets(tmp_path):
    save_checkpoint(tmp_path / "base", "llama", "reward")
    train("train", tmp_path / "base", tmp_path / "adapter", "--lora-rank", 2, "--lora-targets", "q_proj", "down_proj", "--lr", 0.02, "--quiet")
    names = {name.split(".")[-3] for name in load_file(tmp_path / "adapter/adapter_model.safetensors") if "lora_" in name}
    assert names == {"q_proj", "down_proj"}
    base = hf.AutoModelForSequenceClassification.from_pretrained(tmp_path / "base", num_labels=1)
    expected = texts_by_transformers(PeftModel.from_pretrained(base, tmp_path / "adapter").eval(), hf.AutoTokenizer.from_pretrained(tmp_path / "base"))
    assert score_texts(tmp_path / "adapter", tmp_path) == pytest.approx(expected, abs=1e-4)
    result = train("train", tmp_path / "base", tmp_path / "none", "--lora-rank", 2, "--lora-targets", "c_attn", check=False)
    assert result.returncode == 2 and "--lora-targets: expected all-linear or some of" in result.stderr


def test_a_base_whose_pad_token_is_its_end_token(tmp_path):
    """PEFT takes the base's pad token: the warning names the one to set there for the same rewards."""
    save_checkpoint(tmp_path / "base", "llama", "causal")
    edit_config(tmp_path / "base", pad_token_id=2)
    result = train("train", tmp_path / "base", tmp_path / "adapter", "--lora-rank", 2, "--lr", 0.02)
    assert "its pad_token_id is 2, the adapter's is 3: set config.pad_token_id to 3" in result.stderr
    base = hf.AutoModelForSequenceClassification.from_pretrained(tmp_path / "base", num_labels=1)
    base.config.pad_token_id = 3
    expected = texts_by_transformers(PeftModel.from_pretrained(base, tmp_path / "adapter").eval(), hf.AutoTokenizer.from_pretrained(tmp_path / "base"))
    assert score_texts(tmp_path / "adapter", tmp_path) == pytest.approx(expected, abs=1e-4)


def test_an_adapter_without_a_tokenizer_has_its_base_s(adapter, tmp_path):
    shutil.copytree(adapter, tmp_path / "bare", ignore=shutil.ignore_patterns("*token*"))
    assert not (tmp_path / "bare/tokenizer.json").exists()
    assert score_texts(tmp_path / "bare", tmp_path) == score_texts(adapter, tmp_path)


def edit_adapter(folder, **fields):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["model.layers.1.mlp.up_proj.lora_B.weight", "score.weight"])
def test_weights_that_are_not_finite(name, value, adapter, tmp_path):
    shutil.copytree(adapter, tmp_path / "broken")
    path = tmp_path / "broken/adapter_model.safetensors"
    tensors = load_file(path)
    tensors["base_model.model." + name][0, 0] = value
    save_file(tensors, path, {"format": "pt"})
    assert f"{name}: expected finite weights, got NaN or infinity" in score_error(tmp_path / "broken", tmp_path)


WRONG = {
    "a pad token that is a text": ({"metarm_pad_token_id": "x"}, "metarm_pad_token_id: expected a token id, got text"),
    "an absurd rank": ({"r": 10**12}, "r: expected a whole number from 1, got 1000000000000"),
    "another rank": ({"r": 4}, "lora_A.weight: expected shape [4, 48], got [3, 48]"),
    "half a rank": ({"r": 2.5}, "r: expected a whole number from 1, got 2.5"),
    "PiSSA": ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights: expected true, false, gaussian, eva or orthogonal, got \"pissa_niter_4\"; merge"),
    "OLoRA": ({"init_lora_weights": "olora"}, "init_lora_weights: expected"),
    "CorDA": ({"init_lora_weights": "corda"}, "init_lora_weights: expected"),
    "LoftQ": ({"init_lora_weights": "loftq"}, "init_lora_weights: expected"),
    "repeated layers": ({"layer_replication": [[0, 2], [1, 3]]}, "layer_replication: expected a plain LoRA adapter"),
    "itself as base": ({"base_model_name_or_path": "."}, "expected a whole checkpoint, got another adapter"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_configurations(wrong, adapter, tmp_path):
    fields, message = WRONG[wrong]
    shutil.copytree(adapter, tmp_path / "broken")
    edit_adapter(tmp_path / "broken", **fields)
    assert message in score_error(tmp_path / "broken", tmp_path)
