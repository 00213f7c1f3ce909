"""A server killed at random moments under load, 50 times: no acknowledged row is lost, no half version served. Full disks and damaged logs."""

import json
import random
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException

import pytest
from families import save_checkpoint
from programs import write_rows
from reward_server import RewardServer

KILLS = 50
KEY, SCORE_KEY = "admin-0123456789abcdef", "score-0123456789abcdef"
ROWS = [{"prompt": f"the inn {i}", "responses": [" nine", " then there"]} for i in range(4)]


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("killed"), random.Random(1)
    save_checkpoint(folder / "rm", "llama", "reward", 0)
    for name, count in (("pairs", 20), ("held_out", 30)):
        write_rows(folder / f"{name}.jsonl", [{"prompt": f"the inn {rng.random()}", "chosen": f" nine {i}", "rejected": f" then {i}"} for i in range(count)])
    (folder / "align.toml").write_text("max_steps = 1\nbatch_size = 2\nmeta_batch_size = 2\nlr = 1e-4\n")
    (folder / "keys").write_text(f"admin {KEY}\nscore {SCORE_KEY}\n")
    return folder


def serve(setting, state, *options):
    return RewardServer("--model", setting / "rm", "--state", state, "--pairs", setting / "pairs.jsonl", "--eval-pairs", setting / "held_out.jsonl", "--align", setting / "align.toml",
                        "--api-keys", setting / "keys", "--accuracy-margin", 0.9, "--align-groups", 10, "--log-rows-per-s", 1e6, *options)


def logged(state):
    with sqlite3.connect(f"file:{state}/log.sqlite?mode=ro", uri=True) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return database.execute("SELECT COUNT(*) FROM responses").fetchone()[0]


