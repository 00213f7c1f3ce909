"""Clients that ask a server for rewards, each over a connection of its own, the next request when the last one is answered.

`client.py JOB.json RESULT.json`: `requests` are lists of texts. Each is asked once, or with `seconds` again and again until so long has passed.
Where a server has closed a connection that was quiet, the request is sent again over a new one, and counted.
"""

import http.client
import itertools
import json
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

sys.path.append(str(Path(__file__).resolve().parents[1]))

from job import run_job  # noqa: E402

TIMEOUT_S = 900
HEADERS = {"Content-Type": "application/json"}
CLOSED = (ConnectionError, http.client.RemoteDisconnected)


class Load:
    def __init__(self, job):
        self.headers = HEADERS | ({"Authorization": f"Bearer {job['key']}"} if "key" in job else {})
        self.address = urlsplit(job["url"]).netloc
        self.bodies = [json.dumps({"query": texts}) for texts in job["requests"]]
        self.seconds = job.get("seconds")
        self.numbers = itertools.cycle(range(len(self.bodies))) if self.seconds else iter(range(len(self.bodies)))
        self.lock = threading.Lock()
        self.latencies, self.rewards, self.errors, self.reconnections = [], [None] * len(self.bodies), [], 0

    def next_number(self):
        with self.lock:
            if self.errors or (self.seconds and time.perf_counter() - self.begin > self.seconds):
                return None
            return next(self.numbers, None)

    def send(self, connection, number):
        connection.request("POST", "/get_reward", self.bodies[number], self.headers)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def ask(self, connection, number):
        begin = time.perf_counter()
        try:
            status, text = self.send(connection, number)
        except CLOSED:
            connection.close()
            with self.lock:
                self.reconnections += 1
            status, text = self.send(connection, number)
        seconds = time.perf_counter() - begin
        if status != 200:
            raise ValueError(f"expected status 200, got {status}: {text[:300]!r}")
        self.latencies.append(seconds)
        self.rewards[number] = json.loads(text)["rewards"]

    def client(self):
        connection = http.client.HTTPConnection(self.address, timeout=TIMEOUT_S)
        try:
            while (number := self.next_number()) is not None:
                self.ask(connection, number)
        except (OSError, ValueError, http.client.HTTPException) as error:
            self.errors.append(repr(error))
        finally:
            connection.close()

    def run(self, clients):
        threads = [threading.Thread(target=self.client) for _ in range(clients)]
        self.begin = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - self.begin


def main(job):
    load = Load(job)
    seconds = load.run(job["clients"])
    if load.errors:
        raise SystemExit(f"client: {load.errors[0]}")
    return {"seconds": seconds, "latencies": load.latencies, "rewards": load.rewards, "reconnections": load.reconnections}


if __name__ == "__main__":
    run_job(main)
