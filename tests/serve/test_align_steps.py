"""A server that aligns its reward model where its trainer says at which step it is."""

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor

from aligning_server import KEY, AligningServer


def digest(folder):
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_the_trainers_steps_say_when_and_runs_repeat(setting, tmp_path):
    """Versions change exactly at the multiples of --align-steps, and the same requests give the same versions."""
    seen = []
    for run in ("a", "b"):
        with AligningServer(setting, tmp_path / run, align_steps=10) as server:
            rewards, versions = [], []
            for step in range(25):
                rewards += server.ask_usual(2, seed=step, step=step)
                versions.append(len(server.read("/v1/versions")["versions"]))  # the guard may reject some
            assert versions == [1] * 10 + [2] * 10 + [3] * 5, (versions, server.events())
            assert server.post("/v1/align", {}, KEY).status == 409
        seen.append((rewards, digest(tmp_path / run / "versions/0002"), digest(tmp_path / run / "versions/0003")))
    assert seen[0] == seen[1]


def test_a_request_that_waits_for_its_step_has_time(setting, tmp_path):
    """--request-timeout begins when the alignment is decided."""
    launcher = tmp_path / "launcher"
    launcher.write_text('#!/bin/bash\nsleep 2\nexec "$@"\n')
    launcher.chmod(0o755)
    with AligningServer(setting, tmp_path / "state", align_steps=10, request_timeout=1.5, align_launcher=launcher) as server:
        server.ask_usual(20, step=1)
        server.ask([" nine", " ten"], step=10)
        assert len(server.read("/v1/versions")["versions"]) == 2


def test_a_trainer_that_begins_anew_is_noticed(setting, tmp_path):
    """Steps that fall by --align-steps or more are another run's: they align at their own multiples."""
    with AligningServer(setting, tmp_path / "state", align_steps=10) as server:
        server.ask_usual(20, step=1)
        server.ask([" nine", " ten"], step=15)
        assert len(server.read("/v1/versions")["versions"]) == 2
        server.ask_usual(20, seed=1, step=0)
        server.ask([" nine", " ten"], step=10)
        assert len(server.read("/v1/versions")["versions"]) == 3, server.events()


def test_a_run_that_begins_anew_waits_for_nothing_of_the_last(setting, tmp_path):
    """A trainer that ended while it waited for an alignment: its alignment is called off, and the next run's is its own."""
    launcher = tmp_path / "launcher"
    launcher.write_text(f'#!/bin/bash\n[ -e {tmp_path}/slow ] && touch {tmp_path}/hangs && sleep 600\nexec "$@"\n')
    launcher.chmod(0o755)
    (tmp_path / "slow").touch()
    with AligningServer(setting, tmp_path / "state", align_steps=10, align_launcher=launcher) as server, ThreadPoolExecutor() as pool:
        server.ask_usual(20, step=1)
        waiting = pool.submit(server.post, "/v1/rewards", {"rows": [{"prompt": "the inn", "responses": [" nine"]}]}, KEY, X_Metarm_Step=10)
        while not (tmp_path / "hangs").exists():
            time.sleep(0.01)
        (tmp_path / "slow").unlink()
        server.ask([" nine", " ten"], step=0)
        assert server.read("/v1/status")["alignment"]["state"] == "idle", "no version of the last run comes after this one has begun"
        assert "began again" in server.wait_for("failed")["text"]
        assert waiting.result().status == 409 and "begun again" in waiting.result().text
        assert len(server.read("/v1/versions")["versions"]) == 1
        server.ask([" nine", " ten"], step=10)
        assert len(server.read("/v1/versions")["versions"]) == 2, server.events()


def test_the_log_survives_a_change_between_steps_and_seconds(setting, tmp_path):
    for run, options in enumerate(({"align_steps": 1000}, {"align_steps": None}, {"align_steps": 1000})):
        with AligningServer(setting, tmp_path / "state", reference_groups=1000, **options) as server:
            assert server.read("/v1/status")["log"]["rows"] == 4 * run
            server.ask_usual(2, seed=run, step=run)
