"""Token ids and decoded texts equal the tokenizers library's, for every kind of tokenizer, on real and on hostile texts."""

import gzip
import json

import pytest
from hostile_texts import hostile_texts
from programs import run_program
from tokenizer_kinds import CORPUS, KINDS
from tokenizers import Tokenizer

HOSTILE = 2500


def encode_all(path, texts, special=True):
    requests = "".join(json.dumps({"text": text, "special": special}) + "\n" for text in texts)
    return [json.loads(line) for line in run_program("tokenize", path, input=requests).stdout.split("\n") if line]


def compare(path, tokenizer, texts, special):
    ours = encode_all(path, texts, special)
    assert len(ours) == len(texts)
    for text, got in zip(texts, ours):
        expected = tokenizer.encode(text, add_special_tokens=special).ids
        assert got["ids"] == expected, repr(text)
        assert got["decoded"] == tokenizer.decode(expected, skip_special_tokens=False), repr(text)
        assert got["decoded_plain"] == tokenizer.decode(expected, skip_special_tokens=True), repr(text)


@pytest.fixture(scope="session", params=list(KINDS))
def kind(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    KINDS[request.param]().save(str(path))
    return path, Tokenizer.from_file(str(path))


@pytest.mark.parametrize("special", [True, False])
def test_hostile_texts(kind, special):
    path, tokenizer = kind
    compare(path, tokenizer, CORPUS[:6] + hostile_texts(HOSTILE, seed=int(special)), special)


def hh_texts(hh):
    texts = []
    for name in ("train", "validation"):
        with gzip.open(hh / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
            texts += [row[side] for row in map(json.loads, file) for side in ("chosen", "rejected")]
    return texts


def test_real_texts(kind, hh):
    path, tokenizer = kind
    compare(path, tokenizer, hh_texts(hh), True)
