"""Which token rewards are read at, where pad and end token meet, and what is written so that transformers reads the same one."""

import json

import pytest
import transformers as hf
from families import CONFIGS, edit_config, save_checkpoint
from programs import run_metarm, write_rows
from safetensors.torch import load_file, save_file
from scoring import TEXTS, load_in_transformers, score_texts, texts_by_transformers


def edit_json(path, **fields):
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def add_token(folder, token_id, text):
    added = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    edit_json(folder / "tokenizer.json", added_tokens=added + [dict(id=token_id, content=text, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)])


def train(folder, *more, steps=2, check=True):
    write_rows(folder / "pairs.jsonl", [{"prompt": "a", "chosen": " the inn", "rejected": " nine"}])
    return run_metarm("train", "--model", folder / "start", "--pairs", folder / "pairs.jsonl", "--output", folder / "rm", "--max-steps", steps, "--dtype", "float32", "--quiet", *more,
                      check=check)


def assert_same_in_transformers(folder):
    """Alone and in a padded batch."""
    model, tokenizer = load_in_transformers(folder / "rm"), hf.AutoTokenizer.from_pretrained(folder / "rm", padding_side="right")
    ours = score_texts(folder / "rm", folder)
    assert ours == pytest.approx(texts_by_transformers(model, tokenizer), abs=1e-4)
    batch = tokenizer([text + "</s>" for text in TEXTS], padding=True, return_tensors="pt", return_token_type_ids=False)
    assert ours == pytest.approx(model(**batch).logits[:, 0].tolist(), abs=1e-4)
    return model


def save_with_rows(folder, rows, monkeypatch):
    """A model of `rows` tokens, and a tokenizer of 266 with [PAD] after them."""
    config_class, arguments = CONFIGS["llama"]
    monkeypatch.setitem(CONFIGS, "llama", (config_class, arguments | dict(vocab_size=rows)))
    save_checkpoint(folder, "llama", "causal")
    add_token(folder, 266, "[PAD]")
    edit_json(folder / "tokenizer_config.json", pad_token="[PAD]")


def test_a_pad_token_beyond_the_embedding_gives_it_a_row(tmp_path, monkeypatch):
    """Llama 2's way: 32000 rows, and a tokenizer with [PAD] = 32000."""
    save_with_rows(tmp_path / "start", 266, monkeypatch)
    train(tmp_path)
    model = assert_same_in_transformers(tmp_path)
    assert model.config.vocab_size == 267 and model.config.pad_token_id == 266 and model.model.embed_tokens.weight.shape == (267, 48)


def test_a_tokenizer_much_larger_than_the_embedding_is_refused(tmp_path, monkeypatch):
    save_with_rows(tmp_path / "start", 260, monkeypatch)
    result = train(tmp_path, check=False)
    assert result.returncode == 2 and "tokenizer.json: expected up to 260 tokens, as the embedding has rows, got 267" in result.stderr


@pytest.mark.parametrize("kind", ["reward", "causal"])
@pytest.mark.parametrize("more", [[], ["--lora-rank", 2, "--merge-lora", "true"]], ids=["full", "merged"])
def test_rewards_read_at_the_last_token_are_saved_with_another_pad_token(more, kind, tmp_path):
    save_checkpoint(tmp_path / "start", "llama", kind)
    edit_config(tmp_path / "start", pad_token_id=2)
    train(tmp_path, "--pooling", "last", *more)
    model = assert_same_in_transformers(tmp_path)
    assert model.config.pad_token_id == 3


EQUAL = {  # pad is 2, the tokenizer's end token
    "the same in config.json": (dict(pad_token_id=2, eos_token_id=2), True),
    "second of several": (dict(pad_token_id=2, eos_token_id=[7, 2]), True),
    "not in config.json": (dict(pad_token_id=2, eos_token_id=None), True),
    "config.json names another": (dict(pad_token_id=2, eos_token_id=7), True),
    "another one of several": (dict(pad_token_id=7, eos_token_id=[2, 7]), True),
    "a pad token of its own": (dict(pad_token_id=3, eos_token_id=[2, 7]), False),
}


@pytest.mark.parametrize("case", EQUAL)
def test_warning_where_the_pad_token_is_an_end_token(case, tmp_path):
    fields, warned = EQUAL[case]
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    edit_config(tmp_path / "rm", **fields)
    write_rows(tmp_path / "in.jsonl", [{"text": "x"}])
    assert ("pad_token_id is the end token" in run_metarm("score", "--model", tmp_path / "rm", "--input", tmp_path / "in.jsonl").stderr) == warned


def test_a_new_pad_token_is_none_of_the_listed_end_tokens(tmp_path):
    save_checkpoint(tmp_path / "start", "llama", "causal")
    edit_config(tmp_path / "start", eos_token_id=[2, 3])  # the tokenizer's pad token ends turns, say
    train(tmp_path)
    assert json.loads((tmp_path / "rm/config.json").read_text())["pad_token_id"] == 0  # <unk>


@pytest.mark.parametrize("more", [[], ["--lora-rank", 2, "--merge-lora", "true"]], ids=["full", "merged"])
def test_float16_is_refused_for_weights_that_it_cannot_hold(more, tmp_path):
    save_checkpoint(tmp_path / "start", "llama", "reward")
    path = tmp_path / "start/model.safetensors"
    tensors = load_file(path)
    tensors["model.norm.weight"][0] = -1e5
    save_file(tensors, path, {"format": "pt"})
    result = train(tmp_path, "--save-dtype", "float16", *more, check=False)
    assert result.returncode == 2 and "--save-dtype: expected bfloat16 or float32 for weights up to 100000, got float16" in result.stderr


def test_float16_is_refused_for_weights_that_training_made_too_large(tmp_path):
    save_checkpoint(tmp_path / "start", "llama", "reward")
    result = train(tmp_path, "--save-dtype", "float16", "--lr", 1e5, "--lr-schedule", "constant", steps=1, check=False)
    assert result.returncode == 2 and "expected finite weights that Half holds, got others; write float32" in result.stderr
    assert not (tmp_path / "rm/config.json").exists()
