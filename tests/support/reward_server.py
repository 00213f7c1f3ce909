"""`metarm serve` as a process, and requests to it."""

import json
import signal
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass

from programs import BUILD


@dataclass
class Answer:
    status: int
    headers: dict
    text: str

    @property
    def json(self):
        return json.loads(self.text)


class RewardServer:
    """Serves from a free port until the end of the `with`, when it must end well on SIGTERM."""

    def __init__(self, *arguments, cafile=None):
        keeps = [] if {"--state", "--no-log"} & set(arguments) else ["--no-log"]
        self.command = [str(BUILD / "metarm"), "serve", "--port", "0", "--json", "--threads", "1", *keeps, *map(str, arguments)]
        self.tls = ssl.create_default_context(cafile=cafile) if cafile else None

    def __enter__(self):
        self.errors = tempfile.TemporaryFile("w+")  # a pipe would hold so many lines only
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=self.errors, text=True)
        line = self.process.stdout.readline()
        assert line, self.read_log()
        self.state = json.loads(line)
        self.url = self.state["url"]
        return self

    def __exit__(self, *_):
        assert self.stop() == 0

    def stop(self):
        """Its exit code; afterwards `log` holds what it wrote."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=60)
        self.log = self.read_log()
        return self.process.returncode

    def kill(self):
        """As a power cut would, as far as this process goes."""
        self.process.kill()
        self.process.communicate(timeout=60)

    def read_log(self):
        self.errors.seek(0)
        return self.errors.read()

    def send(self, path, data=None, key=None, **headers):
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {}) | {name.replace("_", "-"): str(value) for name, value in headers.items()}
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers), timeout=60, context=self.tls) as answer:
                return Answer(answer.status, dict(answer.headers), answer.read().decode())
        except urllib.error.HTTPError as error:
            return Answer(error.code, dict(error.headers), error.read().decode())

    def post(self, path, body, key=None, **headers):
        return self.send(path, json.dumps(body).encode(), key, **headers)

    def posted(self, path, body):
        answer = self.post(path, body)
        assert answer.status == 200, answer
        return answer.json

    def counts(self, key=None):
        """The numbers of /metrics that have no labels, and those of the first model."""
        lines = [line.rsplit(" ", 1) for line in self.send("/metrics", key=key).text.splitlines() if not line.startswith("#")]
        return {name.split("{")[0]: float(value) for name, value in reversed(lines)}
