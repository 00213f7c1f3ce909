"""LoRA adapters as base of further training, as PEFT writes and reads them, and broken ones."""

import json
import shutil

import pytest
import torch
import transformers as hf
from families import edit_config, save_checkpoint
from peft import LoraConfig, PeftModel, get_peft_model
from programs import read_rows, run_metarm, write_rows
from reference import pair_ids
from safetensors.torch import load_file, save_file
from scoring import load_in_transformers, score_error, score_texts, texts_by_transformers

PAIRS = [{"prompt": "a", "chosen": " the inn", "rejected": " nine"}] * 4
GROUPS = [{"prompt": "a", "responses": [" the inn", " nine", " x"]}] * 4


def train(command, model, output, *more, dtype="float32", check=True):
    folder = output.parent
    write_rows(folder / "pairs.jsonl", PAIRS)
    write_rows(folder / "groups.jsonl", GROUPS)
    arguments = ["--model", model, "--pairs", folder / "pairs.jsonl", "--output", output, "--dtype", dtype]
    if "--max-steps" not in more:
        arguments += ["--max-steps", 2]
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
    more = ["--lora-rank", 2, "--merge-lora", "true"] if kind == "merged" else ["--lora-rank", 0]
    train(command, adapter, tmp_path / "out", "--lr", 0, "--quiet", *more)
    before = score_texts(adapter, tmp_path)
    assert score_texts(tmp_path / "out", tmp_path) == pytest.approx(before, abs=1e-5)
    tokenizer = hf.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert texts_by_transformers(load_in_transformers(tmp_path / "out"), tokenizer) == pytest.approx(before, abs=1e-4)


def adapter_tensors(folder):
    return load_file(folder / "adapter_model.safetensors")


def adapter_json(folder):
    return json.loads((folder / "adapter_config.json").read_text())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("command", ["train", "align"])
def test_an_adapter_goes_on_as_one(command, dtype, adapter, tmp_path):
    """With a learning rate of 0 it is the same adapter over the same base, in every bit."""
    train(command, adapter, tmp_path / "out", "--lr", 0, "--quiet", dtype=dtype)
    before, after = adapter_tensors(adapter), adapter_tensors(tmp_path / "out")
    assert before.keys() == after.keys() and all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert adapter_json(tmp_path / "out") == adapter_json(adapter)
    assert score_texts(tmp_path / "out", tmp_path) == score_texts(adapter, tmp_path)


def in_peft(adapter):
    base = hf.AutoModelForSequenceClassification.from_pretrained(adapter_json(adapter)["base_model_name_or_path"], num_labels=1, attn_implementation="eager")
    return PeftModel.from_pretrained(base, adapter, is_trainable=True).eval()


def test_an_adapter_s_next_step_is_peft_s(adapter, tmp_path):
    """One step of plain gradient descent on its matrices and its head, from the rewards that it gives."""
    rate = 0.1
    train("train", adapter, tmp_path / "out", "--max-steps", 1, "--optimizer", "sgd", "--lr", rate, "--lr-schedule", "constant", "--max-grad-norm", 0, "--quiet")
    model = in_peft(adapter).double()
    rewards = [[model(torch.tensor([ids])).logits[0, 0] for ids in pair] for pair in pair_ids(hf.AutoTokenizer.from_pretrained(adapter), PAIRS)]
    loss = torch.stack([-torch.nn.functional.logsigmoid(chosen - rejected) for chosen, rejected in rewards]).mean()
    assert read_rows(tmp_path / "out/metrics.jsonl")[0]["loss"] == pytest.approx(loss.item(), rel=1e-4)
    loss.backward()
    before, after = adapter_tensors(adapter), adapter_tensors(tmp_path / "out")
    steps = {name.replace(".default", "").replace(".modules_to_save", ""): -rate * weight.grad for name, weight in model.named_parameters() if weight.requires_grad}
    assert steps.keys() == before.keys() and sum(step.norm() > 1e-6 for step in steps.values()) > 20
    for name, step in steps.items():
        assert (after[name] - before[name] - step).norm() <= 1e-3 * step.norm() + 1e-7, name


def test_the_options_of_an_adapter_that_goes_on_repeat_the_run(tmp_path):
    """Those that it was made with, none of them a default."""
    options = ["--lora-rank", 3, "--lora-alpha", 12, "--lora-targets", "down_proj", "q_proj", "--lora-layers", 1]
    save_checkpoint(tmp_path / "base", "llama", "reward")
    adapter = tmp_path / "adapter"
    train("train", tmp_path / "base", adapter, *options, "--lr", 0.02, "--quiet")
    train("train", adapter, tmp_path / "out", "--lr", 0.01, "--quiet")
    run_metarm("train", "--config", tmp_path / "out/config.toml", "--output", tmp_path / "again", "--quiet")
    train("train", adapter, tmp_path / "given", "--lr", 0.01, *options, "--quiet")
    made, went_on = ([line for line in (tmp_path / name / "config.toml").read_text().splitlines() if line.startswith("lora_")] for name in ("adapter", "out"))
    assert made == went_on and len(made) == 4
    written = (tmp_path / "out/adapter_model.safetensors").read_bytes()
    assert written != (adapter / "adapter_model.safetensors").read_bytes()
    assert written == (tmp_path / "again/adapter_model.safetensors").read_bytes() == (tmp_path / "given/adapter_model.safetensors").read_bytes()


