"""Runs of several ranks that fail: one line, a non-zero exit, nothing half-written; and a killed one goes on with another number of ranks."""

import math
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from families import save_checkpoint
from programs import ranks_command, ranks_environment, read_rows, run_metarm, run_ranks, write_rows
from random_rows import write_data
from safetensors.torch import load_file

pytestmark = pytest.mark.skipif(shutil.which("mpirun") is None, reason="mpirun is not installed: runs of several ranks are not tested")


def own_lines(result):
    """What metarm itself says; mpirun adds a notice of its own."""
    return [line for line in result.stderr.splitlines() if line.startswith("metarm:")]


def rank_processes(launcher):
    """Processes of metarm below mpirun."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, rest = path.read_text().rsplit(")", 1)
        except (FileNotFoundError, ProcessLookupError):
            continue
        if name.endswith("(metarm") and rest.split()[1] == str(launcher.pid):
            found.append(int(path.parent.name))
    return sorted(found)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def kill_a_rank(command, folder, rank, done):
    """Starts three ranks and kills one as soon as `done()` holds. Returns exit code and stderr."""
    process = subprocess.Popen(ranks_command(3, "metarm", *command), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=ranks_environment())
    deadline = time.monotonic() + 120
    while process.poll() is None and not done():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    ranks = rank_processes(process)
    assert len(ranks) == 3, "the run ended before its rank was killed"
    os.kill(ranks[rank], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    while any(is_running(pid) for pid in ranks):  # mpirun has told them to end
        assert time.monotonic() < deadline, "a rank outlives its run"
        time.sleep(0.01)
    return process.returncode, errors


COMMANDS = {
    "train": (["train", "--lr", "1e-3"], 1e-3),
    "align, Adam's direction": (["align", "--responses", "groups.jsonl", "--meta-scale", "adam", "--meta-lr", "1e-4", "--meta-batch-size", "2", "--optimizer", "sgd", "--lr", "0.02"], 1e-3),
}
COMMON = ["--model", "rm", "--pairs", "pairs.jsonl", "--dtype", "float32", "--batch-size", "4", "--max-steps", "60", "--save-steps", "3", "--threads", "1", "--quiet"]


def distance(a, b):
    return math.sqrt(sum((a[name].double() - b[name].double()).square().sum().item() for name in b))


@pytest.mark.parametrize("what", list(COMMANDS))
def test_a_killed_rank_ends_all_and_the_run_goes_on_with_other_ranks(what, tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    write_data(tmp_path)
    command, tolerance = COMMANDS[what]
    command = [*command, *COMMON]
    run_metarm(*command, "--output", "whole", cwd=tmp_path)
    killed = tmp_path / "killed"
    checkpoints = lambda: [int(p.name[5:]) for p in (killed / "checkpoints").glob("step-*") if p.name[5:].isdigit()]
    for rank, least in ((2, 6), (0, 24)):
        code, errors = kill_a_rank([*command, "--output", "killed", "--resume"], tmp_path, rank, lambda: max(checkpoints(), default=0) >= least)
        assert code != 0
        assert re.search(r"exited on signal 9 \(Killed\)", errors), errors
        assert not (killed / "config.json").exists()
    reached = max(checkpoints())
    run_ranks(2, *command, "--output", "killed", "--resume", cwd=tmp_path)
    assert 24 <= reached < 60
    start, whole = load_file(tmp_path / "rm" / "model.safetensors"), load_file(tmp_path / "whole" / "model.safetensors")
    assert distance(load_file(killed / "model.safetensors"), whole) < tolerance * distance(whole, start)
    assert [row["step"] for row in read_rows(killed / "metrics.jsonl")] == list(range(1, 61))
    assert not [p.name for p in killed.rglob("*") if ".tmp" in p.name]


def test_a_checkpoint_is_one_ranks_too(tmp_path):
    """Four ranks stop after a checkpoint; one goes on from it to the weights of an uninterrupted run of four."""
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    write_data(tmp_path)
    command = ["train", "--lr", "1e-3", *COMMON]
    run_ranks(4, *command, "--output", "run", cwd=tmp_path)
    whole = load_file(tmp_path / "run" / "model.safetensors")
    (tmp_path / "run" / "config.json").unlink()
    run_metarm(*command, "--output", "run", "--resume", cwd=tmp_path)
    state = load_file(tmp_path / "run" / "checkpoints" / "step-57" / "training_state.safetensors")
    start, resumed = load_file(tmp_path / "rm" / "model.safetensors"), load_file(tmp_path / "run" / "model.safetensors")
    assert sum(t.numel() for t in whole.values()) == state["adamw.first_moment"].numel()
    assert state["adamw.second_moment"].min() > 0 or (state["adamw.second_moment"] > 0).float().mean() > 0.5
    assert distance(resumed, whole) < 1e-3 * distance(whole, start)


ERRORS = {
    "a bad row": (["train", "--model", "rm", "--pairs", "bad.jsonl", "--output", "out"], 2, r"bad.jsonl:2: "),
    "an unknown flag": (["train", "--modle", "rm"], 2, "did you mean --model"),
    "an output that is there": (["train", "--model", "rm", "--pairs", "pairs.jsonl", "--output", "rm"], 2, "--output rm: expected a folder that does not exist"),
    "a bad row in score": (["score", "--model", "rm", "--input", "bad.jsonl", "--output", "out.jsonl"], 2, r"bad.jsonl:2: "),
    "an output that cannot be written, on the first rank alone": (["score", "--model", "rm", "--input", "pairs.jsonl", "--output", "no/such/folder.jsonl"], 3, "no/such/folder"),
    "a command for one process": (["convert", "--input", "model.gguf", "--output", "out"], 2, "convert: expected one process, got 3 ranks"),
}


@pytest.mark.parametrize("what", list(ERRORS))
def test_an_error_is_one_line_and_ends_all(what, tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    write_data(tmp_path)
    write_rows(tmp_path / "bad.jsonl", [{"prompt": "a", "chosen": "b", "rejected": "c"}, {"prompt": "a", "chosen": None, "rejected": "c"}])
    arguments, code, message = ERRORS[what]
    result = run_ranks(3, *arguments, check=False, cwd=tmp_path)
    assert result.returncode == code, result.stderr
    assert len(own_lines(result)) == 1 and re.search(message, own_lines(result)[0]), result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.jsonl").exists()


def test_an_error_of_the_first_rank_in_a_training_ends_all(tmp_path):
    """A checkpoint that cannot be written, while the others wait for the next step's sums."""
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    write_data(tmp_path)
    command = ["train", *COMMON, "--output", "run"]
    run_ranks(3, *command, cwd=tmp_path)
    (tmp_path / "run" / "config.json").unlink()
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    (tmp_path / "run" / "checkpoints").write_text("in the way")
    result = run_ranks(3, *command, "--resume", check=False, cwd=tmp_path)
    assert result.returncode == 3, result.stderr
    assert len(own_lines(result)) == 1 and "checkpoints" in own_lines(result)[0], result.stderr
    assert not (tmp_path / "run" / "config.json").exists()
