"""What a swap of versions under load costs the requests: the same load with and without swaps, alternating."""

import json
import time
import urllib.request
from statistics import median

import cells
import process
import servers

CLIENTS = 8
EVERY_S = 4.0  # a swap, under load
KEYS = {"score": "score-key-of-the-benchmark", "admin": "admin-key-of-the-benchmark"}
# Nothing is learned: the guard admits the version, and what a swap costs does not depend on the weights.
ALIGN = "max_steps = 2\nbatch_size = 4\nmeta_batch_size = 4\nlr = 0.0\nsave_steps = 0\n"
PATIENCE_S = 300
LOGGED_GROUPS = 16  # that the alignment draws from


def server_options(workbench):
    """A server that aligns itself when it is told to, and admits what comes of it."""
    folder = workbench.folder / "swaps"
    folder.mkdir()
    keys, align, pairs = folder / "keys", folder / "align.toml", workbench.shared["pairs"]
    keys.write_text("".join(f"{role} {key}\n" for role, key in KEYS.items()))
    keys.chmod(0o600)
    align.write_text(ALIGN)
    return ["--api-keys", keys, "--state", folder / "state", "--pairs", pairs, "--eval-pairs", pairs, "--align", align, "--align-groups", 10, "--accuracy-margin", 1, "--alarm-rate", 1e-9]


def call(server, path, body=None):
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEYS['admin']}"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(server.url + path, data, headers), timeout=PATIENCE_S) as answer:
        return json.load(answer)


def current_version(server):
    return call(server, "/v1/versions")["current"]


def make_second_version(server, groups):
    call(server, "/v1/rewards", {"rows": [{"prompt": f"{number}. ", "responses": texts[:2]} for number, texts in enumerate(groups[:LOGGED_GROUPS])]})
    call(server, "/v1/align", {})
    begin = time.monotonic()
    while (version := current_version(server)) == 1:
        events = call(server, "/v1/status")["events"]
        if time.monotonic() - begin > PATIENCE_S or any(event["event"] in ("failed", "rejected") for event in events):
            raise process.Failed(f"no second version was admitted: {events}")
        time.sleep(0.5)
    return version


def load(workbench, server, requests, seconds, versions=()):
    """Latencies and rewards under load; with versions they take turns."""
    swaps = 0
    with servers.asking(workbench, server, requests, CLIENTS, seconds, key=KEYS["score"]) as asking:
        next_swap = time.monotonic() + min(EVERY_S, seconds / 4)
        while asking.poll() is None:
            if versions and time.monotonic() > next_swap:
                call(server, "/v1/rollback", {"version": versions[swaps % len(versions)]})
                swaps += 1
                next_swap += min(EVERY_S, seconds / 4)
            time.sleep(0.02)
    answer = asking.answer()
    return {"swaps": swaps, "requests": len(answer["latencies"]), "p99_s": cells.percentile(answer["latencies"], 99), "max_s": max(answer["latencies"]),
            "rewards": answer["rewards"]}


def check_rewards(found, of_versions):
    """Each answer is that of one version or the other."""
    for number, rewards in enumerate(found):
        if rewards is not None and all(max(abs(a - b) for a, b in zip(rewards, known[number], strict=True)) > 1e-4 for known in of_versions):
            raise process.Failed(f"request {number} got {rewards}, neither version's {[known[number] for known in of_versions]}")


def measure(workbench, groups, seconds, repeats):
    requests = cells.requests_of(cells.GROUPS, groups)
    runs = []
    with servers.serving(servers.METARM, workbench, options=server_options(workbench)) as server:
        of_versions = [servers.ask(workbench, server, requests, CLIENTS, key=KEYS["score"])["rewards"]]
        second = make_second_version(server, groups)
        of_versions.append(servers.ask(workbench, server, requests, CLIENTS, key=KEYS["score"])["rewards"])
        for _ in range(repeats):
            quiet, swapped = load(workbench, server, requests, seconds), load(workbench, server, requests, seconds, (1, second))
            check_rewards(swapped.pop("rewards"), of_versions)
            quiet.pop("rewards")
            runs.append({"quiet": quiet, "swapped": swapped})
    return {"seconds": seconds, "clients": CLIENTS, "runs": runs, "ratio_p99": [run["swapped"]["p99_s"] / run["quiet"]["p99_s"] for run in runs],
            "ratio_max": [run["swapped"]["max_s"] / run["quiet"]["p99_s"] for run in runs]}


def to_line(found):
    swaps, requests = (sum(run["swapped"][name] for run in found["runs"]) for name in ("swaps", "requests"))
    def spread(ratios):
        return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    return (f"{swaps} swaps under load, {requests} requests, none lost: p99 {spread(found['ratio_p99'])} times that without swaps, "
            f"the slowest request {spread(found['ratio_max'])} times the p99 without")
