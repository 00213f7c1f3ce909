"""Requests made up from /openapi.json by schemathesis, good and bad, on every path: no answer is the server's own fault, and each is as the document says."""

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from programs import ROOT
from reward_server import RewardServer
from served_model import Oracle

ADMIN_KEY = "admin-0123456789abcdef"
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}
# The document cannot say all that a body must be (openapi_hooks.py has a check of its own in its place), and methods that HTTP servers need not know are no 405.
WITHOUT = "positive_data_acceptance,unsupported_method"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzzed")
    rm = Oracle(folder / "rm", 0)
    (folder / "keys").write_text(f"admin {ADMIN_KEY}\n")
    with RewardServer("--model", rm.folder, "--chat-template", "chatml", "--api-keys", folder / "keys", "--state", folder / "state") as running:
        yield running


@pytest.fixture(scope="module")
def operations(server):
    document = server.send("/openapi.json", key=ADMIN_KEY).json
    return {path: {method.upper() for method in methods} for path, methods in document["paths"].items()}


def fuzz(server, folder):
    command = [Path(sys.executable).parent / "schemathesis", "run", f"{server.url}/openapi.json", "--header", f"Authorization: Bearer {ADMIN_KEY}", "--no-color",
               "--phases", "coverage,fuzzing", "--max-examples", "30", "--seed", "1", "--generation-deterministic", "--exclude-checks", WITHOUT]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "openapi_hooks", "PYTHONPATH": str(ROOT / "tests/support")}
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment, cwd=folder, timeout=600)


def test_answers_are_as_the_document_says(server, operations, tmp_path):
    result = fuzz(server, tmp_path)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
    assert int(re.search(r"Tested: (\d+)", result.stdout)[1]) == sum(map(len, operations.values())) - 1  # the document itself was read before
    assert int(re.search(r"(\d+) generated, \1 passed", result.stdout)[1]) > 1000
    # It still answers, and what it said of itself was all foreseen.
    answer = server.post("/v1/rewards", {"rows": [{"prompt": "the inn", "response": " at a river"}]}, ADMIN_KEY)
    assert answer.status == 200 and server.send("/ready").status == 200
    requests, others = [], []
    for line in server.read_log().splitlines():
        requests.append(json.loads(line)) if line.startswith("{") else others.append(line)
    statuses = [line["status"] for line in requests if "status" in line]
    assert len(statuses) > 1000 and max(statuses) < 500
    assert not [line for line in others if "internal" in line or "expected" in line]


def test_other_methods_are_told_which_is_right(server, operations):
    for path, methods in operations.items():
        for method in METHODS - methods:
            request = urllib.request.Request(server.url + path, b"{}", {"Content-Type": "application/json", "Authorization": f"Bearer {ADMIN_KEY}"}, method=method)
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=60)
            assert refused.value.code == 405 and set(refused.value.headers["Allow"].split(", ")) == methods, (method, path)
            assert json.loads(refused.value.read())["error"]
