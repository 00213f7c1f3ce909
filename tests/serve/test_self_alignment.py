"""A server that aligns its own reward model: alarm, alignment, guard, swap, rollback, and what may go wrong with each."""

import hashlib
import json
import random
import sqlite3
import statistics
import threading
import time

import pytest
from families import save_checkpoint
from programs import write_rows
from reward_server import RewardServer
from scoring import score

WORDS = "the inn at a river there then nine other three when in heather tin anther".split()
KEY = "admin-0123456789abcdef"
PATIENCE_S = 90


def words(rng, low, high):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randrange(low, high)))


def make_pairs(seed, count):
    rng = random.Random(seed)
    return [{"prompt": words(rng, 2, 6), "chosen": " " + words(rng, 2, 8), "rejected": " " + words(rng, 2, 8) + " nine"} for _ in range(count)]


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    folder = tmp_path_factory.mktemp("setting")
    save_checkpoint(folder / "rm", "llama", "reward", 0)
    write_rows(folder / "pairs.jsonl", make_pairs(1, 40))
    write_rows(folder / "held_out.jsonl", make_pairs(2, 60))
    (folder / "align.toml").write_text("max_steps = 2\nbatch_size = 4\nmeta_batch_size = 4\nlr = 1e-4\n")
    (folder / "keys").write_text(f"admin {KEY}\n")
    return folder


