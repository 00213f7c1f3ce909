"""Rows of random words for runs that are killed, the same each time."""

import random

from programs import write_rows

WORDS = "the inn at a river there then nine other three when in heather".split()


def write_data(folder):
    rng = random.Random(0)
    text = lambda: " " + " ".join(rng.choice(WORDS) for _ in range(rng.randrange(2, 20)))
    write_rows(folder / "pairs.jsonl", [{"prompt": text(), "chosen": text(), "rejected": text()} for _ in range(30)])
    write_rows(folder / "held_out.jsonl", [{"prompt": text(), "chosen": text(), "rejected": text()} for _ in range(12)])
    write_rows(folder / "groups.jsonl", [{"prompt": text(), "responses": [text() for _ in range(3)]} for _ in range(9)])
