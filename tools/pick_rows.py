"""pick_rows.py ROWS OUTPUT COUNT: at most COUNT of a file's rows, spread evenly over it."""

import sys
from pathlib import Path

from split_pairs import read_lines


def main():
    source, output, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    try:
        lines = [line for line in read_lines(source) if line.strip()]
    except (OSError, EOFError, UnicodeDecodeError) as error:
        sys.exit(f"{source}: expected a readable file of rows, got: {error}")
    count = min(count, len(lines))
    output.write_text("".join(lines[i * len(lines) // count] + "\n" for i in range(count)), encoding="utf-8")


if __name__ == "__main__":
    main()
