"""./run demo with stand-ins for the program and the model: what it reads, writes and leaves alone. How it picks rows, and what it says in the end."""

import gzip
import json
import os
import shutil
import subprocess
import sys
import tomllib

import pytest
from programs import ROOT, read_rows, write_rows

PAIRS = [{"prompt": f"Question {i}", "chosen": " Yes.", "rejected": " No."} for i in range(40)]
# Notes what it was called with, and writes what the demo goes on with.
PROGRAM = """#!/bin/sh
echo "$@" >>"$(dirname "$0")/calls"
while [ $# -gt 0 ]; do
  [ "$1" = --output ] && case $2 in *.jsonl | *.html) echo '{}' >"$2" ;; *) mkdir -p "$2" ;; esac
  shift
done
"""


@pytest.fixture
def checkout(tmp_path):
    """A copy of the scripts whose build and model are there already."""
    root = tmp_path / "checkout"
    for folder in ("tools", "data", "recipes"):
        shutil.copytree(ROOT / folder, root / folder)
    shutil.copy(ROOT / "run", root)
    with open(root / "tools" / "setup.sh", "a") as setup:
        setup.write("\nbuild_program() { :; }\n")
    (root / ".cache/smollm2/SmolLM2-135M-Instruct").mkdir(parents=True)
    (root / ".cache/smollm2/SmolLM2-135M-Instruct/config.json").write_text("{}")
    (root / ".venv/bin").mkdir(parents=True)
    # The summary needs real figures: the stand-in skips it.
    (root / ".venv/bin/python").write_text(f'#!/bin/sh\ncase $1 in *demo_summary.py) ;; *) exec {sys.executable} "$@" ;; esac\n')
    (root / "build").mkdir()
    (root / "build" / "metarm").write_text(PROGRAM)
    for program in (".venv/bin/python", "build/metarm"):
        (root / program).chmod(0o755)
    return root


def run_demo(checkout, *arguments, cwd):
    environment = {name: value for name, value in os.environ.items() if name != "METARM_CALLED_FROM"}
    return subprocess.run([checkout / "run", "demo", *arguments], cwd=cwd, capture_output=True, text=True, env=environment)


