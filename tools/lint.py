"""The repository's own rules: formatting, file lengths, words that do not belong here. Prints each break and ends non-zero."""

import re
import subprocess
import sys
from pathlib import Path

MAX_LINES = 400
# A repository that speaks of the project alone, and has nothing unfinished.
FORBIDDEN = re.compile(r"\b(TODO|FIXME|XXX)\b|not implemented|/home/\w+/")
SELF = "tools/lint.py"


def tracked(*patterns):
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns], capture_output=True, text=True, check=True)
    return [path for path in listed.stdout.splitlines() if Path(path).is_file()]


def check_format(paths):
    for path in paths:
        formatted = subprocess.run(["clang-format-14", path], capture_output=True, text=True, check=True).stdout
        if formatted != Path(path).read_text():
            yield f"{path}: not formatted; ./run format does it"


def check_lengths(paths):
    for path in paths:
        lines = Path(path).read_text().count("\n")
        if lines > MAX_LINES:
            yield f"{path}: expected at most {MAX_LINES} lines, got {lines}"


def check_words(paths):
    for path in paths:
        if path == SELF:
            continue
        try:
            text = Path(path).read_text()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if match := FORBIDDEN.search(line):
                yield f"{path}:{number}: {match.group(0)!r} does not belong in the repository"


def check_shell(paths):
    for path in paths:
        result = subprocess.run(["bash", "-n", path], capture_output=True, text=True)
        if result.returncode != 0:
            yield f"{path}: {result.stderr.strip()}"


def main():
    sources = tracked("*.h", "*.cpp")
    breaks = [
        *check_format(sources),
        *check_lengths(sources + tracked("*.py", "*.sh", "run", "metarm/*.js", "metarm/*.css", "metarm/*.html")),
        *check_words([path for path in tracked() if not path.startswith("tests/fuzz/corpus/") and not path.startswith("data/")]),
        *check_shell(tracked("run", "*.sh", ".ci/run")),
    ]
    print("\n".join(breaks) or f"lint: {len(sources)} sources clean")
    sys.exit(1 if breaks else 0)


if __name__ == "__main__":
    main()