class AligningServer(RewardServer):
    """Aligns with every option that a test does not give set for speed."""

    def __init__(self, setting, state, **options):
        chosen = {"model": setting / "rm", "state": state, "api_keys": setting / "keys", "pairs": setting / "pairs.jsonl", "eval_pairs": setting / "held_out.jsonl",
                  "align": setting / "align.toml", "reference_groups": 20, "align_groups": 20, "accuracy_margin": 0.5} | options
        super().__init__(*(word for name, value in chosen.items() if value is not None for word in (f"--{name.replace('_', '-')}", *([value] if value is not True else []))))
        self.number = 0

    def ask(self, responses, step=None):
        """Rewards of responses to a prompt that was not asked before."""
        self.number += 1
        row = {"prompt": f"the inn {self.number} at", "responses": responses}
        answer = self.post("/v1/rewards", {"rows": [row]}, KEY, **({} if step is None else {"X_Metarm_Step": step}))
        assert answer.status == 200, answer
        return answer.json["rows"][0]["rewards"]

    def ask_usual(self, count, seed=0, **more):
        rng = random.Random(f"usual {seed}")
        return [self.ask([" " + words(rng, 1, 12), " " + words(rng, 1, 12) + " tin"], **more) for _ in range(count)]

    def ask_drifted(self, rng):
        """Of a policy whose responses to a prompt have become nearly the same."""
        same = " " + words(rng, 4, 8)
        return self.ask([same + " heather heather", same + " heather heather heather"])

    def read(self, path):
        return self.send(path, key=KEY).json

    def events(self):
        return [event["event"] for event in self.read("/v1/status")["events"]]

    def wait_for(self, *names, doing=lambda: time.sleep(0.05), seen=0):
        """The first event of one of these names, after the first `seen` events."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            doing()
            for event in self.read("/v1/status")["events"][seen:]:
                if event["event"] in names:
                    return event
        raise AssertionError(f"none of {names} in {self.read('/v1/status')['events']}\n{self.read_log()}")

    def align(self):
        seen = len(self.events())
        assert self.post("/v1/align", {}, KEY).status == 202
        event = self.wait_for("admitted", "rejected", "failed", seen=seen)
        while self.read("/v1/status")["alignment"]["state"] != "idle":
            time.sleep(0.01)
        return event

    def rewards_of(self, rows):
        return [reward for row in rows for reward in self.post("/v1/rewards", {"rows": [{"prompt": row["prompt"], "responses": [row["chosen"], row["rejected"]]}]}, KEY).json["rows"][0]["rewards"]]


def test_the_loop_closes(setting, tmp_path):
    """The policy drifts; the alarm goes off; the server aligns, admits and swaps, and answers all the while."""
    pairs = make_pairs(2, 60)
    rng = random.Random(5)
    with AligningServer(setting, tmp_path / "state") as server:
        before = server.rewards_of(pairs)
        server.ask_usual(60)
        shift = server.read("/v1/status")["shift"]
        assert shift["alarm"] is False and shift["differences"]["reference"] >= 20, shift
        event = server.wait_for("admitted", "rejected", "failed", doing=lambda: server.ask_drifted(rng))
        assert event["event"] == "admitted", event
        events = server.events()
        assert [name for name in events if name != "failed"][:3] == ["alarm", "started", "admitted"], events
        versions = server.read("/v1/versions")
        assert versions["current"] == 2 and [version["number"] for version in versions["versions"]] == [1, 2]
        second = versions["versions"][1]
        assert second["parent"] == 1 and second["admitted"] and second["measures"]["accuracy"]["pairs"] == 60 and len(second["reasons"]) == 3
        after = server.rewards_of(pairs)
        assert after != pytest.approx(before, abs=1e-5)
        for measure in (statistics.fmean, statistics.pstdev):  # a trainer sees no jump
            assert measure(after) == pytest.approx(measure(before), abs=1e-4)
        rows = [{"prompt": pair["prompt"], "responses": [pair["chosen"], pair["rejected"]]} for pair in pairs]
        raw = [reward for row in score(tmp_path / "state/versions/0002", rows, tmp_path) for reward in row["rewards"]]
        assert after == pytest.approx([second["scale"] * reward + second["offset"] for reward in raw], abs=1e-4)
        assert server.read("/v1/models")["data"][0]["id"] == "rm"

        back = server.post("/v1/rollback", {"version": 1}, KEY)
        assert back.status == 200 and back.json["id"] == versions["versions"][0]["id"]
        assert server.rewards_of(pairs) == pytest.approx(before, abs=1e-6)
        assert server.post("/v1/rollback", {"version": 2}, KEY).status == 200
        assert server.post("/v1/rollback", {"version": 3}, KEY).status == 422
        assert server.rewards_of(pairs) == pytest.approx(after, abs=1e-6)
    with AligningServer(setting, tmp_path / "state") as server:
        assert server.rewards_of(pairs) == pytest.approx(after, abs=1e-6)
        assert server.read("/v1/versions")["current"] == 2
        assert server.events()[-1] == "rollback"
    assert len([json.loads(line) for line in (tmp_path / "state/events.jsonl").read_text().splitlines()]) == len(events) + 2


def test_nothing_that_was_asked_is_lost_by_a_swap(setting, tmp_path):
    rows = [{"prompt": pair["prompt"], "responses": [pair["chosen"], pair["rejected"]]} for pair in make_pairs(3, 8)]
    with AligningServer(setting, tmp_path / "state", reference_groups=1000) as server:
        server.ask_usual(25)
        answers, ending = [], threading.Event()

        def ask():
            while not ending.is_set():
                answers.append(server.post("/v1/rewards", {"rows": rows}, KEY))

        clients = [threading.Thread(target=ask) for _ in range(4)]
        for client in clients:
            client.start()
        assert server.align()["event"] == "admitted"
        for version in (1, 2, 1, 2):
            assert server.post("/v1/rollback", {"version": version}, KEY).status == 200
        ending.set()
        for client in clients:
            client.join()
    assert all(answer.status == 200 for answer in answers)
    by_version = {}
    for answer in answers:  # all rewards of one answer come from one version
        by_version.setdefault(answer.json["version"], []).append([row["rewards"] for row in answer.json["rows"]])
    assert len(by_version) == 2
    for rewards in by_version.values():
        flat = [[reward for row in answer for reward in row] for answer in rewards]
        assert all(answer == pytest.approx(flat[0], abs=1e-5) for answer in flat)


def test_what_the_guard_rejects_is_not_served(setting, tmp_path):
    pairs = make_pairs(2, 60)
    with AligningServer(setting, tmp_path / "state", accuracy_margin=-1, reference_groups=1000) as server:
        before, identity = server.rewards_of(pairs), server.read("/v1/status")["models"][0]["version"]
        server.ask_usual(25)
        event = server.align()
        assert event["event"] == "rejected" and "accuracy" in event["text"]
        versions = server.read("/v1/versions")
        assert versions["current"] == 1 and versions["versions"][1]["admitted"] is False
        assert server.rewards_of(pairs) == before and server.read("/v1/status")["models"][0]["version"] == identity
        refused = server.post("/v1/rollback", {"version": 2}, KEY)
        assert refused.status == 422 and "rejected" in refused.json["error"]["message"]


@pytest.mark.parametrize(
    "script, options, said",
    [("exit 3", {}, "ended with 3"), ("kill -9 $$", {}, "killed"), ("sleep 600", {"align_timeout": 1}, "within 1 s"),
     ('ulimit -v 400000; exec "$@"', {}, "metarm align"), ('echo "a pair is missing" >&2; exit 2', {}, "a pair is missing")],
    ids=["crashed", "killed for memory", "hung", "out of memory", "refused"])
def test_an_alignment_that_goes_wrong_is_reported_and_serving_goes_on(setting, tmp_path, script, options, said):
    launcher = tmp_path / "launcher"
    launcher.write_text(f"#!/bin/bash\n{script}\n")
    launcher.chmod(0o755)
    with AligningServer(setting, tmp_path / "state", align_launcher=launcher, reference_groups=1000, **options) as server:
        server.ask_usual(25)
        event = server.align()
        assert event["event"] == "failed" and said in event["text"] and "\n" not in event["text"]
        status = server.read("/v1/status")["alignment"]
        assert status["state"] == "idle" and status["version"] == 1
        assert len(server.ask([" nine", " ten"])) == 2
        assert not list((tmp_path / "state").glob("alignment-*"))


def test_too_few_groups_are_no_reason_to_begin(setting, tmp_path):
    with AligningServer(setting, tmp_path / "state") as server:
        server.ask_usual(3)
        refused = server.post("/v1/align", {}, KEY)
        assert refused.status == 409 and "got 3" in refused.json["error"]["message"]
        assert server.events() == []


def test_failed_requests_do_not_put_off_the_alarm(setting, tmp_path):
    """Align now, three times in vain: the next alignment at an alarm waits for no more groups than before."""
    launcher, rng = tmp_path / "launcher", random.Random(5)
    launcher.write_text("#!/bin/bash\nexit 3\n")
    launcher.chmod(0o755)
    with AligningServer(setting, tmp_path / "state", align_launcher=launcher) as server:
        server.ask_usual(60)
        for _ in range(3):
            assert server.align()["event"] == "failed"
        waiting = server.read("/v1/status")["alignment"]
        assert waiting["groups_wanted"] == 20 and waiting["groups"] == 60
        seen = len(server.events())
        server.wait_for("failed", doing=lambda: server.ask_drifted(rng), seen=seen)  # at the alarm
        assert server.read("/v1/status")["alignment"]["groups_wanted"] == 40


def test_only_one_alignment_runs_and_a_rollback_ends_it(setting, tmp_path):
    launcher = tmp_path / "launcher"
    launcher.write_text("#!/bin/bash\nsleep 600\n")
    launcher.chmod(0o755)
    with AligningServer(setting, tmp_path / "state", align_launcher=launcher, reference_groups=1000) as server:
        server.ask_usual(25)
        assert server.post("/v1/align", {}, KEY).status == 202
        server.wait_for("started")
        assert server.post("/v1/align", {}, KEY).status == 409
        assert server.read("/v1/status")["alignment"]["reason"] == "request"
        assert server.post("/v1/rollback", {"version": 1}, KEY).status == 200
        deadline = time.monotonic() + PATIENCE_S
        while server.read("/v1/status")["alignment"]["state"] != "idle":
            assert time.monotonic() < deadline
        assert "rollback" in server.read("/v1/status")["events"][-1]["text"]


def test_a_killed_server_goes_on_with_whole_versions(setting, tmp_path):
    launcher = tmp_path / "launcher"
    launcher.write_text("#!/bin/bash\nsleep 600\n")
    launcher.chmod(0o755)
    server = AligningServer(setting, tmp_path / "state", align_launcher=launcher, reference_groups=1000).__enter__()
    usual = server.ask_usual(25)
    assert server.post("/v1/align", {}, KEY).status == 202
    server.wait_for("started")
    assert list((tmp_path / "state").glob("alignment-*"))
    server.kill()
    with AligningServer(setting, tmp_path / "state", reference_groups=1000) as server:
        assert server.read("/v1/versions")["current"] == 1 and not list((tmp_path / "state").glob("alignment-*"))
        assert server.ask_usual(25) == [pytest.approx(rewards, abs=1e-6) for rewards in usual]
        assert server.align()["event"] == "admitted"  # what was acknowledged before the kill is there to be drawn


def test_two_alignments_in_a_row(setting, tmp_path):
    """The second is compared with version 1, too, and what the first was trained on is not held out for it."""
    launcher = tmp_path / "launcher"
    launcher.write_text(f'#!/bin/bash\nfor word in "$@"; do case $word in */groups.jsonl) cp "$word" {tmp_path}/groups-$(date +%s%N);; esac; done\nexec "$@"\n')
    launcher.chmod(0o755)
    with AligningServer(setting, tmp_path / "state", align_launcher=launcher, reference_groups=1000, align_groups=60) as server:
        server.ask_usual(40)
        assert server.align()["event"] == "admitted"
        assert server.align()["event"] in ("admitted", "rejected")
        versions = server.read("/v1/versions")["versions"]
    assert versions[2]["parent"] == 2 and versions[2]["measures"]["accuracy_since_first"]["pairs"] == 60 and any("since version 1" in reason for reason in versions[2]["reasons"])
    assert "accuracy_since_first" not in versions[1]["measures"]
    first, second = ({json.loads(line)["prompt"] for line in path.read_text().splitlines()} for path in sorted(tmp_path.glob("groups-*")))
    assert first == second and 20 < len(first) < 40, "both drew all groups, and left out the same"


def test_a_guard_that_runs_out_of_time_says_so(setting, tmp_path):
    write_rows(tmp_path / "many.jsonl", make_pairs(3, 6000))
    launcher = tmp_path / "launcher"
    launcher.write_text(f'#!/bin/bash\nwhile [ "$1" != --output ]; do shift; done\ncp -r {setting}/rm "$2"\n')
    launcher.chmod(0o755)
    with AligningServer(setting, tmp_path / "state", align_launcher=launcher, eval_pairs=tmp_path / "many.jsonl", align_timeout=1, reference_groups=1000) as server:
        server.ask_usual(25)
        event = server.align()
    assert event["event"] == "failed" and "guard" in event["text"] and "--align-timeout" in event["text"]


def test_a_score_key_sees_no_files_and_no_other_programs_words(setting, tmp_path):
    score_key = "score-0123456789abcdef"
    (tmp_path / "keys").write_text(f"admin {KEY}\nscore {score_key}\n")
    launcher = tmp_path / "launcher"
    launcher.write_text('#!/bin/bash\necho "/secret/pairs.jsonl: confidential" >&2; exit 4\n')
    launcher.chmod(0o755)
    with AligningServer(setting, tmp_path / "state", api_keys=tmp_path / "keys", align_launcher=launcher, reference_groups=1000) as server:
        server.ask_usual(25)
        assert "/secret/pairs.jsonl: confidential" in server.align()["text"]
        seen = server.send("/v1/status", key=score_key)
        failed = seen.json["events"][-1]
        assert (failed["event"], failed["version"], failed["exit_code"]) == ("failed", 1, 4) and "ended with 4" in failed["text"]
        assert "secret" not in seen.text and "confidential" not in seen.text
    assert "confidential" not in server.log and "ended with 4" in server.log
    assert "confidential" in (tmp_path / "state/events.jsonl").read_text()


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
    """Steps that fall by more than --align-steps are another run's: they align at their own multiples."""
    with AligningServer(setting, tmp_path / "state", align_steps=10) as server:
        server.ask_usual(20, step=1)
        server.ask([" nine", " ten"], step=15)
        assert len(server.read("/v1/versions")["versions"]) == 2
        server.ask_usual(20, seed=1, step=0)
        server.ask([" nine", " ten"], step=10)
        assert len(server.read("/v1/versions")["versions"]) == 3, server.events()