def test_paths_are_those_of_the_folder_it_is_called_from(checkout, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    write_rows(home / "mine.jsonl", PAIRS)
    result = run_demo(checkout, "--pairs", "mine.jsonl", "--work", "out", cwd=home)
    assert result.returncode == 0, result.stderr
    assert len(read_rows(home / "out/train.jsonl")) + len(read_rows(home / "out/heldout.jsonl")) == len(PAIRS)
    assert f"--policy .cache/smollm2/SmolLM2-135M-Instruct --rm {home}/out/rm" in (checkout / "build/calls").read_text()
    assert not (checkout / "demo").exists()
    stages = {stage["name"]: stage for stage in tomllib.loads((home / "out/rounds.toml").read_text())["stage"]}
    assert stages["rm"]["pairs"] == [f"{home}/out/train.jsonl"] and stages["measure"]["pairs"] == [f"{home}/out/heldout.jsonl"]
    assert stages["policy"]["prompts"] == [f"{home}/out/prompts.jsonl"] and len(read_rows(home / "out/prompts.jsonl")) == len(PAIRS)


def test_a_second_time_goes_on_and_other_inputs_begin_anew(checkout, tmp_path):
    assert run_demo(checkout, cwd=tmp_path).returncode == 0
    stages = {stage["name"]: stage for stage in tomllib.loads((checkout / "demo/rounds.toml").read_text())["stage"]}
    assert stages["rm"]["pairs"] == ["data/starter/train.jsonl"] and len(read_rows(checkout / "demo/prompts.jsonl")) == 48
    (checkout / "demo/rm/step").touch()
    (checkout / "demo/notes.txt").touch()
    assert run_demo(checkout, cwd=tmp_path).returncode == 0
    assert (checkout / "demo/rm/step").exists()
    result = run_demo(checkout, "--prompts", checkout / "data/starter/heldout.jsonl", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert not (checkout / "demo/rm/step").exists() and (checkout / "demo/notes.txt").exists()


def test_files_of_the_user_stay(checkout, tmp_path):
    for name in ("settings.json", "rounds.toml", "train.jsonl"):
        (tmp_path / name).write_text("mine")
    result = run_demo(checkout, "--work", ".", cwd=tmp_path)
    assert result.returncode == 1 and "expected a folder without a rounds.toml of yours" in result.stderr
    (tmp_path / "rounds.toml").unlink()
    assert "without a train.jsonl" in run_demo(checkout, "--work", ".", cwd=tmp_path).stderr
    (tmp_path / "train.jsonl").unlink()
    assert run_demo(checkout, "--work", ".", cwd=tmp_path).returncode == 0
    assert (tmp_path / "settings.json").read_text() == "mine"


def test_its_own_outputs_are_no_inputs(checkout, tmp_path):
    write_rows(tmp_path / "mine.jsonl", PAIRS)
    assert run_demo(checkout, "--pairs", "mine.jsonl", "--work", "out", cwd=tmp_path).returncode == 0
    before = (tmp_path / "out/train.jsonl").read_text()
    result = run_demo(checkout, "--pairs", "out/train.jsonl", "--work", "out", cwd=tmp_path)
    assert result.returncode == 1 and "a file that the demo does not write" in result.stderr
    assert (tmp_path / "out/train.jsonl").read_text() == before


@pytest.mark.parametrize("arguments, said", [(["--pairs"], "--pairs: expected a path, got none"), (["--pairs", "nowhere.jsonl"], "--pairs: expected a file, got"),
                                             (["--prompts", "nowhere.jsonl"], "--prompts: expected a file, got"), (["--pears"], "unknown option --pears")])
def test_wrong_arguments(arguments, said, checkout, tmp_path):
    result = run_demo(checkout, *arguments, cwd=tmp_path)
    assert result.returncode == 1 and said in result.stderr and "unbound" not in result.stderr
    assert not (checkout / "build/calls").exists()


def split(source, tmp_path):
    return subprocess.run([sys.executable, ROOT / "tools/split_pairs.py", source, tmp_path / "train", tmp_path / "heldout"], capture_output=True, text=True)


def test_pairs_of_one_prompt_stay_together(tmp_path):
    rows = [row | {"rejected": f" No, {i}."} for row in PAIRS for i in range(3)]
    result = split(write_rows(tmp_path / "pairs.jsonl", rows), tmp_path)
    assert result.returncode == 0, result.stderr
    train, heldout = ({row["prompt"] for row in read_rows(tmp_path / name)} for name in ("train", "heldout"))
    assert not train & heldout and len(train | heldout) == len(PAIRS)


def test_comparisons_and_packed_files_by_any_name(tmp_path):
    rows = [{"info": {"post": f"Post {i}", "title": "t", "subreddit": "s"}, "summaries": [{"text": "a"}, {"text": "b"}], "choice": 1} for i in range(40)]
    (tmp_path / "packed").write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    result = split(tmp_path / "packed", tmp_path)
    assert result.returncode == 0, result.stderr
    assert len(read_rows(tmp_path / "train")) + len(read_rows(tmp_path / "heldout")) == 40


@pytest.mark.parametrize("content", [None, b"[1, 2]\n", b"7\n", b"\xff\xfe\n", b"chosen,rejected\n", b'{"prompt": "a"}\n', gzip.compress(b"x" * 999, mtime=0)[:-9]])
def test_what_is_no_pair_is_said_in_a_line(content, tmp_path):
    if content is not None:
        (tmp_path / "bad").write_bytes(content)
    result = split(tmp_path / "bad", tmp_path)
    assert result.returncode == 1 and result.stderr.count("\n") == 1 and "bad" in result.stderr and "expected" in result.stderr
    assert not (tmp_path / "train").exists()


def test_rows_are_picked_from_all_over_the_file(tmp_path):
    write_rows(tmp_path / "rows.jsonl", [{"prompt": str(i)} for i in range(10)])
    for count, picked in ((4, [0, 2, 5, 7]), (20, list(range(10)))):
        subprocess.run([sys.executable, ROOT / "tools/pick_rows.py", tmp_path / "rows.jsonl", tmp_path / "picked.jsonl", str(count)], check=True)
        assert [row["prompt"] for row in read_rows(tmp_path / "picked.jsonl")] == list(map(str, picked))


def write_finished(folder, accuracy, rewards):
    """A demo's work folder after two rounds. `accuracy`: before, after round 1, after round 2; `rewards`: each round's, of the initial and the new policy."""
    interval = lambda name, value: {name: value, f"{name}_low": value - 0.1, f"{name}_high": value + 0.1}
    (folder / "rm").mkdir()
    write_rows(folder / "rm/metrics.jsonl", [{"step": 1, "loss": 0.7}, {"step": 1} | interval("eval_accuracy", accuracy[0])])
    for t in (1, 2):
        here = folder / f"rounds/round-{t}"
        (here / "policy").mkdir(parents=True)
        write_rows(here / "policy/metrics.jsonl", [{"step": i, "kl": 0.5 * t * i} for i in (1, 2)])
        before, after = rewards[t - 1]
        write_rows(here / "judged.jsonl", [{"a_reward": after + spread, "b_reward": before - spread} for spread in (-0.5, 0.5)])
        net = 0.4 if after > before else -0.1
        (here / "judged.done.json").write_text(json.dumps({"figures": {"win": 0.6, "lose": 0.3, "net_low": net - 0.2, "net_high": net + 0.2}}))
        figures = {"pairs": interval("accuracy", accuracy[t]) | {"pairs": 60}, "responses": {"near_ties": 0.07, "before": {"before": 0.9, "after": 0.8 + t}}}
        (here / "measure.done.json").write_text(json.dumps({"figures": figures}))


@pytest.mark.parametrize("accuracy, said", [([0.7, 0.7, 0.72], ["rose from 0.700 to 0.720 over 2 rounds; the 95 % intervals overlap: 60 pairs do not tell the two apart."]),
                                            ([0.7, 0.8, 0.7], ["stayed at 0.700 over 2 rounds; the 95 % intervals overlap"]),
                                            ([0.7, 0.6, 0.4], ["fell from 0.700 to 0.400 over 2 rounds; the 95 % intervals do not overlap."])])
def test_the_summary_says_what_the_figures_say(accuracy, said, tmp_path):
    write_finished(tmp_path, accuracy, rewards=[(0.1, 0.4), (0.3, 0.2)])
    text = subprocess.run([sys.executable, ROOT / "tools/demo_summary.py", tmp_path / "rm", tmp_path / "rounds"], capture_output=True, text=True, check=True).stdout
    said += ["is 1.800 for the aligned reward model and 0.900 for the one before any round", "a mean reward of 0.400, those of the initial policy 0.100; the new ones win 60 % and lose 30 %, beyond chance.",
             "of 0.200, those of the initial policy 0.300; the new ones win 60 % and lose 30 %, within chance.", "is 2.000 nats a response", "0.700 [0.600, 0.800]", "round 2"]
    for part in said:
        assert part in " ".join(text.split()), text
