"""`metarm convert`: GGUF files of every family become directories that transformers loads, with the weights that were put in."""

import gguf
import numpy as np
import pytest
import torch
import transformers as hf
from programs import run_metarm
from families import CONFIGS, make_model
from gguf_files import model_tensors, write_model

# Attention windows of Qwen2 have no place in GGUF; its scaling of queries follows from the other hyper-parameters for Gemma 2.
FAMILIES = [name for name in CONFIGS if name not in ("qwen2_window", "llama3_rope", "gemma2")]


def convert(source, target, *arguments):
    run_metarm("convert", "--input", source, "--output", target, *arguments)
    return hf.AutoModelForCausalLM.from_pretrained(target, dtype="auto", attn_implementation="eager").eval()


def changed_model(name, monkeypatch, **changes):
    config_class, arguments = CONFIGS[name]
    monkeypatch.setitem(CONFIGS, name, (config_class, arguments | changes))
    return make_model(name, "causal")


def assert_same(model, converted, exact=True):
    ours, theirs = converted.state_dict(), model.state_dict()
    assert ours.keys() == theirs.keys()
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], atol=0 if exact else 1e-6, rtol=0, msg=name)
    ids = torch.randint(4, model.config.vocab_size, (2, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(converted(ids).logits, model(ids).logits, atol=1e-5 if exact else 1e-4, rtol=0)


@pytest.mark.parametrize("name", FAMILIES)
def test_weights_and_logits_of_every_family(name, tmp_path):
    model = make_model(name, "causal")
    write_model(tmp_path / "model.gguf", model)
    assert_same(model, convert(tmp_path / "model.gguf", tmp_path / "out"))


def test_gemma2(tmp_path, monkeypatch):
    model = changed_model("gemma2", monkeypatch, query_pre_attn_scalar=16)  # the width of a head
    write_model(tmp_path / "model.gguf", model)
    assert_same(model, convert(tmp_path / "model.gguf", tmp_path / "out"), exact=False)


def test_untied_gpt2(tmp_path, monkeypatch):
    model = changed_model("gpt2", monkeypatch, tie_word_embeddings=False)
    write_model(tmp_path / "model.gguf", model)
    assert_same(model, convert(tmp_path / "model.gguf", tmp_path / "out"))


def llama3_tensors(model, arguments):
    """The divisors of the rotary frequencies: unscaled ones through scaled ones, as transformers computes them."""
    plain = hf.AutoModelForCausalLM.from_config(hf.LlamaConfig(**{**arguments, "rope_scaling": None}))
    divisors = plain.model.rotary_emb.inv_freq / model.model.rotary_emb.inv_freq
    return model_tensors(model) | {"rope_freqs.weight": divisors.numpy().astype(np.float32)}


def test_llama3_scaling_is_found_again(tmp_path, monkeypatch):
    scaling = CONFIGS["llama3_rope"][1]["rope_scaling"] | dict(original_max_position_embeddings=1024)
    model = changed_model("llama3_rope", monkeypatch, rope_scaling=scaling)
    write_model(tmp_path / "model.gguf", model, tensors=llama3_tensors(model, CONFIGS["llama3_rope"][1]))
    converted = convert(tmp_path / "model.gguf", tmp_path / "out")
    assert_same(model, converted)
    assert {key: converted.config.rope_parameters[key] for key in scaling} == scaling


def test_linear_scaling(tmp_path, monkeypatch):
    model = changed_model("llama", monkeypatch, rope_scaling=dict(rope_type="linear", factor=3.0))

    def more(writer):
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(3.0)

    write_model(tmp_path / "model.gguf", model, more)
    assert_same(model, convert(tmp_path / "model.gguf", tmp_path / "out"))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_other_types_round_to_nearest(dtype, tmp_path):
    model = make_model("llama", "causal")
    with torch.no_grad():  # ties, subnormal halves, and what lies around them
        edge = model.model.layers[0].mlp.down_proj.weight.view(-1)
        edge.copy_(torch.exp2(torch.linspace(-27, 15.9, edge.numel())))
        edge[:64] = torch.arange(64) * 2.0**-25
        edge[64:128] = 1 + torch.arange(64) * 2.0**-11
        edge[128:192] = -(1 + torch.arange(64) * 2.0**-8)
    write_model(tmp_path / "model.gguf", model)
    converted = convert(tmp_path / "model.gguf", tmp_path / "out", "--save-dtype", dtype)
    for name, weight in model.state_dict().items():
        assert torch.equal(converted.state_dict()[name], weight.to(getattr(torch, dtype))), name


def test_quantized_weights_are_the_librarys(tmp_path, monkeypatch):
    model = changed_model("llama", monkeypatch, hidden_size=96)  # rows of whole blocks
    kind = gguf.GGMLQuantizationType.Q8_0
    tensors = model_tensors(model)
    blocks = gguf.quantize(tensors["token_embd.weight"], kind)
    write_model(tmp_path / "model.gguf", model, tensors=tensors | {"token_embd.weight": (blocks, kind)})
    converted = convert(tmp_path / "model.gguf", tmp_path / "out")
    assert np.array_equal(converted.model.embed_tokens.weight.detach().numpy(), gguf.dequantize(blocks, kind))


def without(tensors, name):
    return {key: value for key, value in tensors.items() if key != name}


DAMAGE = {
    "missing": (lambda tensors: without(tensors, "blk.1.ffn_up.weight"), "blk.1.ffn_up.weight: expected a tensor, got none"),
    "one more": (lambda tensors: tensors | {"blk.0.ffn_gate_inp.weight": np.zeros(4, np.float32)}, "blk.0.ffn_gate_inp.weight: expected the tensors of a llama model only"),
    "shape": (lambda tensors: tensors | {"blk.0.attn_k.weight": np.zeros((8, 48), np.float32)}, "blk.0.attn_k.weight: expected shape [16,48], got [8,48]"),
    "nan": (lambda tensors: tensors | {"output_norm.weight": np.full(48, np.nan, np.float32)}, "output_norm.weight: expected finite values, got nan"),
    "rope": (lambda tensors: tensors | {"rope_freqs.weight": np.array([1, 2, 3, 4], np.float32)}, "rope_freqs.weight: expected the frequency divisors of Llama 3's"),
    "no embedding": (lambda tensors: without(tensors, "token_embd.weight"), "token_embd.weight: expected a tensor, got none"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_wrong_tensors_are_named(damage, tmp_path):
    model = make_model("llama", "causal")
    change, message = DAMAGE[damage]
    write_model(tmp_path / "model.gguf", model, tensors=change(model_tensors(model)))
    result = run_metarm("convert", "--input", tmp_path / "model.gguf", "--output", tmp_path / "out", check=False)
    assert result.returncode == 2 and f"model.gguf: {message}" in result.stderr
    assert not (tmp_path / "out").exists() and len(list(tmp_path.iterdir())) == 1


def test_values_too_large_for_float16_are_an_error(tmp_path):
    model = make_model("llama", "causal")
    with torch.no_grad():
        model.model.norm.weight[3] = 70000.0
    write_model(tmp_path / "model.gguf", model)
    result = run_metarm("convert", "--input", tmp_path / "model.gguf", "--output", tmp_path / "out", "--save-dtype", "float16", check=False)
    assert result.returncode == 2 and "output_norm.weight: expected values that float16 holds, got 70000" in result.stderr
    assert not (tmp_path / "out").exists()