def test_the_log_survives_a_change_between_steps_and_seconds(setting, tmp_path):
    for run, options in enumerate(({"align_steps": 1000}, {"align_steps": None}, {"align_steps": 1000})):
        with AligningServer(setting, tmp_path / "state", reference_groups=1000, **options) as server:
            assert server.read("/v1/status")["log"]["rows"] == 4 * run
            server.ask_usual(2, seed=run, step=run)


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


def test_every_so_many_groups(setting, tmp_path):
    with AligningServer(setting, tmp_path / "state", align_every=30, reference_groups=1000) as server:
        server.ask_usual(29)
        assert server.read("/v1/status")["alignment"]["state"] == "idle" and not server.events()
        assert server.wait_for("admitted", doing=lambda: server.ask([" nine tin", " then"]))["version"] == 2


@pytest.mark.parametrize("option", ["no_log", "redact"])
def test_texts_that_may_not_be_kept_are_not(setting, tmp_path, option):
    options = {"pairs": None, "eval_pairs": None, "align": None, "align_groups": None, "accuracy_margin": None} | {option: True}
    with AligningServer(setting, None if option == "no_log" else tmp_path / "state", **options) as server:
        server.ask([" heather confidential", " nine"])
        time.sleep(0.5)
        status = server.read("/v1/status")
        assert (status["log"] is None) == (option == "no_log")
        assert server.read("/v1/samples")["samples"] == []
        assert server.post("/v1/align", {}, KEY).status == 409
    assert (tmp_path / "state").exists() == (option == "redact")
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"confidential" not in file.read_bytes(), file
    if option == "redact":
        assert sqlite3.connect(tmp_path / "state/log.sqlite").execute("SELECT COUNT(*) FROM responses").fetchone() == (2,)


def test_samples_and_the_log_hold_what_was_scored(setting, tmp_path):
    with AligningServer(setting, tmp_path / "state") as server:
        rewards = server.ask([" nine", " then"], step=7)
        chat = {"query": ["the inn is open"], "prompts": ["the inn"]}
        assert server.post("/get_reward", chat, KEY).status == 200
        samples = server.read("/v1/samples")["samples"]
        assert [(sample["prompt"], sample["response"], sample["step"]) for sample in samples] == [("the inn", " is open", None), ("the inn 1 at", " then", 7), ("the inn 1 at", " nine", 7)]
        assert [sample["reward"] for sample in samples[:0:-1]] == pytest.approx(rewards)
        deadline = time.monotonic() + PATIENCE_S
        while server.read("/v1/status")["log"]["acknowledged"] < 3:
            assert time.monotonic() < deadline


def test_the_state_of_another_model_is_refused(setting, tmp_path):
    save_checkpoint(tmp_path / "other", "llama", "reward", 3)
    with AligningServer(setting, tmp_path / "state"):
        pass
    with pytest.raises(AssertionError, match="expected the state of"):
        AligningServer(setting, tmp_path / "state", model=tmp_path / "other").__enter__()
