"""Rewards by the program and by transformers."""

import torch
import transformers as hf
from programs import read_rows, run_metarm, write_rows
from reference import token_ids

TEXTS = ["the inn at a river there then nine other three", "hello 123", "x"]


def score(model, rows, folder, *more):
    write_rows(folder / "in.jsonl", rows)
    run_metarm("score", "--model", model, "--input", folder / "in.jsonl", "--output", folder / "out.jsonl", "--quiet", *more)
    return read_rows(folder / "out.jsonl")


def score_texts(model, folder, *more, texts=TEXTS):
    return [row["reward"] for row in score(model, [{"text": text} for text in texts], folder, *more)]


def score_error(model, folder, *more):
    """The one line that refuses `model`."""
    write_rows(folder / "in.jsonl", [{"text": "the inn"}])
    result = run_metarm("score", "--model", model, "--input", folder / "in.jsonl", "--quiet", *more, check=False)
    assert result.returncode == 2, (result.returncode, result.stderr)
    assert result.stderr.count("\n") == 1
    return result.stderr


def by_transformers(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0, 0].item()


def texts_by_transformers(model, tokenizer, texts=TEXTS):
    return [by_transformers(model, token_ids(tokenizer, "", text)) for text in texts]


def load_in_transformers(directory, auto=hf.AutoModelForSequenceClassification, **more):
    """In float32, by default as a reward model; every tensor of the files must have found its place."""
    model, loading = auto.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager", output_loading_info=True, **more)
    assert not loading["missing_keys"] and not loading["unexpected_keys"] and not loading["mismatched_keys"]
    return model.eval()
