"""split_pairs.py PAIRS TRAIN HELDOUT: holds out a fifth of the pairs, all pairs of one prompt on the same side."""

import gzip
import hashlib
import json
import sys
from pathlib import Path


def prompt_of(row):
    if "prompt" in row:
        return row["prompt"]
    chosen = row["chosen"]
    return chosen[:-1] if isinstance(chosen, list) else chosen.rpartition("\n\nAssistant:")[0]


def main():
    source, train, heldout = map(Path, sys.argv[1:4])
    opener = gzip.open if source.suffix == ".gz" else open
    with opener(source, "rt", encoding="utf-8") as file:
        lines = [line for line in file if line.strip()]
    sides = {train: [], heldout: []}
    for number, line in enumerate(lines, 1):
        try:
            prompt = prompt_of(json.loads(line))
        except (ValueError, KeyError, AttributeError) as error:
            sys.exit(f"{source}:{number}: expected a pair with chosen and rejected, got {type(error).__name__}: {error}")
        digest = hashlib.sha256(json.dumps(prompt).encode()).digest()
        sides[heldout if digest[0] < 51 else train].append(line if line.endswith("\n") else line + "\n")
    for path, rows in sides.items():
        if not rows:
            sys.exit(f"{source}: expected enough prompts to hold out a fifth, got {len(lines)} pairs")
        path.write_text("".join(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
