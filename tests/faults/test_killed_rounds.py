"""`rounds` killed with -9 at random points and called again: what an uninterrupted run gives."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time

import pytest
from families import save_checkpoint
from programs import BUILD, read_rows, run_metarm, write_rows
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
KILLS = 20
# Figures that a machine gives, not a seed.
OF_MACHINE = ("seconds", "_per_s", "memory")


def of_seed(figures):
    return {name: value for name, value in figures.items() if not any(part in name for part in OF_MACHINE)}


def figures(folder):
    return [of_seed(row["figures"]) for row in read_rows(folder / "rounds.jsonl")]


def latest(path):
    """The latest of each figure of a training."""
    return of_seed({f"rm.{name}": value for row in read_rows(path) for name, value in row.items() if isinstance(value, (int, float)) and name != "time_s"})


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
    rng, kills, ends = random.Random(1), 0, 0
    while kills < KILLS or ends == 0:
        process = subprocess.Popen([str(BUILD / "metarm"), "rounds", "--config", "killed.toml", "--quiet"], cwd=folder, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=0.1 + rng.random() * seconds / 4 * (1 + kills / KILLS))  # at last long enough, on however busy a machine
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        assert process.returncode == 0
        ends += 1
        assert results(folder / "killed") == results(folder / "whole")
        assert figures(folder / "killed") == figures(folder / "whole")
        assert not [p.name for p in (folder / "killed").rglob("*") if ".tmp" in p.name]
        shutil.rmtree(folder / "killed")


def test_figures_of_a_round(folder):
    run_metarm("rounds", "--config", "whole.toml", "--quiet", cwd=folder)
    for number, found in enumerate(figures(folder / "whole"), start=1):
        trained = latest(folder / f"whole/round-{number}/rm/metrics.jsonl")
        assert trained["rm.step"] == 6
        assert {name: value for name, value in found.items() if name.startswith("rm.")} == trained
        assert found["policy.moved"] == number


def test_the_next_round_goes_on_from_the_last(folder):
    run_metarm("rounds", "--config", "whole.toml", "--quiet", cwd=folder)
    told = [json.loads((folder / f"whole/round-{t}/rm.done.json").read_text())["options"] for t in (1, 2)]
    assert 'model = "rm"' in told[0] and 'model = "whole/round-1/rm"' in told[1]
    told = [json.loads((folder / f"whole/round-{t}/responses.done.json").read_text())["options"] for t in (1, 2)]
    assert 'model = "lm"' in told[0] and 'model = "whole/round-1/policy"' in told[1]
    assert "seed = 3\n" in told[0] and "seed = 4\n" in told[1]


def test_earlier_rounds_are_replayed(folder):
    text = (folder / "whole.toml").read_text()
    text = text.replace("max_new_tokens = 6", 'max_new_tokens = 6\nround = "{round}"')
    text = text.replace('responses = ["{responses}"]\nmax_steps', 'responses = ["{responses:all}"]\nrecency_half_life = 1\nmax_steps')
    (folder / "whole.toml").write_text(text)
    run_metarm("rounds", "--config", "whole.toml", "--quiet", cwd=folder)
    told = [json.loads((folder / f"whole/round-{t}/rm.done.json").read_text())["options"] for t in (1, 2)]
    assert 'responses = ["whole/round-1/responses.jsonl"]\n' in told[0]
    assert 'responses = ["whole/round-1/responses.jsonl", "whole/round-2/responses.jsonl"]\n' in told[1]
    assert read_rows(folder / "whole/round-2/responses.jsonl")[0]["round"] == 2


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
    assert result.returncode == 2 and "stage responses: expected the options with which it ran" in result.stderr and "got max_new_tokens = 7 instead of 6; choose" in result.stderr
    (folder / "whole.toml").write_text(text.replace("sleep 0.05", "sleep 0.06"))
    result = run_metarm("rounds", "--config", "whole.toml", cwd=folder, check=False)
    assert result.returncode == 2 and "stage policy: expected the options with which it ran" in result.stderr and "got another line; choose" in result.stderr
    (folder / "whole.toml").write_text(text.replace('command = "align"', 'command = "train"').replace('responses = ["{responses}"]\nmax_steps', "max_steps").replace("meta_batch_size = 2\n", ""))
    result = run_metarm("rounds", "--config", "whole.toml", cwd=folder, check=False)
    assert result.returncode == 2 and "stage rm: expected the options with which it ran" in result.stderr and "got metarm train; choose" in result.stderr
    (folder / "whole.toml").write_text(text.replace("rounds = 2", "rounds = 3"))  # more rounds are welcome
    run_metarm("rounds", "--config", "whole.toml", "--quiet", cwd=folder)
    assert len(read_rows(folder / "whole/rounds.jsonl")) == 3


def test_options_that_change_no_result_may_differ(folder):
    """Said loudly and with more threads, of a folder that a metarm left which knew an option less and another one more."""
    run_metarm("rounds", "--config", "whole.toml", "--quiet", cwd=folder)
    before = figures(folder / "whole")
    (folder / "whole.toml").write_text((folder / "whole.toml").read_text().replace("threads = 1", "threads = 2"))
    records = {}
    for done in (folder / "whole").rglob("*.done.json"):
        record = json.loads(done.read_text())
        if done.name != "policy.done.json":
            options, count = re.subn(r"^dtype = .*$", "forgotten = 3", record["options"], flags=re.MULTILINE)
            assert count == 1
            done.write_text(json.dumps(record | {"options": options}))
        records[done] = done.read_bytes()
    result = run_metarm("rounds", "--config", "whole.toml", cwd=folder)
    assert {done: done.read_bytes() for done in (folder / "whole").rglob("*.done.json")} == records, "a stage ran again"
    assert "2 rounds: whole" in result.stderr and figures(folder / "whole") == before


def test_finished_rounds_stay_in_the_list(folder):
    run_metarm("rounds", "--config", "whole.toml", "--quiet", cwd=folder)
    before = figures(folder / "whole")
    run_metarm("rounds", "--config", "whole.toml", "--quiet", "--rounds", 1, cwd=folder)
    assert figures(folder / "whole") == before
    (folder / "whole/round-2/scores.done.json").unlink()
    (folder / "pairs.jsonl").rename(folder / "away.jsonl")
    assert run_metarm("rounds", "--config", "whole.toml", "--quiet", cwd=folder, check=False).returncode == 3
    assert figures(folder / "whole") == before, "round 2 is gone while its stage is run again"
    (folder / "away.jsonl").rename(folder / "pairs.jsonl")
    run_metarm("rounds", "--config", "whole.toml", "--quiet", cwd=folder)
    assert figures(folder / "whole") == before and [row["round"] for row in read_rows(folder / "whole/rounds.jsonl")] == [1, 2]


def test_figures_of_a_training_that_stops_early_are_those_of_its_model(folder):
    """Held-out pairs the other way round: what is learned makes their loss rise, and the first evaluation is the best."""
    rows = read_rows(folder / "pairs.jsonl")
    write_rows(folder / "reversed.jsonl", [row | {"chosen": row["rejected"], "rejected": row["chosen"]} for row in rows])
    options = 'max_steps = 20\neval_pairs = ["reversed.jsonl"]\neval_steps = 2\nearly_stopping_patience = 2\nlr = 3e-3\nlr_schedule = "constant"\ndtype = "float32"'
    text = (folder / "whole.toml").read_text().replace("rounds = 2", "rounds = 1").replace("max_steps = 6", options)
    (folder / "whole.toml").write_text(text.replace("meta_batch_size = 2", 'meta_batch_size = 2\nmethod = "none"').replace("\nbatch_size = 2", "\nbatch_size = 30"))
    run_metarm("rounds", "--config", "whole.toml", "--quiet", cwd=folder)
    evaluations = [row for row in read_rows(folder / "whole/round-1/rm/metrics.jsonl") if "eval_loss" in row]
    best = min(evaluations, key=lambda row: row["eval_loss"])
    assert best["step"] < evaluations[-1]["step"] < 20, "these data show nothing"
    (found,) = figures(folder / "whole")
    assert found["rm.step"] == evaluations[-1]["step"]
    assert {name: value for name, value in found.items() if name.startswith("rm.eval_")} == {f"rm.{name}": value for name, value in best.items() if name.startswith("eval_")}


@pytest.mark.parametrize("command", ["rounds", "serve", "tune"])
def test_what_cannot_be_a_stage(command, tmp_path):
    (tmp_path / "never.toml").write_text(f'output = "never"\n[[stage]]\nname = "x"\ncommand = "{command}"\n')
    result = run_metarm("rounds", "--config", "never.toml", cwd=tmp_path, check=False)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    allowed = re.search(rf"never.toml:2: command: expected one of (.*), got '{command}'", result.stderr)[1].split(", ")
    assert {"sample", "align", "eval"} <= {*allowed} and not {"rounds", "serve", "tune"} & {*allowed}


def test_options_are_checked_before_anything_runs(folder):
    text = (folder / "whole.toml").read_text()
    (folder / "whole.toml").write_text(text.replace('command = "eval"', 'command = "eval"\nmodle = "x"'))
    result = run_metarm("rounds", "--config", "whole.toml", cwd=folder, check=False)
    assert result.returncode == 2 and "modle" in result.stderr and "did you mean model" in result.stderr
    assert not (folder / "whole").exists()


def test_an_unfinished_stage_whose_options_have_changed_says_what_to_remove(folder):
    """As after a training that diverged: its folder is there, the stage is not done, and the file has a lower learning rate."""
    text = (folder / "whole.toml").read_text().replace("rounds = 2", "rounds = 1")
    (folder / "whole.toml").write_text(text)
    run_metarm("rounds", "--config", "whole.toml", "--quiet", cwd=folder)
    done = folder / "whole/round-1/rm.done.json"
    done.unlink()
    (folder / "whole/round-1/rm/config.json").unlink()
    (folder / "whole.toml").write_text(text.replace("max_steps = 6", "max_steps = 6\nlr = 1e-6"))
    result = run_metarm("rounds", "--config", "whole.toml", "--quiet", cwd=folder, check=False)
    assert result.returncode == 2 and "stage rm of round 1: ended with exit code 4" in result.stderr
    assert "or remove whole/round-1/rm to begin the stage anew, then the same command goes on" in result.stderr
    shutil.rmtree(folder / "whole/round-1/rm")
    run_metarm("rounds", "--config", "whole.toml", "--quiet", cwd=folder)
    assert "lr = 1e-06\n" in json.loads(done.read_text())["options"]


# A stage whose child goes on when its shell is killed; called again, it has none.
LEFT_RUNNING = 'run = "if [ ! -e child ]; then sleep 600 & echo $! > child; wait; fi; mkdir -p {output} && cp -r {policy}/. {output}"'


def test_what_a_killed_stage_has_started_keeps_the_folder(folder):
    text = (folder / "whole.toml").read_text()
    line = next(line for line in text.splitlines() if line.startswith("run = "))
    (folder / "whole.toml").write_text(text.replace(line, LEFT_RUNNING))
    process = subprocess.Popen([str(BUILD / "metarm"), "rounds", "--config", "whole.toml", "--quiet"], cwd=folder, stderr=subprocess.DEVNULL)
    child, deadline = folder / "child", time.monotonic() + 60
    while not child.exists() or not child.read_text().endswith("\n"):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    try:
        result = run_metarm("rounds", "--config", "whole.toml", "--quiet", cwd=folder, check=False)
        assert result.returncode == 2 and result.stderr.count("\n") == 1
        assert f"whole/rounds.lock: expected no other process at work, got sleep ({int(child.read_text())}); wait until it has ended" in result.stderr
    finally:
        os.kill(int(child.read_text()), signal.SIGKILL)
    run_metarm("rounds", "--config", "whole.toml", "--quiet", cwd=folder)
    assert len(read_rows(folder / "whole/rounds.jsonl")) == 2
