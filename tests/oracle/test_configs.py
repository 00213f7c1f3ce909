"""config.json as people write it: absent and null fields mean what they mean to transformers; what makes no sense is refused by name."""

import json
import random

import pytest
import torch
import transformers as hf
from families import CONFIGS, LLAMA3_ROPE, edit_config, save_checkpoint
from programs import run_metarm, write_rows
from safetensors.torch import load_file, save_file
from scoring import TEXTS, load_in_transformers, score_error, score_texts, texts_by_transformers
from test_families import forward, make_groups, reference_logits


def set_null(folder, *fields):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | dict.fromkeys(fields)))


def save_changed(folder, family, monkeypatch, **changes):
    config_class, arguments = CONFIGS[family]
    monkeypatch.setitem(CONFIGS, family, (config_class, arguments | changes))
    return save_checkpoint(folder, family, "reward")


def assert_as_transformers(folder, tokenizer, tmp_path, *more, texts=TEXTS, tolerance=1e-4):
    expected = texts_by_transformers(load_in_transformers(folder), tokenizer, texts)
    assert score_texts(folder, tmp_path, *more, texts=texts) == pytest.approx(expected, abs=tolerance)
    return expected


def enlarge_queries(folder, factor):
    path = folder / "model.safetensors"
    save_file({name: tensor * factor if ".q_proj." in name or ".k_proj." in name else tensor for name, tensor in load_file(path).items()}, path, {"format": "pt"})


def test_gemma2_caps_of_attention(tmp_path):
    """Absent: the cap of 50. Null: none. Attention so sharp that the two differ."""
    _, tokenizer = save_checkpoint(tmp_path / "rm", "gemma2", "reward")
    enlarge_queries(tmp_path / "rm", 12)
    set_null(tmp_path / "rm", "attn_logit_softcapping", "final_logit_softcapping")
    without = assert_as_transformers(tmp_path / "rm", tokenizer, tmp_path)
    edit_config(tmp_path / "rm", attn_logit_softcapping=None, final_logit_softcapping=None)  # removes them
    capped = assert_as_transformers(tmp_path / "rm", tokenizer, tmp_path)
    assert capped != pytest.approx(without, abs=1e-3)


def test_gemma2_cap_of_logits(tmp_path):
    """Absent: the cap of 30. Null: none."""
    save_checkpoint(tmp_path, "gemma2", "causal")
    path = tmp_path / "model.safetensors"
    save_file({name: tensor * 20 if "embed_tokens" in name else tensor for name, tensor in load_file(path).items()}, path, {"format": "pt"})
    ids, seen = make_groups()[0][0], []
    for change in (lambda: set_null(tmp_path, "final_logit_softcapping"), lambda: edit_config(tmp_path, final_logit_softcapping=None)):
        change()
        model = hf.AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager").eval()
        seen.append(torch.tensor(forward(tmp_path, "logits", groups=[[ids]])["logits"][0][0]))
        torch.testing.assert_close(seen[-1], reference_logits(model, ids), atol=1e-3, rtol=1e-3)
    assert seen[0].abs().max() > 35 > 30 >= seen[1].abs().max()


@pytest.mark.parametrize("family", ["mistral", "gemma2", "qwen2_window"])
def test_windows(family, tmp_path, monkeypatch):
    """Absent: 4096 tokens. Null: all. A text longer than that tells them apart."""
    changes = dict(max_position_embeddings=8192, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, sliding_window=4096)
    _, tokenizer = save_changed(tmp_path / "rm", family, monkeypatch, **changes)
    enlarge_queries(tmp_path / "rm", 3)
    rng = random.Random(1)
    texts = ["".join(rng.choice("abcdefghij klmnop") for _ in range(4600))]
    edit_config(tmp_path / "rm", sliding_window=None, layer_types=None)  # removes them
    windowed = assert_as_transformers(tmp_path / "rm", tokenizer, tmp_path, "--max-length", 0, texts=texts, tolerance=1e-3)
    set_null(tmp_path / "rm", "sliding_window")
    if family != "gemma2":  # transformers cannot load Gemma 2 without one
        whole = assert_as_transformers(tmp_path / "rm", tokenizer, tmp_path, "--max-length", 0, texts=texts, tolerance=1e-3)
        assert whole != pytest.approx(windowed, abs=5e-3)


