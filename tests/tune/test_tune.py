"""`tune` with a program whose best options are known, and with real trainings."""

import json
import os
import random
import re
import signal
import subprocess
import time
import tomllib

import pytest
from families import save_checkpoint
from programs import BUILD, ROOT, read_rows, run_metarm
from random_rows import write_data

# The loss is least at lr 0.01 and kind "good", and falls with the steps; a large lr fails.
TOY = """#!/bin/sh
mkdir -p "$5"
echo "$3" >> "$5/calls"
sleep "$4"
awk -v lr="$1" -v kind="$2" -v steps="$3" 'BEGIN {
  if (lr > 0.5) { print "toy: diverged" > "/dev/stderr"; exit 4 }
  d = log(lr / 0.01) / log(10)
  printf "{\\"held\\": {\\"loss\\": %.9f, \\"nothing\\": null}}\\n", d * d + (kind == "good" ? 0 : 0.3) + 1 / steps
}'
"""
CONFIG = """output = "out"
run = "sh toy.sh {lr} {kind} {steps} SLEEP {output}"
figure = "held.loss"
goal = "minimise"
trials = 27
min_steps = 2
seed = 1

[[range]]
option = "lr"
low = 1e-4
high = 1
scale = "log"

[[range]]
option = "kind"
choices = ["bad", "good"]
"""
RESULTS = ("trials.jsonl", "tuning.json", "best.toml")


def write_toy(folder, sleep="0", **more):
    folder.mkdir(exist_ok=True)
    (folder / "toy.sh").write_text(TOY)
    lines = "".join(f"{key} = {value}\n" for key, value in more.items())
    (folder / "tune.toml").write_text(lines + CONFIG.replace("SLEEP", sleep))
    return folder


def tune(folder, *more, check=True):
    return run_metarm("tune", "--config", "tune.toml", "--quiet", *more, cwd=folder, check=check)


def results(folder):
    return {name: (folder / "out" / name).read_text() for name in RESULTS}


def calls(folder):
    return [int(line) for path in (folder / "out").glob("trial-*/run/calls") for line in path.read_text().split()]


def count_ended(folder):
    journal = folder / "out/journal.jsonl"
    return journal.read_text().count("\n") if journal.exists() else 0


def kill_often(folder, times, most, rng):
    """Each time once up to `most` more trials have ended at a rung, and a moment later. How many kills came before the end."""
    kills = 0
    for _ in range(times):
        enough = count_ended(folder) + rng.randrange(most + 1)
        process = subprocess.Popen([str(BUILD / "metarm"), "tune", "--config", "tune.toml", "--quiet"], cwd=folder, stderr=subprocess.DEVNULL)
        while process.poll() is None and count_ended(folder) < enough:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.05)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
    return kills


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_optimum_is_found_within_the_budget(seed, tmp_path):
    write_toy(tmp_path)
    found = json.loads(tune(tmp_path, "--json", "--seed", seed).stdout)
    best = found["best"]["options"]
    assert 0.003 < best["lr"] < 0.03 and best["kind"] == "good"
    assert found["steps"] == 27 * 2 + 9 * 4 + 3 * 12 + 1 * 36
    assert sorted(calls(tmp_path)) == sorted([2] * 27 + [6] * 9 + [18] * 3 + [54] * 1)
    rows = read_rows(tmp_path / "out/trials.jsonl")
    assert [row["trial"] for row in rows] == list(range(1, 28)) and sorted(row["rank"] for row in rows) == list(range(1, 28))
    assert tomllib.loads((tmp_path / "out/best.toml").read_text()) == best
    by_rank = sorted(rows, key=lambda row: row["rank"])
    assert [len(row["rungs"]) for row in by_rank] == [4] + [3] * 2 + [2] * 6 + [1] * 18
    for row in rows:  # each figure is the program's own
        assert (row["options"]["lr"] > 0.5) == ("failure" in row["rungs"][-1])
    assert by_rank[-1]["rungs"][0]["failure"] == "exit code 4: toy: diverged"


