"""The starter set keeps what its README says: counts, no shared prompt, and no shallow rule that finds the chosen response."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "data/starter"
SHALLOW = {
    "longer": None,
    "says I": r"\bI\b",
    "refuses or apologises": r"(?i)sorry|can't|cannot|unable",
    "has a list": r"(?m)^\s*([-*]|\d+[.)])\s",
    "asks at the end": r"\?\s*$",
    "exclaims": "!",
    "has a digit": r"\d",
    "has a colon": ":",
    "has a semicolon": ";",
    "has a quotation": r"(?<!\w)'",
    "has a line break": r"\n",
    "addresses the user": r"(?i)\byou",
}


def rows(name):
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


PAIRS = rows("train") + rows("heldout")


def response(row, side):
    (message,) = row[side]
    assert message["role"] == "assistant"
    return message["content"]


def accuracy(pairs, score):
    """Of choosing the response with the higher score; a tie counts half."""
    differences = [score(response(row, "chosen")) - score(response(row, "rejected")) for row in pairs]
    return sum((d > 0) + 0.5 * (d == 0) for d in differences) / len(pairs)


def test_counts():
    assert len(PAIRS) >= 300
    assert len(rows("prompts")) >= 120
    subsets = Counter(row["subset"] for row in PAIRS)
    assert set(subsets) == {"helpful", "harmless", "honest", "multi-turn", "summarize"}
    assert min(subsets.values()) >= 50
    assert len({row["id"] for row in PAIRS + rows("prompts")}) == len(PAIRS) + len(rows("prompts"))


def test_prompts_are_shared_by_no_two_rows():
    prompts = Counter(json.dumps(row["prompt"]) for row in PAIRS + rows("prompts"))
    assert [prompt for prompt, count in prompts.items() if count > 1] == []
    assert all(row["prompt"][-1]["role"] == "user" for row in PAIRS + rows("prompts"))


@pytest.mark.parametrize("rule", SHALLOW)
def test_no_shallow_rule_finds_the_chosen_response(rule):
    pattern = SHALLOW[rule]
    score = len if pattern is None else lambda text: bool(re.search(pattern, text))
    assert 0.4 <= accuracy(PAIRS, score) <= 0.6


@pytest.mark.parametrize("subset", ["helpful", "harmless", "honest", "multi-turn", "summarize"])
def test_length_predicts_nothing_within_a_subset(subset):
    assert 0.45 <= accuracy([row for row in PAIRS if row["subset"] == subset], len) <= 0.55