class Load:
    """Clients that ask until the end of the `with`: every answer comes, unless the server has been killed, and is whole."""

    def __init__(self, server, clients=3):
        self.server, self.number, self.ending, self.killed = server, 0, False, False
        self.pool = ThreadPoolExecutor(clients)
        self.clients = [self.pool.submit(self.ask, index) for index in range(clients)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ending = True
        self.pool.shutdown()
        for client in self.clients:
            client.result()

    def ask(self, index):
        while not self.ending:
            self.number += 1
            rows = [{"prompt": f"the inn {index} {self.number}", "responses": [" nine", " then there"]}]
            try:
                answer = self.server.post("/v1/rewards", {"rows": rows}, KEY)
            except (OSError, HTTPException):  # none, or one that is seen to be cut off
                if not self.killed:
                    raise
                return
            assert answer.status == 200 and len(answer.json["rows"][0]["rewards"]) == 2

    def kill(self):
        self.killed = True
        self.server.kill()


def align(server):
    """Until a new version is served; gives the seconds that it took on this machine, as busy as it is."""
    begin, before = time.monotonic(), server.send("/v1/versions", key=KEY).json["current"]
    while server.send("/v1/versions", key=KEY).json["current"] == before:
        assert time.monotonic() - begin < 120, server.send("/v1/status", key=KEY).text
        server.post("/v1/align", {}, KEY)
        time.sleep(0.02)
    return time.monotonic() - begin


def alignment_seconds(setting, state):
    """Of one that is not killed, under the same load."""
    with serve(setting, state) as server:
        server.post("/v1/rewards", {"rows": [{"prompt": f"{i} inn", "responses": [" nine", " ten"]} for i in range(20)]}, KEY)
        with Load(server):
            return align(server)


def test_kills_under_load_lose_nothing_that_was_acknowledged(setting, tmp_path):
    rng, acknowledged, served = random.Random(0), 0, {}
    takes = alignment_seconds(setting, tmp_path / "state")
    for kill in range(KILLS):
        server = serve(setting, tmp_path / "state").__enter__()
        kept = logged(tmp_path / "state")
        assert kept >= acknowledged, f"after kill {kill}"
        current = server.send("/v1/versions", key=KEY).json["current"]
        rewards = [row["rewards"] for row in server.post("/v1/rewards", {"rows": ROWS}, KEY).json["rows"]]
        served.setdefault(current, rewards)
        assert rewards == [pytest.approx(known, abs=1e-6) for known in served[current]], "a version gives what it gave"
        with Load(server) as load:
            if kill % 9 == 0:  # killed as soon as the version is there
                align(server)
            elif kill % 3 == 0:  # killed before, in or after an alignment
                server.post("/v1/align", {}, KEY)
                time.sleep(rng.uniform(0, 1.5 * takes))
            else:
                time.sleep(rng.uniform(0, 0.2))
            acknowledged = kept + server.send("/v1/status", key=KEY).json["log"]["acknowledged"]
            load.kill()
    with serve(setting, tmp_path / "state") as server:
        assert logged(tmp_path / "state") >= acknowledged > 100
        versions = server.send("/v1/versions", key=KEY).json["versions"]
        assert sum(version["admitted"] for version in versions) >= 8, "the start, the one timed, and those waited for"
        for version in versions:
            assert server.post("/v1/rollback", {"version": version["number"]}, KEY).status == (200 if version["admitted"] else 422)
    assert not [path for path in (tmp_path / "state").rglob("*.tmp*")]


def test_a_full_disk_stops_the_log_and_not_the_server(setting, tmp_path):
    server = serve(setting, tmp_path / "state")
    # No file may grow beyond 300 KiB: writes fail as they do on a full disk.
    server.command = ["bash", "-c", "trap '' XFSZ; ulimit -f 300; exec \"$@\"", "bash", *server.command]
    with server:
        deadline, said = time.monotonic() + 60, ""
        while not said and time.monotonic() < deadline:
            text = " ".join(["heather"] * 200) + str(time.monotonic())
            assert server.post("/v1/rewards", {"rows": [{"prompt": text, "responses": [" nine", " ten"]}]}, KEY).status == 200
            said = server.send("/v1/status", key=KEY).json["log"]["error"]
        assert said and "\n" not in said and str(tmp_path) in said
        seen = server.send("/v1/status", key=SCORE_KEY)
        assert seen.json["log"]["error"] and str(tmp_path) not in seen.text
        counts = server.send("/metrics", key=SCORE_KEY).text
        assert "\nmetarm_log_error 1\n" in counts and str(tmp_path) not in counts
        assert server.post("/v1/rewards", {"rows": ROWS}, KEY).status == 200
    assert logged(tmp_path / "state") > 0


def test_a_damaged_log_is_put_aside(setting, tmp_path):
    with serve(setting, tmp_path / "state") as server:
        server.post("/v1/rewards", {"rows": ROWS}, KEY)
    path = tmp_path / "state/log.sqlite"
    damaged = bytearray(path.read_bytes())
    damaged[100:4000] = random.Random(2).randbytes(3900)
    path.write_bytes(damaged)
    with serve(setting, tmp_path / "state") as server:
        assert server.post("/v1/rewards", {"rows": ROWS}, KEY).status == 200
    assert "damaged-1" in server.log and (tmp_path / "state/log.sqlite.damaged-1").read_bytes() == bytes(damaged)
    assert logged(tmp_path / "state") == 8


def test_events_survive(setting, tmp_path):
    with serve(setting, tmp_path / "state") as server:
        for _ in range(3):
            server.post("/v1/rewards", {"rows": [{"prompt": f"{i} inn", "responses": [" nine", " ten"]} for i in range(12)]}, KEY)
        assert server.post("/v1/align", {}, KEY).status == 202
        while server.send("/v1/status", key=KEY).json["alignment"]["state"] != "idle" or not server.send("/v1/status", key=KEY).json["events"]:
            time.sleep(0.05)
        events = server.send("/v1/status", key=KEY).json["events"]
    with serve(setting, tmp_path / "state") as server:
        assert server.send("/v1/status", key=KEY).json["events"] == events
    assert [json.loads(line) for line in (tmp_path / "state/events.jsonl").read_text().splitlines()] == events
