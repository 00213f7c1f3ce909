"""A module includes only the modules below it: the #include lines say so."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = {
    "base": "",
    "text": "base",
    "data": "base text",
    "collect": "base text data",
    "report": "base data",
    "model": "base text data",
    "objectives": "base",
    "remote": "base data",
    "eval": "base text data model objectives remote",
    "explain": "base text data model eval",
    "train": "base text data model objectives eval",
    "meta": "base text data model objectives eval train",
    "rl": "base text data model objectives eval train",
    "rounds": "base",
    "tune": "base rounds",
    "http": "base text data",
    "shift": "base data eval",
    "serve": "base text data http shift model eval meta",
    "cli": "base text data collect remote http report rounds tune model objectives eval explain train meta rl serve",
}
WITHOUT_TORCH = {"base", "text", "data", "collect", "remote", "http", "report", "rounds", "tune", "shift"}
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)


def find_breaks(root, allowed):
    for folder in sorted(path for path in (root / "metarm").iterdir() if path.is_dir()):
        if folder.name not in allowed:
            yield f"{folder.name}: a module without a row"
            continue
        below = {folder.name, *allowed[folder.name].split()}
        for source in sorted([*folder.glob("*.h"), *folder.glob("*.cpp")]):
            for included in INCLUDE.findall(source.read_text()):
                parts = included.split("/")
                if parts[0] == "metarm" and parts[1] not in below:
                    yield f"{source.relative_to(root)}: {folder.name} may not include {parts[1]}"
                if folder.name in WITHOUT_TORCH and parts[0].lower() in ("aten", "torch", "c10"):
                    yield f"{source.relative_to(root)}: {folder.name} is free of torch"


def test_layers():
    assert list(find_breaks(ROOT, ALLOWED)) == []


def test_the_check_sees_breaks(tmp_path):
    base = tmp_path / "metarm" / "base"
    base.mkdir(parents=True)
    (base / "bad.cpp").write_text('#include "metarm/text/tokenizer.h"\n#  include <ATen/ATen.h>\n')
    (tmp_path / "metarm" / "extra").mkdir()
    found = list(find_breaks(tmp_path, ALLOWED))
    assert len(found) == 3


def test_sources_are_in_the_modules_only():
    stray = [path for path in ROOT.glob("metarm/*.*")]
    assert not stray
