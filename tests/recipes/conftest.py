"""A study of recipes/ on a tiny model and the starter set, with small sizes."""

import argparse
import gzip
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from chat_templates import CHATML
from families import save_checkpoint

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "recipes"))

from gold import material  # noqa: E402
from gold import settings as S  # noqa: E402
from gold.work import read_rows  # noqa: E402

SMALL = {"PAIR_PROMPTS": 12, "TRAIN_PROMPTS": 4, "TRAIN_RESPONSES": 8, "TEST_PROMPTS": 4, "TEST_RESPONSES": 8, "ELSEWHERE_PROMPTS": 3, "ELSEWHERE_RESPONSES": 8,
         "MAX_NEW_TOKENS": 6, "TRUNK_LAYERS": 1, "ROUNDS": 2, "DRAWN": 4, "EXAMINED": {"test": 2, "elsewhere": 2}, "DISTILL": S.DISTILL | {"epochs": 1}, "RLOO": S.RLOO | {"max_steps": 2, "batch_size": 2}, "PROXY_PAIRS": 16, "HELD_OUT_PAIRS": 6, "POLICY_N": 2, "BEST_OF": (1, 2, 8), "SEEDS": (1,),
         "ALIGN": S.ALIGN | {"max_steps": 2}, "POLICY": S.POLICY | {"max_steps": 2}, "GOLD": S.GOLD | {"max_steps": 2}, "PROXY": S.PROXY | {"epochs": 1}}
METHODS = tuple(replace(method, n=2, rounds=2) for method in S.MAIN if method.name in ("vanilla", "none", "meta 0.1"))


SMALL |= {"MAIN": METHODS, "QUESTION": METHODS[:2], "GRID": (), "MOVING": {"distilled best-of-n": (METHODS[2:], (1,)), "RLOO": (METHODS[:1], (1,))}}


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """A tiny model and the starter set, for a study whose sizes are small."""
    folder = tmp_path_factory.mktemp("gold")
    _, tokenizer = save_checkpoint(folder / "model", "llama", "causal")
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(folder / "model")
    rows = read_rows(ROOT / "data/starter/train.jsonl")
    for name, some in {"train": rows[:24], "validation": rows[24:40]}.items():
        with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in some)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL.items():
            patch.setattr(S, name, value)
        patch.setattr(material, "POOLS", {"pairs": (12, 4), "train": (4, 8), "test": (4, 8), "elsewhere": (3, 8)})
        patch.setenv("OMP_NUM_THREADS", "1")
        yield argparse.Namespace(model=folder / "model", data=folder, seeds=[1], labels=folder / "labels", figures=folder / "figures.jsonl")
