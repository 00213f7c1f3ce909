"""Writes models and tokenizers as GGUF files, with what llama.cpp's converter does to names and weights."""

import gguf
import numpy as np

ARCHITECTURES = {"llama": gguf.MODEL_ARCH.LLAMA, "mistral": gguf.MODEL_ARCH.LLAMA, "qwen2": gguf.MODEL_ARCH.QWEN2, "qwen3": gguf.MODEL_ARCH.QWEN3,
                 "gemma2": gguf.MODEL_ARCH.GEMMA2, "gpt2": gguf.MODEL_ARCH.GPT2, "gpt_neox": gguf.MODEL_ARCH.GPTNEOX}
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)


def add_parameters(writer, config):
    """Hyper-parameters by the names that transformers' configs have for them."""
    attribute = lambda *names: next((getattr(config, name) for name in names if getattr(config, name, None) is not None), None)
    width, heads = attribute("hidden_size", "n_embd"), attribute("num_attention_heads", "n_head")
    writer.add_context_length(attribute("max_position_embeddings", "n_positions"))
    writer.add_embedding_length(width)
    writer.add_block_count(attribute("num_hidden_layers", "n_layer"))
    writer.add_feed_forward_length(attribute("intermediate_size", "n_inner") or 4 * width)
    writer.add_head_count(heads)
    if config.model_type not in ("gpt2", "gpt_neox"):
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        head_dim = attribute("head_dim") or width // heads
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    else:
        writer.add_layer_norm_eps(attribute("layer_norm_eps", "layer_norm_epsilon"))
    if config.model_type != "gpt2":
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    if config.model_type == "gpt_neox":
        writer.add_rope_dimension_count(int(width // heads * config.rope_parameters["partial_rotary_factor"]))
        writer.add_parallel_residual(config.use_parallel_residual)
    if config.model_type in ("gemma2", "mistral"):
        writer.add_sliding_window(config.sliding_window)
    if config.model_type == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)


def rotary_pairs(weight, heads):
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def as_in_gguf(config, name, weight):
    if config.model_type in ("llama", "mistral"):
        if ".q_proj." in name:
            return rotary_pairs(weight, config.num_attention_heads)
        if ".k_proj." in name:
            return rotary_pairs(weight, config.num_key_value_heads)
    if config.model_type == "gemma2" and name.endswith("norm.weight"):
        return weight + 1
    if config.model_type == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
        return weight.T
    if config.model_type == "gpt_neox" and ".query_key_value." in name:
        heads = config.num_attention_heads
        by_head = weight.reshape(heads, 3, weight.shape[0] // heads // 3, *weight.shape[1:])
        return by_head.swapaxes(0, 1).reshape(weight.shape)
    return weight


def model_tensors(model):
    """GGUF name -> float32 array, of a transformers model."""
    config = model.config
    names = gguf.get_tensor_name_map(ARCHITECTURES[config.model_type], config.num_hidden_layers)
    tensors = {}
    for name, weight in model.state_dict().items():
        if name in (model._tied_weights_keys or {}) and config.tie_word_embeddings:
            continue
        array = as_in_gguf(config, name, weight.float().numpy())
        tensors[names.get_name(name, try_suffixes=(".weight", ".bias"))] = np.ascontiguousarray(array)
    return tensors


def add_tokens(writer, model, pre, tokens, kinds, merges=None, scores=None, **ids):
    writer.add_tokenizer_model(model)
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    if merges is not None:
        writer.add_token_merges(merges)
    if scores is not None:
        writer.add_token_scores(scores)
    for name, value in ids.items():
        getattr(writer, "add_" + name)(value)


def tiny_tokens(vocab_size):
    """Enough of a byte-level vocabulary for a model test; ids beyond it only pad the embedding."""
    from tokenizers import pre_tokenizers

    tokens = ["<unk>", "<s>", "</s>", "<pad>"] + sorted(pre_tokenizers.ByteLevel.alphabet()) + ["Ġt", "he"]
    kinds = [CONTROL] * 4 + [NORMAL] * (len(tokens) - 4) + [UNUSED] * (vocab_size - len(tokens))
    tokens += [f"[PAD{index}]" for index in range(len(tokens), vocab_size)]
    return dict(model="gpt2", pre="gpt-2", tokens=tokens, kinds=kinds, merges=["Ġ t", "h e"], unk_token_id=0, bos_token_id=1, eos_token_id=2, pad_token_id=3)


def write_gguf(path, architecture, tensors, parameters=None, tokens=None):
    """`tensors`: name -> array, or (bytes, type) for quantized ones. `parameters` adds metadata to the writer."""
    writer = gguf.GGUFWriter(path, architecture)
    if parameters is not None:
        parameters(writer)
    if tokens is not None:
        add_tokens(writer, **tokens)
    for name, data in tensors.items():
        array, kind = data if isinstance(data, tuple) else (data, None)
        writer.add_tensor(name, array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_model(path, model, more=None, tensors=None, tokens=None):
    config = model.config

    def parameters(writer):
        add_parameters(writer, config)
        if more is not None:
            more(writer)

    architecture = gguf.MODEL_ARCH_NAMES[ARCHITECTURES[config.model_type]]
    write_gguf(path, architecture, model_tensors(model) if tensors is None else tensors, parameters, tokens or tiny_tokens(config.vocab_size))
