"""The servers that are measured, as processes, and clients that ask them."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import process

HERE = Path(__file__).parent
METARM, PLAIN = "metarm serve", "transformers behind FastAPI"
STOP_S = 120


class Server:
    def __init__(self, name, running, url):
        self.name, self.running, self.url = name, running, url

    def memory_bytes(self, field="VmRSS"):
        """Of the process: VmRSS now, VmHWM at most."""
        lines = Path(f"/proc/{self.running.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(field + ":")).split()[1]) * 1024


def command_of(name, workbench, batch_rows, options):
    if name == METARM:
        return [workbench.metarm, "serve", "--model", workbench.shared["reward_model"], "--port", 0, "--json", "--quiet", "--device", "cpu", "--dtype", "float32",
                "--threads", workbench.threads, "--max-length", 0, *options]
    job = workbench.folder / "plain_server.json"
    job.write_text(json.dumps({"reward_model": workbench.shared["reward_model"], "threads": workbench.threads, "batch_rows": batch_rows}))
    return [sys.executable, HERE / "plain_server.py", job]


@contextmanager
def serving(name, workbench, batch_rows=None, options=()):
    """Until the end of the `with`, in a folder of its own."""
    folder = workbench.folder / name.split()[0]
    folder.mkdir(exist_ok=True)
    command = [str(part) for part in command_of(name, workbench, batch_rows, options)]
    with open(folder / "stderr", "w+b") as errors:
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=process.environment(workbench.threads), cwd=folder)
        try:
            line = running.stdout.readline()
            if not line:
                errors.seek(0)
                raise process.Failed(f"{name} ended before it listened:\n" + errors.read().decode(errors="replace")[-2000:])
            yield Server(name, running, json.loads(line)["url"])
        finally:
            running.send_signal(signal.SIGTERM)
            try:
                running.communicate(timeout=STOP_S)
            except subprocess.TimeoutExpired:
                running.kill()
                running.communicate()


def client_job(server, requests, clients, **more):
    return {"url": server.url, "requests": requests, "clients": clients} | more


def ask(workbench, server, requests, clients, **more):
    """What each request got, and how long it took."""
    return process.run_python(sys.executable, "serve/client.py", client_job(server, requests, clients, **more), workbench.new_folder(), 1)


class Asking:
    """Clients in the background."""

    def __init__(self, running, result):
        self.poll, self.result = running.poll, result

    def answer(self):
        """As of `ask`, once they have ended."""
        return json.loads(self.result.read_text())


@contextmanager
def asking(workbench, server, requests, clients, seconds, **more):
    """Goes on in the background until `seconds` have passed; the end of the `with` waits for it."""
    folder = workbench.new_folder()
    (folder / "job.json").write_text(json.dumps(client_job(server, requests, clients, seconds=seconds, **more)))
    with open(folder / "stderr", "w+b") as errors:
        command = [sys.executable, HERE / "client.py", folder / "job.json", folder / "result.json"]
        running = subprocess.Popen(list(map(str, command)), stderr=errors, env=os.environ | process.environment(1))
        try:
            yield Asking(running, folder / "result.json")
            running.wait(timeout=seconds + STOP_S)
        finally:
            if running.poll() is None:
                running.kill()
                running.wait()
        if running.returncode != 0:
            errors.seek(0)
            raise process.Failed(errors.read().decode(errors="replace")[-2000:])
