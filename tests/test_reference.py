"""docs/reference is what the program writes: an option changed without its page is found here. `./run docs` writes it anew."""

from pathlib import Path

from programs import ROOT, run_metarm


def test_reference_pages_are_current(tmp_path):
    run_metarm("reference", tmp_path)
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    kept = {path.name: path.read_text() for path in Path(ROOT / "docs/reference").iterdir()}
    assert written == kept
