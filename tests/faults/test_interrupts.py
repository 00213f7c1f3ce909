"""What is left behind when a program is interrupted, or killed while it writes its result."""

import os
import resource
import signal
import subprocess
import time

import pytest
from families import save_checkpoint
from programs import BUILD, run_metarm, write_rows

PAIRS = [{"prompt": "What is 2 + 2?", "chosen": " It is 4.", "rejected": " It is 5."}, {"prompt": "Name a colour.", "chosen": " Green.", "rejected": " Seven."}]


def wait_for(found):
    deadline = time.monotonic() + 60
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def heed_signals():  # whoever started the tests may have had them ignored
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_DFL)


def start_score(folder, preexec_fn=heed_signals):
    """`score` of a pipe that nobody writes to: it has begun its output, and waits."""
    save_checkpoint(folder / "rm", "llama", "reward")
    os.mkfifo(folder / "pipe.jsonl")
    process = subprocess.Popen([str(BUILD / "metarm"), "score", "--model", "rm", "--input", "pipe.jsonl", "--output", "out.jsonl"], cwd=folder, preexec_fn=preexec_fn)
    wait_for(lambda: list(folder.glob("out.jsonl*")))
    return process


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_program_and_removes_what_is_unfinished(sent, tmp_path):
    process = start_score(tmp_path)
    process.send_signal(sent)
    assert process.wait(timeout=60) == -sent
    assert not list(tmp_path.glob("out.jsonl*"))


def test_an_ignored_signal_stays_ignored(tmp_path):
    process = start_score(tmp_path, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.terminate()
    assert process.wait(timeout=60) == -signal.SIGTERM


def limit_file_size():  # a write beyond it kills the program there
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@pytest.mark.parametrize("more", [[], ["--lora-rank", "64"]])
def test_killed_while_the_result_is_written_then_resumed(more, tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    write_rows(tmp_path / "pairs.jsonl", PAIRS)
    command = ["train", "--model", "rm", "--pairs", "pairs.jsonl", "--max-steps", "2", "--save-steps", "0", "--dtype", "float32", "--threads", "1", *more]
    killed = subprocess.run([str(BUILD / "metarm"), *command, "--output", "run"], cwd=tmp_path, capture_output=True, preexec_fn=limit_file_size)
    run = tmp_path / "run"
    assert killed.returncode == -signal.SIGXFSZ, killed.stderr
    assert list(run.glob("*.tmp-*")), "the kill came too early: the test shows too little"
    run_metarm(*command, "--output", "run", "--resume", cwd=tmp_path)
    assert not list(run.rglob("*.tmp-*"))
    run_metarm(*command, "--output", "whole", cwd=tmp_path)
    weights = "adapter_model.safetensors" if more else "model.safetensors"
    assert (run / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()