def test_the_sensitivity_is_that_of_the_program(tmp_path):
    write_toy(tmp_path)
    text = (tmp_path / "tune.toml").read_text().replace("sh toy.sh", "true {idle}; sh toy.sh")
    (tmp_path / "tune.toml").write_text(text + '\n[[range]]\noption = "idle"\nlow = 0\nhigh = 9\n')
    for seed in (4, 5, 6):
        result = tune(tmp_path, "--json", "--rungs", 1, "--seed", seed, "--output", f"out-{seed}")
        lr, kind, idle = (next(o for o in json.loads(result.stdout)["sensitivity"] if o["option"] == name) for name in ("lr", "kind", "idle"))
        assert lr["p"] < 0.01 and lr["share"] > 0.4 and lr["share"] > lr["chance_share"] and lr["kind"] == "log"
        assert lr["share"] > max(idle["share"], kind["share"]) and -0.5 < idle["chance_low"] < -0.25 and 0.25 < idle["chance_high"] < 0.5
        assert idle["p"] > 0.05  # of these seeds; that p is that of chance is for sensitivity_test.cpp
    assert kind["kind"] == "choice" and kind["rank_correlation"] is None and [level["trials"] for level in kind["levels"]] in ([13, 14], [14, 13])
    rows = read_rows(tmp_path / "out-6/trials.jsonl")
    least = sorted(rows, key=lambda row: row["options"]["lr"])[:9]
    assert lr["levels"][0]["median"] == sorted(row["rungs"][0]["figure"] for row in least)[4]
    assert lr["levels"][0]["from"] == least[0]["options"]["lr"] and lr["levels"][0]["to"] == least[-1]["options"]["lr"]
    assert "rank correlation" in result.stderr and "held.loss" in result.stderr


def test_trials_side_by_side_change_nothing(tmp_path):
    alone, beside = write_toy(tmp_path / "alone"), write_toy(tmp_path / "beside")
    (beside / "toy.sh").write_text(TOY.replace('sleep "$4"', 'case "$5" in *[13579]/run) sleep 0.1;; esac'))  # these end after their followers
    tune(alone)
    tune(beside, "--parallel", 3)
    ended = [row["trial"] for row in read_rows(beside / "out/journal.jsonl")]
    assert ended[:27] != sorted(ended[:27])
    assert results(alone) == results(beside)


@pytest.mark.parametrize("parallel", [1, 3])
def test_a_killed_tuning_ends_the_same(parallel, tmp_path):
    whole, killed = write_toy(tmp_path / "whole", "0.03", parallel=parallel), write_toy(tmp_path / "killed", "0.03", parallel=parallel)
    tune(whole)
    kills = kill_often(killed, 10, 6, random.Random(parallel))
    assert kills >= 7, f"only {kills} kills came in time: the test shows too little"
    finished = [(row["trial"], row["steps"]) for row in read_rows(killed / "out/journal.jsonl")]
    tune(killed)
    after = [(row["trial"], row["steps"]) for row in read_rows(killed / "out/journal.jsonl")]
    assert after[:len(finished)] == finished and len(set(after)) == len(after) == 40  # none was run again
    assert results(killed) == results(whole)
    assert len(calls(killed)) <= 40 + kills * parallel
    assert not [p.name for p in (killed / "out").rglob("*") if ".tmp" in p.name]


def test_failed_trials_may_be_tried_again(tmp_path):
    write_toy(tmp_path)
    (tmp_path / "toy.sh").write_text(TOY.replace("mkdir", 'if [ -e "$PWD/full" ]; then echo "no room" >&2; exit 3; fi\nmkdir', 1))
    (tmp_path / "full").touch()
    result = tune(tmp_path, check=False)
    assert result.returncode == 2 and "expected a trial that does not fail, got 27 that do; the first: exit code 3: no room" in result.stderr
    (tmp_path / "full").unlink()
    assert tune(tmp_path, check=False).returncode == 2  # kept as they were
    tune(tmp_path, "--retry-failed")
    whole = write_toy(tmp_path / "whole")
    tune(whole)
    assert results(tmp_path) == results(whole)
    assert results(tmp_path) == (tune(tmp_path), results(tmp_path))[1]


def test_more_rungs_go_on_and_other_options_do_not(tmp_path):
    whole, more = write_toy(tmp_path / "whole"), write_toy(tmp_path / "more")
    tune(whole)
    tune(more, "--rungs", 2)
    assert len(calls(more)) == 27 + 9
    tune(more)
    assert len(calls(more)) == 27 + 9 + 3 + 1 and results(more) == results(whole)
    result = tune(more, "--seed", 2, check=False)
    assert result.returncode == 2 and "out/journal.jsonl:1: expected the options and the figure with which trial 1 ran" in result.stderr


