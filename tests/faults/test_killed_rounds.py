"""`rounds` killed with -9 at random points and called again: what an uninterrupted run gives."""

import json
import os
import random
import signal
import subprocess
import time

import pytest
from families import save_checkpoint
from programs import BUILD, read_rows, run_metarm
from random_rows import write_data

CONFIG = """
output = "OUTPUT"
policy = "lm"
rm = "rm"
rounds = 2
seed = 3

[[stage]]
name = "responses"
command = "sample"
model = "{policy}"
prompts = ["groups.jsonl"]
responses = 3
max_new_tokens = 6
threads = 1

[[stage]]
name = "rm"
command = "align"
model = "{rm}"
pairs = ["pairs.jsonl"]
responses = ["{responses}"]
max_steps = 6
batch_size = 2
meta_batch_size = 2
save_steps = 2
threads = 1

[[stage]]
name = "policy"
run = "sleep 0.05; mkdir -p {output} && cp -r {policy}/. {output} && echo '{{\\"moved\\": {round}}}'"

[[stage]]
name = "scores"
command = "eval"
model = "{rm}"
pairs = ["pairs.jsonl"]
responses = ["{responses}"]
threads = 1
"""
# Figures that a machine gives, not a seed.
OF_MACHINE = ("seconds", "_per_s", "memory")


def figures(folder):
    rows = read_rows(folder / "rounds.jsonl")
    return [{name: value for name, value in row["figures"].items() if not any(part in name for part in OF_MACHINE)} for row in rows]


def results(folder):
    names = [f"round-{t}/{name}" for t in (1, 2) for name in ("responses.jsonl", "rm/model.safetensors", "policy/model.safetensors")]
    return {name: (folder / name).read_bytes() for name in names}


@pytest.fixture
def folder(tmp_path):
    save_checkpoint(tmp_path / "lm", "llama", "lm")
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    write_data(tmp_path)
    for name in ("whole", "killed"):
        (tmp_path / f"{name}.toml").write_text(CONFIG.replace("OUTPUT", name))
    return tmp_path


def test_killed_rounds_end_the_same(folder):
    begin = time.monotonic()
    run_metarm("rounds", "--config", "whole.toml", "--quiet", cwd=folder)
    seconds = time.monotonic() - begin
    rng, kills = random.Random(1), 0
    for _ in range(20):
        process = subprocess.Popen([str(BUILD / "metarm"), "rounds", "--config", "killed.toml", "--quiet"], cwd=folder, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=0.1 + rng.random() * seconds / 4)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
    assert kills >= 5, f"only {kills} kills came in time: the test shows too little"
    run_metarm("rounds", "--config", "killed.toml", "--quiet", cwd=folder)
    assert results(folder / "killed") == results(folder / "whole")
    assert figures(folder / "killed") == figures(folder / "whole")
    assert figures(folder / "whole")[1]["policy.moved"] == 2
    assert not [p.name for p in (folder / "killed").rglob("*") if ".tmp" in p.name]


def test_the_next_round_goes_on_from_the_last(folder):
    run_metarm("rounds", "--config", "whole.toml", "--quiet", cwd=folder)
    told = [json.loads((folder / f"whole/round-{t}/rm.done.json").read_text())["options"] for t in (1, 2)]
    assert 'model = "rm"' in told[0] and 'model = "whole/round-1/rm"' in told[1]
    told = [json.loads((folder / f"whole/round-{t}/responses.done.json").read_text())["options"] for t in (1, 2)]
    assert 'model = "lm"' in told[0] and 'model = "whole/round-1/policy"' in told[1]
    assert "seed = 3\n" in told[0] and "seed = 4\n" in told[1]


def test_a_stage_that_fails_says_which(folder):
    text = (folder / "whole.toml").read_text()
    (folder / "whole.toml").write_text(text.replace("echo", "exit 5; echo"))
    result = run_metarm("rounds", "--config", "whole.toml", "--quiet", cwd=folder, check=False)
    assert result.returncode == 3
    assert "stage policy of round 1: ended with exit code 5" in result.stderr
    (folder / "whole.toml").write_text(text)
    run_metarm("rounds", "--config", "whole.toml", "--quiet", cwd=folder)
    assert len(read_rows(folder / "whole/rounds.jsonl")) == 2


def test_changed_options_are_an_error(folder):
    run_metarm("rounds", "--config", "whole.toml", "--quiet", cwd=folder)
    text = (folder / "whole.toml").read_text()
    (folder / "whole.toml").write_text(text.replace("max_new_tokens = 6", "max_new_tokens = 7"))
    result = run_metarm("rounds", "--config", "whole.toml", cwd=folder, check=False)
    assert result.returncode == 2 and "stage responses: expected the options with which it ran" in result.stderr
    (folder / "whole.toml").write_text(text.replace("rounds = 2", "rounds = 3"))  # more rounds are welcome
    run_metarm("rounds", "--config", "whole.toml", "--quiet", cwd=folder)
    assert len(read_rows(folder / "whole/rounds.jsonl")) == 3


def test_options_are_checked_before_anything_runs(folder):
    text = (folder / "whole.toml").read_text()
    (folder / "whole.toml").write_text(text.replace('command = "eval"', 'command = "eval"\nmodle = "x"'))
    result = run_metarm("rounds", "--config", "whole.toml", cwd=folder, check=False)
    assert result.returncode == 2 and "modle" in result.stderr and "did you mean model" in result.stderr
    assert not (folder / "whole").exists()
