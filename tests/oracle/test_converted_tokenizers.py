"""Tokenizers that `convert` makes of a GGUF vocabulary equal those that went in: ids and texts, on hostile texts."""

import json
import re

import pytest
import transformers as hf
from families import CONFIGS, make_model
from gguf_files import BYTE, CONTROL, NORMAL, UNKNOWN, USER_DEFINED, write_model
from hostile_texts import hostile_texts
from programs import run_metarm
from test_tokenizers import compare
from tokenizer_kinds import CORPUS, KINDS
from tokenizers import Tokenizer
from transformers.convert_slow_tokenizer import generate_merges


def token_kind(token, added):
    if token == "<unk>":
        return UNKNOWN
    if re.fullmatch("<0x..>", token):
        return BYTE
    return NORMAL if token not in added else CONTROL if added[token]["special"] else USER_DEFINED


def gguf_tokens(tokenizer, model, **more):
    state = json.loads(tokenizer.to_str())
    added = {token["content"]: token for token in state["added_tokens"]}
    tokens = [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())]
    return dict(model=model, tokens=tokens, kinds=[token_kind(token, added) for token in tokens]) | more


def byte_level(name, pre, **ids):
    original = KINDS[name]()
    merges = [" ".join(pair) for pair in json.loads(original.to_str())["model"]["merges"]]
    return original, gguf_tokens(original, "gpt2", pre=pre, merges=merges, **ids)


def sentence_piece():
    """SentencePiece files have scores instead of merges; transformers derives the merges from them."""
    original = KINDS["llama2"]()
    state = json.loads(original.to_str())
    vocab = state["model"]["vocab"]
    scores = {token: float(-index) for token, index in vocab.items()}
    ordinary = {token: score for token, score in scores.items() if not re.fullmatch("<.*>", token)}
    state["model"]["merges"] = generate_merges({token: vocab[token] for token in ordinary}, ordinary)
    original = Tokenizer.from_str(json.dumps(state))
    return original, gguf_tokens(original, "llama", pre="default", scores=[scores[token] for token in sorted(vocab, key=vocab.get)], unk_token_id=0, bos_token_id=1, eos_token_id=2)


def ends(name, bos, eos):
    tokenizer = KINDS[name]()
    return dict(bos_token_id=tokenizer.token_to_id(bos), eos_token_id=tokenizer.token_to_id(eos))


ORIGINALS = {
    "llama-bpe": lambda: byte_level("llama3", "llama-bpe", **ends("llama3", "<|begin_of_text|>", "<|eot_id|>")),
    "qwen2": lambda: byte_level("qwen2", "qwen2", **ends("qwen2", "<|endoftext|>", "<|im_end|>")),
    "smollm": lambda: byte_level("smollm2", "smollm", **ends("smollm2", "<|im_start|>", "<|im_end|>")),
    "gpt-2": lambda: byte_level("gpt2", "gpt-2", **ends("gpt2", "<|endoftext|>", "<|endoftext|>")),
    "SentencePiece": sentence_piece,
}


def write_with_rows(path, rows, tokens, monkeypatch):
    monkeypatch.setitem(CONFIGS, "llama", (hf.LlamaConfig, CONFIGS["llama"][1] | dict(vocab_size=rows)))
    write_model(path, make_model("llama", "causal"), tokens=tokens)


@pytest.mark.parametrize("kind", ORIGINALS)
def test_ids_and_texts(kind, tmp_path, monkeypatch):
    original, tokens = ORIGINALS[kind]()
    write_with_rows(tmp_path / "model.gguf", len(tokens["tokens"]), tokens, monkeypatch)
    run_metarm("convert", "--input", tmp_path / "model.gguf", "--output", tmp_path / "out")
    texts = CORPUS[:6] + hostile_texts(1500)
    compare(tmp_path / "out/tokenizer.json", original, texts, True)
    library = Tokenizer.from_file(str(tmp_path / "out/tokenizer.json"))
    for text in texts:
        assert library.encode(text).ids == original.encode(text).ids, repr(text)


def test_more_tokens_than_rows_of_the_embedding(tmp_path, monkeypatch):
    _, tokens = ORIGINALS["qwen2"]()
    count = len(tokens["tokens"])
    write_with_rows(tmp_path / "model.gguf", count - 1, tokens, monkeypatch)
    result = run_metarm("convert", "--input", tmp_path / "model.gguf", "--output", tmp_path / "out", check=False)
    assert result.returncode == 2 and f"tokenizer.ggml.tokens: expected at most {count - 1} tokens, as token_embd.weight has rows, got {count}" in result.stderr
    assert not (tmp_path / "out").exists()
