"""Tiny random checkpoints of every supported family, made with transformers."""

import json
from pathlib import Path

import torch
import transformers as hf

VOCAB = 320


def _common(**more):
    return dict(vocab_size=VOCAB, hidden_size=48, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2,
                intermediate_size=80, max_position_embeddings=256, pad_token_id=3, eos_token_id=2, bos_token_id=1) | more


LLAMA3_ROPE = dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)

# Name -> (config class, arguments). Some families twice, for the options that change the arithmetic.
CONFIGS = {
    "llama": (hf.LlamaConfig, _common(tie_word_embeddings=True)),
    "llama3_rope": (hf.LlamaConfig, _common(rope_scaling=LLAMA3_ROPE, attention_bias=True, mlp_bias=True, head_dim=16)),
    "mistral": (hf.MistralConfig, _common(sliding_window=7)),
    "qwen2": (hf.Qwen2Config, _common()),
    "qwen2_window": (hf.Qwen2Config, _common(use_sliding_window=True, sliding_window=5, max_window_layers=1)),
    "qwen3": (hf.Qwen3Config, _common(head_dim=16)),
    "gemma2": (hf.Gemma2Config, _common(head_dim=16, query_pre_attn_scalar=20, sliding_window=6, attn_logit_softcapping=1.0, final_logit_softcapping=3.0)),
    "gpt2": (hf.GPT2Config, dict(vocab_size=VOCAB, n_embd=48, n_layer=3, n_head=6, n_positions=256, pad_token_id=3, eos_token_id=2,
                                 bos_token_id=1)),
    "gpt_neox": (hf.GPTNeoXConfig, _common(rotary_pct=0.5)),
    "gpt_neox_serial": (hf.GPTNeoXConfig, _common(use_parallel_residual=False)),
}
FAMILIES = list(CONFIGS)


def make_model(name, kind, seed=0):
    """kind: 'causal' or 'reward'. Weights spread enough for every part to matter."""
    config_class, arguments = CONFIGS[name]
    config = config_class(**arguments, **({"num_labels": 1} if kind == "reward" else {}))
    torch.manual_seed(seed)
    auto = hf.AutoModelForSequenceClassification if kind == "reward" else hf.AutoModelForCausalLM
    model = auto.from_config(config, attn_implementation="eager").float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.15)
            else:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def save_tokenizer(directory):
    """A byte-level tokenizer of VOCAB tokens whose first four are special: <unk>, <s>, </s>, <pad>."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: index for index, token in enumerate(["<unk>", "<s>", "</s>", "<pad>"] + alphabet)}
    merges = []
    for left, right in [("Ġ", "t"), ("h", "e"), ("i", "n"), ("Ġ", "a"), ("e", "r"), ("Ġt", "he")]:
        merges.append((left, right))
        vocab[left + right] = len(vocab)
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>", "<pad>"])
    fast = hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    fast.save_pretrained(directory)
    return fast


def save_checkpoint(directory, name, kind, seed=0, dtype=torch.float32, **save):
    """Writes model and tokenizer; returns (model, tokenizer)."""
    Path(directory).mkdir(parents=True, exist_ok=True)
    model = make_model(name, kind, seed)
    model.to(dtype).save_pretrained(directory, **save)
    if dtype != torch.float32:  # .to() rounds the rotary frequencies too: take the weights alone
        model = type(model).from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()
    return model, save_tokenizer(directory)


def edit_config(directory, **fields):
    path = Path(directory) / "config.json"
    config = json.loads(path.read_text())
    for key, value in fields.items():
        if value is None:
            config.pop(key, None)
        else:
            config[key] = value
    path.write_text(json.dumps(config))