WITHOUT_ORIGINAL = {key: value for key, value in LLAMA3_ROPE.items() if key != "original_max_position_embeddings"}
ROPE = {  # what config.json says instead of what transformers wrote
    "old form": dict(rope_theta=500000.0, rope_parameters=None, rope_scaling=LLAMA3_ROPE),
    "old form, linear": dict(rope_theta=500000.0, rope_parameters=None, rope_scaling=dict(type="linear", factor=2.0)),
    "both: rope_scaling counts": dict(rope_scaling=LLAMA3_ROPE),
    "original positions beside": dict(rope_theta=500000.0, rope_parameters=None, original_max_position_embeddings=32, rope_scaling=WITHOUT_ORIGINAL),
    "original positions twice": dict(rope_theta=500000.0, rope_parameters=None, original_max_position_embeddings=64, rope_scaling=LLAMA3_ROPE),
    "original positions nowhere": dict(rope_theta=500000.0, rope_parameters=None, rope_scaling=WITHOUT_ORIGINAL),
    "no theta": dict(rope_parameters=None),
}


@pytest.mark.parametrize("form", ROPE)
def test_forms_of_rotary_scaling(form, tmp_path):
    _, tokenizer = save_checkpoint(tmp_path / "rm", "llama", "reward")
    edit_config(tmp_path / "rm", **ROPE[form])
    assert_as_transformers(tmp_path / "rm", tokenizer, tmp_path)


def test_an_lm_head_that_differs_from_the_embedding_counts(tmp_path):
    save_checkpoint(tmp_path, "llama", "causal")
    path, ids = tmp_path / "model.safetensors", make_groups()[0][0]
    tensors = load_file(path)
    for head in (tensors["model.embed_tokens.weight"], tensors["model.embed_tokens.weight"].flip(0)):
        save_file(tensors | {"lm_head.weight": head.clone()}, path, {"format": "pt"})
        model = hf.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
        assert model.config.tie_word_embeddings
        torch.testing.assert_close(torch.tensor(forward(tmp_path, "logits", groups=[[ids]])["logits"][0][0]), reference_logits(model, ids), atol=1e-4, rtol=1e-4)


def llama3(**changes):
    return dict(rope_parameters=dict(rope_theta=1e4, **(LLAMA3_ROPE | changes)))


NONSENSE = {
    "layers": (dict(num_hidden_layers=10**12), "num_hidden_layers: expected at most 10000, got 1000000000000"),
    "more layers": (dict(num_hidden_layers=9999), "model.layers.3.input_layernorm.weight"),
    "vocabulary": (dict(vocab_size=2**40), "vocabulary size: expected from 1 to 1073741824, got 1099511627776"),
    "vocabulary of a gigabyte": (dict(vocab_size=2**30), "expected shape [1073741824, 48] by"),
    "width": (dict(hidden_size=2**29), "expected shape [1, 536870912], got [1, 48]"),
    "heads": (dict(num_attention_heads=2**40), "attention heads: expected from 1 to"),
    "key/value heads": (dict(num_key_value_heads=0), "key/value heads: expected from 1 to"),
    "epsilon": (dict(rms_norm_eps=-1), "expected a norm's epsilon from 0, got -1"),
    "theta": (dict(rope_parameters=dict(rope_theta=0)), "rope_parameters: rope_theta: expected more than 0, got 0"),
    "factor": (llama3(factor=0), "rope_parameters: factor: expected more than 0, got 0"),
    "frequencies": (llama3(low_freq_factor=4.0), "low_freq_factor, high_freq_factor: expected two numbers, got 4 twice"),
    "kind of scaling": (dict(rope_parameters=dict(rope_theta=1e4, rope_type="yarn", factor=2)), "rope_type: expected default, linear or llama3, got yarn"),
    "end token": (dict(eos_token_id=["a"]), "eos_token_id: expected a token id, got text"),
    "pad token": (dict(pad_token_id=3.5), "pad_token_id: expected a token id, got number"),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_is_refused_before_memory_is_taken(what, tmp_path):
    fields, message = NONSENSE[what]
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    edit_config(tmp_path / "rm", **fields)
    error = score_error(tmp_path / "rm", tmp_path)
    assert message in error and str(tmp_path / "rm") in error


@pytest.mark.parametrize("content, message", [("[]", "expected an object, got list"), ("5", "expected an object, got number"), ('{"eos_token_id": "x"}', "eos_token_id: expected a token id, got text")])
def test_generation_config(content, message, tmp_path):
    save_checkpoint(tmp_path / "lm", "llama", "causal")
    (tmp_path / "lm/generation_config.json").write_text(content)
    write_rows(tmp_path / "prompts.jsonl", [{"prompt": "the inn"}])
    result = run_metarm("sample", "--model", tmp_path / "lm", "--prompts", tmp_path / "prompts.jsonl", "--output", tmp_path / "out.jsonl", "--quiet", check=False)
    assert result.returncode == 2 and f"generation_config.json: {message}" in result.stderr