def test_an_adapter_that_goes_on_is_resumed(adapter, tmp_path):
    constant = ["--lr", 0.01, "--lr-schedule", "constant", "--threads", 1, "--quiet", "--resume", "--max-steps"]
    train("train", adapter, tmp_path / "whole", *constant, 6)
    train("train", adapter, tmp_path / "out", *constant, 3, "--save-steps", 3)
    train("train", adapter, tmp_path / "out", *constant, 6, "--save-steps", 3)
    assert (tmp_path / "out/adapter_model.safetensors").read_bytes() == (tmp_path / "whole/adapter_model.safetensors").read_bytes()


# Adapters of PEFT whose layers and modules no --lora-layers or short name describes.
IRREGULAR = {
    "of the first layer": dict(layers_to_transform=[0], target_modules=["q_proj", "up_proj"]),
    "one by one": dict(target_modules=["model.layers.0.self_attn.q_proj", "model.layers.2.mlp.down_proj"]),
    "of some layers": dict(layers_to_transform=[1, 2], target_modules=["v_proj"]),
}


@pytest.mark.parametrize("kind", IRREGULAR)
def test_adapters_of_peft_go_on(kind, tmp_path):
    save_checkpoint(tmp_path / "base", "llama", "reward")
    made = get_peft_model(load_in_transformers(tmp_path / "base"), LoraConfig(task_type="SEQ_CLS", r=2, lora_alpha=5, init_lora_weights=False, **IRREGULAR[kind]))
    made.save_pretrained(tmp_path / "made")
    edit_adapter(tmp_path / "made", base_model_name_or_path="../base")
    train("train", tmp_path / "made", tmp_path / "out", "--lr", 0.05, "--quiet")
    run_metarm("train", "--config", tmp_path / "out/config.toml", "--output", tmp_path / "again", "--quiet")
    before, after, again = (adapter_tensors(tmp_path / name) for name in ("made", "out", "again"))
    assert before.keys() == after.keys() and not any(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert all(torch.equal(tensor, after[name]) for name, tensor in again.items())
    model = in_peft(tmp_path / "out")
    assert len({name for name, weight in model.named_parameters() if "lora_" in name}) == len(before) - 1, "PEFT makes adapters that the file lacks"
    expected = texts_by_transformers(model, hf.AutoTokenizer.from_pretrained(tmp_path / "base"))
    assert score_texts(tmp_path / "out", tmp_path) == pytest.approx(expected, abs=1e-4)


OTHERS = {
    "another rank": (["--lora-rank", 2], "--lora-rank: expected 3, that of the adapter"),
    "another alpha": (["--lora-rank", 3, "--lora-alpha", 8], "--lora-alpha: expected 16, that of the adapter"),
    "other targets": (["--lora-rank", 3, "--lora-targets", "q_proj"], "--lora-targets: expected the linear layers that the adapter"),
    "other layers": (["--lora-rank", 3, "--lora-layers", 1], "--lora-layers: expected the linear layers that the adapter"),
    "frozen layers": (["--freeze-layers", 1], "--freeze-layers: expected --lora-rank 0 with it, which trains all weights of"),
}


@pytest.mark.parametrize("command", ["train", "align"])
@pytest.mark.parametrize("other", OTHERS)
def test_options_other_than_the_adapter_s(other, command, adapter, tmp_path):
    options, message = OTHERS[other]
    result = train(command, adapter, tmp_path / "out", *options, check=False)
    assert result.returncode == 2 and message in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_goes_on_is_said(adapter, tmp_path):
    assert f"{adapter} goes on as an adapter of rank 3 over " in train("train", adapter, tmp_path / "out").stderr
    assert "goes on as" not in train("train", adapter, tmp_path / "whole", "--lora-rank", 0).stderr


@pytest.mark.parametrize("more", [[], ["--lora-rank", 0]], ids=["adapter", "whole"])
def test_the_adapter_of_a_policy_is_no_reward_model(more, tmp_path):
    save_checkpoint(tmp_path / "base", "llama", "causal")
    write_rows(tmp_path / "pairs.jsonl", PAIRS)
    run_metarm("sft", "--model", tmp_path / "base", "--data", tmp_path / "pairs.jsonl", "--output", tmp_path / "policy", "--lora-rank", 2, "--max-steps", 1, "--quiet")
    result = train("train", tmp_path / "policy", tmp_path / "out", *more, check=False)
    assert result.returncode == 2 and "policy: expected the adapter of a reward model, with a reward head, got one without" in result.stderr


def test_no_adapter_over_an_adapter(adapter, tmp_path):
    shutil.copytree(adapter, tmp_path / "chain")
    edit_adapter(tmp_path / "chain", base_model_name_or_path=str(adapter))
    assert "expected a whole checkpoint, got another adapter" in score_error(tmp_path / "chain", tmp_path)


def test_a_chat_template_that_the_adapter_remembers_is_kept(tmp_path):
    save_checkpoint(tmp_path / "base", "llama", "causal")
    train("train", tmp_path / "base", tmp_path / "adapter", "--lora-rank", 2, "--chat-template", "chatml", "--quiet")
    train("train", tmp_path / "adapter", tmp_path / "whole", "--lr", 0, "--lora-rank", 0, "--quiet")
    assert json.loads((tmp_path / "whole/config.json").read_text())["metarm_chat_template"] == "chatml"
    train("train", tmp_path / "adapter", tmp_path / "out", "--lr", 0, "--quiet")
    assert adapter_json(tmp_path / "out")["metarm_chat_template"] == "chatml"


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
    (folder / "adapter_config.json").write_text(json.dumps(adapter_json(folder) | fields))


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
