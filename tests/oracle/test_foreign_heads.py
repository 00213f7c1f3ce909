"""Reward models of other trainers: their rewards here, and those of what is saved from them, here and in transformers."""

import pytest
import torch
import transformers as hf
from families import edit_config, save_checkpoint
from programs import run_metarm, write_rows
from reference import token_ids
from safetensors.torch import load_file, save_file
from scoring import TEXTS, load_in_transformers, score_error, score_texts, texts_by_transformers

FOREIGN = {  # trainer -> (family, head's name, prefix of the backbone, what config.json says, bias)
    "OpenRLHF, older": ("llama", "value_head", "model.", dict(architectures=["LlamaForCausalLM"]), None),
    "OpenRLHF, named in config": ("llama", "my_head", "model.", dict(architectures=["LlamaForCausalLM"], value_head_prefix="my_head"), None),
    "UltraRM": ("llama", "regression_head", "model.", dict(architectures=["LlamaRewardModel"]), None),
    "Starling": ("llama", "v_head", "transformer.", dict(architectures=["LlamaForCausalLM"]), None),
    "Beaver": ("llama", "score_head", "model.", dict(architectures=["LlamaModelForScore"], score_dim=1, do_normalize=False), 0.75),
    "OASST": ("gpt_neox", "out_proj", "gpt_neox.", dict(architectures=["GPTNeoXRewardModel"], model_type="gpt_neox_reward_model", pooling="last"), 0.75),
    "OASST, GPT-2": ("gpt2", "out_proj", "transformer.", dict(architectures=["RewardModel"]), -2.5),
}
BUFFERS = {"normalizer.mean": torch.zeros(1), "normalizer.var": torch.ones(1), "normalizer.count": torch.tensor([5])}


def save_foreign(folder, trainer):
    """Writes the checkpoint; returns what transformers gives for its backbone and head, plus the bias."""
    family, head, prefix, config, bias = FOREIGN[trainer]
    model, tokenizer = save_checkpoint(folder, family, "reward")
    usual = model.base_model_prefix + "."
    tensors = {name.replace(usual, prefix, 1) if name.startswith(usual) else f"{head}.weight": tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    if bias is not None:
        tensors[f"{head}.bias"] = torch.tensor([bias])
    if trainer == "Beaver":
        tensors |= BUFFERS
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    edit_config(folder, **config)
    return [reward + (bias or 0) for reward in texts_by_transformers(model, tokenizer)]


def train(folder, *more, check=True, quiet=True):
    write_rows(folder / "pairs.jsonl", [{"prompt": "a", "chosen": " b", "rejected": " c"}])
    return run_metarm("train", "--model", folder / "rm", "--pairs", folder / "pairs.jsonl", "--output", folder / "saved", "--max-steps", 2, "--lr", 0, "--dtype", "float32",
                      *["--quiet"] * quiet, *more, check=check)


@pytest.mark.parametrize("trainer", FOREIGN)
def test_rewards(trainer, tmp_path):
    expected = save_foreign(tmp_path / "rm", trainer)
    assert score_texts(tmp_path / "rm", tmp_path) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("lora", [False, True], ids=["full", "merged"])
@pytest.mark.parametrize("trainer", FOREIGN)
def test_saved_models_score_the_same_here_and_in_transformers(trainer, lora, tmp_path):
    """A bias goes into the final norm's; where that has none (RMS), all rewards fall by it, and a warning says so."""
    family, _, _, _, bias = FOREIGN[trainer]
    expected = save_foreign(tmp_path / "rm", trainer)
    result = train(tmp_path, *(["--lora-rank", 2, "--merge-lora", "true"] if lora else []))
    if bias is not None and family == "llama":
        assert "the reward head's bias, 0.75, has no place in transformers: all rewards fall by it" in result.stderr
        expected = [reward - bias for reward in expected]
    else:
        assert "has no place" not in result.stderr
    assert score_texts(tmp_path / "saved", tmp_path) == pytest.approx(expected, abs=1e-4)
    tokenizer = hf.AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert texts_by_transformers(load_in_transformers(tmp_path / "saved"), tokenizer) == pytest.approx(expected, abs=1e-4)


def test_a_biased_head_goes_on_after_an_interruption(tmp_path):
    save_foreign(tmp_path / "rm", "OASST")
    train(tmp_path, "--save-steps", 1, "--save-total-limit", 0)
    (tmp_path / "saved/config.json").unlink()
    (tmp_path / "saved/model.safetensors").rename(tmp_path / "whole.safetensors")
    train(tmp_path, "--save-steps", 1, "--save-total-limit", 0, "--resume", "true")
    again, whole = load_file(tmp_path / "saved/model.safetensors"), load_file(tmp_path / "whole.safetensors")
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())


def test_an_adapter_has_no_place_for_a_bias(tmp_path):
    save_foreign(tmp_path / "rm", "Beaver")
    result = train(tmp_path, "--lora-rank", 2, check=False)
    assert result.returncode == 2 and "expected a reward head without a bias for an adapter" in result.stderr


def test_normalization_behind_the_head_is_left_out_aloud(tmp_path):
    save_foreign(tmp_path / "rm", "Beaver")
    edit_config(tmp_path / "rm", do_normalize=True)
    write_rows(tmp_path / "in.jsonl", [{"text": "x"}])
    assert "do_normalize: rewards are given as the head has them" in run_metarm("score", "--model", tmp_path / "rm", "--input", tmp_path / "in.jsonl").stderr


@pytest.mark.parametrize("field", ["pooling", "metarm_pooling"])
def test_means_over_tokens_are_not_supported(field, tmp_path):
    save_foreign(tmp_path / "rm", "OASST")
    edit_config(tmp_path / "rm", **{field: "mean"})
    assert f'{field}: expected last, got "mean"' in score_error(tmp_path / "rm", tmp_path)


def test_oasst_reads_the_last_token_even_where_it_pads(tmp_path):
    model, tokenizer = save_checkpoint(tmp_path / "reference", "gpt_neox", "reward")
    save_foreign(tmp_path / "rm", "OASST")
    edit_config(tmp_path / "rm", pad_token_id=2)
    assert token_ids(tokenizer, "", TEXTS[0])[-1] == 2
    expected = [reward + 0.75 for reward in texts_by_transformers(model, tokenizer)]
    assert score_texts(tmp_path / "rm", tmp_path) == pytest.approx(expected, abs=1e-4)