@pytest.mark.parametrize("option, value, expected", [("eta", 2, "eta: expected 3"), ("min-steps", 1, "min_steps: expected 2"), ("goal", "maximise", 'goal: expected "minimise"')])
def test_another_halving_is_refused(option, value, expected, tmp_path):
    write_toy(tmp_path)
    tune(tmp_path, "--rungs", 2)
    before = (tmp_path / "out/tuning.toml").read_text(), (tmp_path / "out/journal.jsonl").read_text(), results(tmp_path)
    (tmp_path / "tune.toml").write_text("# again\n" + before[0])
    result = tune(tmp_path, f"--{option}", value, check=False)
    assert result.returncode == 2 and f"out/halving.json: {expected}, with which the tuning began, got" in result.stderr
    assert before == ((tmp_path / "out/tuning.toml").read_text(), (tmp_path / "out/journal.jsonl").read_text(), results(tmp_path))


def test_one_at_a_time_and_in_a_folder_of_its_own(tmp_path):
    write_toy(tmp_path, "0.5")
    first = subprocess.Popen([str(BUILD / "metarm"), "tune", "--config", "tune.toml", "--quiet"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    while not (tmp_path / "out/trial-1").exists():
        time.sleep(0.01)
    result = tune(tmp_path, check=False)
    first.kill()
    first.wait()
    assert result.returncode == 2 and "journal.jsonl: expected no other process to use it" in result.stderr
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").touch()
    result = tune(tmp_path, "--output", "mine", check=False)
    assert result.returncode == 2 and "expected a folder that does not exist yet, or a tuning's" in result.stderr


def test_a_figure_that_is_not_there_ends_it_at_once(tmp_path):
    write_toy(tmp_path)
    result = tune(tmp_path, "--figure", "held.los", check=False)
    assert result.returncode == 2 and "expected one of held.loss, held.nothing, which trial 1 has, got held.los" in result.stderr
    assert len(calls(tmp_path)) == 1
    result = tune(write_toy(tmp_path / "null"), "--figure", "held.nothing", check=False)  # what is not finite is null in JSON: it failed
    assert result.returncode == 2 and "the first: held.nothing is not a finite number at step 2" in result.stderr


TRAINING = """output = "out"
command = "COMMAND"
figure = "eval_loss"
goal = "minimise"
trials = 4
eta = 2
rungs = 2
min_steps = 3
parallel = 2
seed = 5

[options]
model = "rm"
pairs = ["pairs.jsonl"]
eval_pairs = ["pairs.jsonl"]
lr_schedule = "constant"
batch_size = 4
threads = 1
dtype = "float32"
MORE
[[range]]
option = "lr"
low = 1e-4
high = 1e-2
scale = "log"

[[range]]
option = "max_grad_norm"
choices = ["0.5", "1"]
"""
MORE = {"train": "", "align": 'responses = ["groups.jsonl"]\nmeta_batch_size = 2\n'}


def write_training(folder, command="train", **replaced):
    save_checkpoint(folder / "rm", "llama", "reward")
    write_data(folder)
    text = TRAINING.replace("COMMAND", command).replace("MORE\n", MORE[command])
    for old, new in replaced.items():
        text = text.replace(old, new)
    (folder / "tune.toml").write_text(text)


@pytest.mark.parametrize("command", ["train", "align"])
def test_checkpoints_are_carried_on(command, tmp_path):
    write_training(tmp_path, command)
    found = json.loads(tune(tmp_path, "--json").stdout)
    out = tmp_path / "out"
    rows = read_rows(out / "trials.jsonl")
    on = [row["trial"] for row in rows if len(row["rungs"]) == 2]
    best_two = sorted(rows, key=lambda row: row["rungs"][0]["figure"])[:2]
    assert sorted(row["trial"] for row in best_two) == on and found["best"]["trial"] in on
    for row in rows:
        folder = out / f"trial-{row['trial']}"
        metrics = read_rows(folder / "run/metrics.jsonl")
        steps = 6 if row["trial"] in on else 3
        assert [m["step"] for m in metrics if "loss" in m] == list(range(1, steps + 1))
        held_out = {m["step"]: m["eval_loss"] for m in metrics if "eval_loss" in m}
        assert [held_out[rung["steps"]] for rung in row["rungs"]] == [rung["figure"] for rung in row["rungs"]]
        assert list(held_out) == [rung["steps"] for rung in row["rungs"]]
        assert (folder / "run/model.safetensors").exists() == (folder / "run/checkpoints").exists() == (row["trial"] in on)
        if row["trial"] in on:
            assert "going on after step 3 of 6" in (folder / "steps-6.log").read_text()
    # The best one's options, as a file, are its training without a pause.
    run_metarm(command, "--config", "out/best.toml", "--quiet", cwd=tmp_path)
    model = lambda folder: (folder / "model.safetensors").read_bytes()
    assert model(out / "best") == model(out / f"trial-{found['best']['trial']}/run")


def test_a_killed_tuning_of_trainings_ends_the_same(tmp_path):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        write_training(tmp_path / name)
    tune(tmp_path / "whole")
    kills = kill_often(tmp_path / "killed", 5, 1, random.Random(3))
    assert kills >= 4, f"only {kills} kills came in time: the test shows too little"
    tune(tmp_path / "killed")
    assert results(tmp_path / "killed") == results(tmp_path / "whole")


def test_other_rows_are_no_failure_of_a_trial(tmp_path):
    write_training(tmp_path)
    tune(tmp_path, "--rungs", 1)
    journal = (tmp_path / "out/journal.jsonl").read_text()
    rows = (tmp_path / "pairs.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "pairs.jsonl").write_text("".join(rows[1:]))
    result = tune(tmp_path, check=False)
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and "run/data.json: " in result.stderr and "--resume goes on with the same rows" in result.stderr
    assert (tmp_path / "out/journal.jsonl").read_text() == journal
    (tmp_path / "pairs.jsonl").write_text("".join(rows))
    tune(tmp_path)


REFUSAL = "data.json: expected to go on with train, which began the run; --resume goes on with the same rows"


@pytest.mark.parametrize("code, words, said", [
    (4, "any words", "trial [1-4]: any words"),
    (2, REFUSAL, f"expected a trial that does not fail, got 4 that do; the first: exit code 2: {REFUSAL}"),
])
def test_a_refused_resumption_is_known_by_its_exit_code(code, words, said, tmp_path):
    write_training(tmp_path)
    launcher = tmp_path / "launcher"
    launcher.write_text(f"#!/bin/sh\necho 'metarm: {words}' >&2\nexit {code}\n")
    launcher.chmod(0o755)
    result = tune(tmp_path, "--launcher", launcher, check=False)
    assert result.returncode == 2 and re.search(said, result.stderr)
    assert (tmp_path / "out/journal.jsonl").exists() == (code != 4), "a refusal is no failure of a trial, to be kept"


def test_a_training_that_diverges_is_the_worst(tmp_path):
    write_training(tmp_path)
    text = (tmp_path / "tune.toml").read_text().replace("low = 1e-4\nhigh = 1e-2\nscale = \"log\"", 'choices = ["1e-3", "1e30"]')
    (tmp_path / "tune.toml").write_text(text)
    tune(tmp_path)
    rows = read_rows(tmp_path / "out/trials.jsonl")
    diverged = [row for row in rows if row["options"]["lr"] == 1e30]
    assert len(diverged) == 2 and {row["rank"] for row in diverged} == {3, 4}
    assert all("failure" in row["rungs"][0] and len(row["rungs"]) == 1 for row in diverged)


def edited(old, new):
    return lambda text: text.replace(old, new)


LR = 'option = "lr"'
BAD = {
    "no TOML": (edited("trials = 4", "trials = "), "tune.toml:5: expected TOML"),
    "an unknown key": (edited("trials = 4", "trails = 4"), r"tune.toml:5: trails: expected a known option, got trails; did you mean trials?"),
    "an unknown table": (edited("[[range]]", "[[rnage]]"), "expected options and [[options]], [[range]], got [[rnage]]"),
    "an unknown option": (edited("batch_size", "batchsize"), "tune.toml:17: batchsize: expected a known option, got batchsize; did you mean batch_size?"),
    "a range of an unknown option": (edited(LR, 'option = "lrr"'), "tune.toml:21: lrr: expected a known option, got lrr; did you mean lr?"),
    "a range outside of the option's": (edited("low = 1e-4\nhigh = 1e-2\nscale = \"log\"", "low = -1\nhigh = -0.5"), "tune.toml:21: lr: expected low and high from 0 to inf, got -1 and -0.5"),
    "a choice of another type": (edited('"0.5", "1"', '"0.5", "one"'), "tune.toml:27: max_grad_norm: expected choices that are numbers, got 'one'"),
    "low above high": (edited("high = 1e-2", "high = 1e-5"), "tune.toml:21: lr: expected low below high"),
    "twice": (edited("batch_size = 4", "lr = 1e-3"), "tune.toml:21: lr: expected it once, got it in [options] too"),
    "what the tuning chooses": (edited("batch_size = 4", "max_steps = 4"), "tune.toml:17: max_steps: expected none: the tuning chooses it"),
    "a patience of its own": (edited("batch_size = 4", "eval_steps = 1\nearly_stopping_patience = 1"), "tune.toml:18: early_stopping_patience: expected none: a trial that ends early has no figure"),
    "a range of it": (edited(LR, 'option = "early_stopping_patience"'), "tune.toml:21: early_stopping_patience: expected none: a trial that ends early"),
    "a command that trains nothing": (edited('command = "train"', 'command = "eval"'), "tune.toml:2: command: expected one of train, align, sft, dpo, ppo, got 'eval'"),
    "a schedule that depends on the steps": (edited('lr_schedule = "constant"\n', ""), "tune.toml:12: lr_schedule: expected constant, got linear"),
    "warm-up": (edited("batch_size = 4", "warmup_ratio = 0.1"), "tune.toml:12: warmup_ratio: expected 0, got 0.1"),
    "too many rungs": (edited("rungs = 2", "rungs = 4"), "tune: --rungs: expected at most 3 for 4 trials of which one in 2 goes on, got 4"),
    "nothing to run": (edited('command = "train"\n', ""), "tune.toml: expected either command, a training of metarm's, or run"),
    "a missing option": (edited('model = "rm"\n', ""), "tune.toml:12: --model: expected a value, got none"),
}


@pytest.mark.parametrize("what", list(BAD))
def test_a_bad_config_says_what_and_where(what, tmp_path):
    edit, message = BAD[what]
    (tmp_path / "tune.toml").write_text(edit(TRAINING.replace("COMMAND", "train").replace("MORE", "")))
    result = tune(tmp_path, check=False)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_page_lists_what_the_tuning_chooses(tmp_path):
    listed = re.search(r"of the top\. (.*) of the command are chosen by the tuning", (ROOT / "docs/methods/tune.md").read_text())[1]
    chosen = re.findall(r"`(\w+)`", listed)
    assert chosen == ["output", "resume", "max_steps", "epochs", "save_steps", "save_total_limit", "json", "quiet"]
    for option in chosen:
        (tmp_path / "tune.toml").write_text(TRAINING.replace("COMMAND", "train").replace("MORE", "").replace("batch_size = 4", f"{option} = 1"))
        assert f"tune.toml:17: {option}: expected none: the tuning chooses it" in tune(tmp_path, check=False).stderr


def test_one_rung_takes_any_schedule(tmp_path):
    write_training(tmp_path)
    text = (tmp_path / "tune.toml").read_text().replace("rungs = 2", "rungs = 1").replace('lr_schedule = "constant"', 'lr_schedule = "cosine"')
    (tmp_path / "tune.toml").write_text(text)
    tune(tmp_path)
    assert [len(row["rungs"]) for row in read_rows(tmp_path / "out/trials.jsonl")] == [1] * 4


BAD_PROGRAMS = {
    "an option that it does not take": (edited("{kind} ", ""), "tune.toml:2: run: expected {kind} in it, since there is a range for it"),
    "a placeholder that is none": (edited("{output}", "{outputs}"), "tune.toml:2: run: expected one of {kind}, {lr}, {output}, {seed}, {steps}, {trial}, got {outputs}"),
    "a range called as a placeholder": (edited('"lr"', '"steps"'), "tune.toml:9: option: expected a name other than output, seed, steps, trial, got 'steps'"),
    "options beside it": (edited("seed = 1\n", "seed = 1\n[options]\nx = 1\n"), "tune.toml:9: x: expected no options beside run"),
}


@pytest.mark.parametrize("what", list(BAD_PROGRAMS))
def test_a_bad_program_says_what_and_where(what, tmp_path):
    edit, message = BAD_PROGRAMS[what]
    (write_toy(tmp_path) / "tune.toml").write_text(edit(CONFIG))
    result = tune(tmp_path, check=False)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert message in result.stderr
