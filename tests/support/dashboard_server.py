"""A server with the page of `metarm serve` and made-up answers, for states that a real one takes long to reach."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

START = 1_800_000_000.0


def stream(evidence, now, before):
    return {"reference": 256, "window": 128, "period": 640, "reference_mean": before, "window_mean": now, "distance": 0.217, "evidence": evidence}


def make_history(points, step_s=5):
    """Evidence that rises, differences that shrink; nothing known of the shift in the first tenth."""
    known = lambda i, value: None if i < points // 10 else value
    return {
        "time": [START + step_s * i for i in range(points)],
        "evidence_differences": [known(i, 2.6 * (i / points) ** 2 - 0.3) for i in range(points)],
        "evidence_rewards": [known(i, 0.4 * (i % 17) / 17 - 0.6) for i in range(points)],
        "difference_mean": [known(i, 0.9 - 0.4 * i / points + 0.03 * (i % 5)) for i in range(points)],
        "reward_mean": [known(i, 0.2 + 0.5 * i / points - 0.05 * (i % 7)) for i in range(points)],
        "near_ties": [known(i, 0.05 + 0.2 * i / points) for i in range(points)],
        "queue_rows": [(i * 7) % 23 for i in range(points)],
        "rows_per_s": [80 + (i * 13) % 41 for i in range(points)],
        "tokens_per_s": [9000 + (i * 1301) % 4100 for i in range(points)],
    }


def make_status(points=240, alarm=False):
    return {
        "time": START + 5 * points,
        "started": START,
        "models": [
            {"name": "rm", "version": "5f0c3c9ad61c7e02", "rows": 123_456, "tokens": 12_345_678, "loaded_at": START + 60},
            {"name": "other", "version": "91b2aa0cd7713e5f", "rows": 44, "tokens": 555, "loaded_at": START},
        ],
        "queue": {"rows": 17, "tokens": 1700, "batches": 4321, "tree_tokens": 9_876_543, "refused": 7, "late": 3, "abandoned": 2},
        "log": {"rows": 100_000, "bytes": 734_003_200, "offered": 123_000, "sampled_out": 20_000, "dropped": 5, "acknowledged": 102_990, "removed": 2990, "unsplit": 12, "error": "", "redacted": False},
        "shift": {
            "alarm": alarm, "threshold": 2.301, "differences": stream(2.31 if alarm else 0.812, 0.611, 0.943), "rewards": stream(-0.25, 0.702, 0.198),
            "near_ties": {"reference": 0.061, "window": 0.243}, "periods": 1,
        },
        "alignment": {"enabled": True, "state": "idle", "reason": "", "since": START, "version": 2, "groups": 40, "groups_wanted": 256},
        "events": [
            {"time": START + 300, "event": "alarm", "version": 0, "text": "the rewards of what is scored have shifted since the last alignment"},
            {"time": START + 301, "event": "started", "version": 1, "text": "aligning version 1 with 204 response groups, 52 others held out"},
            {"time": START + 500, "event": "admitted", "version": 2, "text": "accuracy has not fallen by more than 0.01; discrimination has not fallen"},
            {"time": START + 900, "event": "rejected", "version": 3, "text": "rejected: the lower bound of the change of accuracy is -0.034, below -0.01"},
        ],
        "history": make_history(points),
    }


def make_versions():
    version = {"created": "2027-01-15T08:00:00Z", "scale": 1.0, "offset": 0.0, "measures": {}}
    accuracy = {"pairs": 300, "gained": 3, "lost": 2, "change": 0.0033, "lower": -0.0092}
    discrimination = {"groups": 52, "served": 0.611, "candidate": 0.874, "upper": 0.352}
    return {
        "current": 2,
        "versions": [
            version | {"number": 1, "id": "0a1b2c3d4e5f6071", "parent": 0, "admitted": True, "reasons": ["the model that the server was started with"]},
            version | {"number": 2, "id": "5f0c3c9ad61c7e02", "parent": 1, "admitted": True, "scale": 1.08, "offset": -0.12,
                       "reasons": ["accuracy has not fallen by more than 0.01", "discrimination has not fallen"], "measures": {"accuracy": accuracy, "discrimination": discrimination}},
            version | {"number": 3, "id": "c0ffee0123456789", "parent": 2, "admitted": False,
                       "reasons": ["rejected: the lower bound of the change of accuracy is -0.034, below -0.01"], "measures": {"accuracy": accuracy | {"lost": 14, "change": -0.0367, "lower": -0.034}}},
            version | {"number": 4, "id": "4444444444444444", "parent": 2, "admitted": True, "reasons": ["admitted, and rolled back since"]},
        ],
    }


def make_samples(count=12):
    prompt = [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": "Which way to the inn?"}]
    return {
        "samples": [
            {"time": START + 1000 - i, "prompt": prompt if i % 3 == 0 else f"Question {i}?", "response": f" Answer {i}, " + "and so on " * (150 if i == 4 else 3),
             "reward": round(((i * 37) % 11 - 5) / 4, 3), "version": "5f0c3c9ad61c7e02", "step": i if i % 2 else None}
            for i in range(count)
        ]
    }


class DashboardServer:
    """Answers from `answers`, by path: JSON, or (status, JSON). `requests` has (method, path, key, body) of all that came."""

    def __init__(self, page, headers, keys=None):
        self.page, self.headers, self.keys = page, headers, keys or {}
        self.answers = {"/v1/status": make_status(), "/v1/versions": make_versions(), "/v1/samples": make_samples(),
                        "/v1/align": (202, {"state": "running"}), "/v1/rollback": {"version": 1, "id": "0a1b2c3d4e5f6071"}}
        self.requests, self.port, self.server = [], 0, None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        """At the same port each time."""
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                owner.answer(self, None)

            def do_POST(self):
                owner.answer(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}/"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
        self.server = None

    def count(self, path):
        return sum(request[1] == path for request in self.requests)

    def refusal(self, method, path, key):
        """By the rules of metarm/http."""
        role = self.keys.get(key)
        error = lambda status, message: (status, {"error": {"code": status, "message": message}})
        if self.keys and role is None:
            return error(401, "Authorization: expected a known key, as `Bearer KEY` or as the password of `Basic`, got none")
        if method == "POST" and not self.keys:
            return error(403, "expected a server with --api-keys: without, nobody may change what is served")
        if self.keys and role != "admin" and (method == "POST" or path == "/v1/samples"):
            return error(403, "expected a key of the role admin, got one of the role score")
        return None

    def answer(self, handler, body):
        key = (handler.headers["Authorization"] or "").removeprefix("Bearer ")
        self.requests.append((handler.command, handler.path, key, body))
        if handler.path == "/":
            return self.send(handler, 200, self.page, self.headers)
        answer = self.refusal(handler.command, handler.path, key) or self.answers.get(handler.path, (404, {}))
        status, content = answer if isinstance(answer, tuple) else (200, answer)
        self.send(handler, status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    @staticmethod
    def send(handler, status, content, headers):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)
