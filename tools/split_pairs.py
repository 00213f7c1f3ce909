"""split_pairs.py PAIRS TRAIN HELDOUT: holds out a fifth of the pairs, all pairs of one prompt on the same side."""

import gzip
import hashlib
import json
import sys
from pathlib import Path

HELDOUT_SHARE = 51 / 256


def read_lines(path):
    data = path.read_bytes()
    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    return data.decode("utf-8").split("\n")


def prompt_of(row):
    if "summaries" in row:  # OpenAI's comparisons: two summaries of one post
        info = row["info"]
        return [info.get(field) for field in ("subreddit", "title", "post")]
    chosen, _ = row["chosen"], row["rejected"]
    if "prompt" in row:
        return row["prompt"]
    return chosen[:-1] if isinstance(chosen, list) else chosen.rpartition("\n\nAssistant:")[0]


def is_heldout(line):
    row = json.loads(line)
    if not isinstance(row, dict):
        raise TypeError(f"a JSON {type(row).__name__}")
    return hashlib.sha256(json.dumps(prompt_of(row)).encode()).digest()[0] < 256 * HELDOUT_SHARE


def main():
    source, train, heldout = map(Path, sys.argv[1:4])
    try:
        lines = read_lines(source)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        sys.exit(f"{source}: expected a readable file of pairs, got: {error}")
    sides = {False: [], True: []}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            sides[is_heldout(line)].append(line + "\n")
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            sys.exit(f"{source}:{number}: expected a pair with chosen and rejected, got {type(error).__name__}: {error}")
    if not all(sides.values()):
        sys.exit(f"{source}: expected enough prompts to hold out a fifth, got {len(sides[False]) + len(sides[True])} pairs")
    train.write_text("".join(sides[False]), encoding="utf-8")
    heldout.write_text("".join(sides[True]), encoding="utf-8")


if __name__ == "__main__":
    main()
