"""Runs a contender as its own process, so that its time and its memory are its own."""

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

TAIL_LINES = 30


class Failed(Exception):
    """A contender that did not run; its message shows the end of what it printed."""


@dataclass(frozen=True)
class Finished:
    seconds: float
    peak_memory_bytes: int
    stdout: str


def environment(threads):
    """Everyone gets as many threads, no GPU and no network."""
    own = {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore",
           "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return os.environ | own


def run(command, folder, threads):
    """The peak is the largest resident set of the process or of a child of it, as the kernel counted it."""
    out, err = Path(folder) / "stdout", Path(folder) / "stderr"
    begin = time.perf_counter()
    with open(out, "wb") as out_file, open(err, "wb") as err_file:
        process = subprocess.Popen([str(part) for part in command], stdout=out_file, stderr=err_file, env=environment(threads))
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - begin
    if process.returncode != 0:
        tail = err.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        raise Failed("\n".join([f"exit {process.returncode}: {' '.join(map(str, command))}", *tail]))
    return Finished(seconds, usage.ru_maxrss * 1024, out.read_text())


def run_python(python, script, job, folder, threads):
    """A contender in Python (job.py): returns its result and the peak memory."""
    asked, answer = Path(folder) / "job.json", Path(folder) / "result.json"
    asked.write_text(json.dumps(job))
    finished = run([python, Path(__file__).parent / script, asked, answer], folder, threads)
    return json.loads(answer.read_text()) | {"peak_memory_bytes": finished.peak_memory_bytes}
