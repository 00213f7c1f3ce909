"""A server that aligns its own reward model: alarm, alignment, guard, swap, rollback, and what may go wrong with each."""

import json
import random
import sqlite3
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from aligning_server import KEY, PATIENCE_S, AligningServer, make_pairs, words
from families import save_checkpoint
from programs import write_rows
from scoring import score


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
        scored, ending = (lambda: server.read("/v1/status")["models"][0]["rows"]), threading.Event()
        before = scored()

        def ask():
            answers = []
            while not ending.is_set():
                answers.append(server.post("/v1/rewards", {"rows": rows}, KEY))
            return answers

        with ThreadPoolExecutor(4) as pool:
            clients = [pool.submit(ask) for _ in range(4)]
            try:
                assert server.align()["event"] == "admitted"
                for version in (1, 2, 1, 2):
                    assert server.post("/v1/rollback", {"version": version}, KEY).status == 200
            finally:
                ending.set()
        answers = [answer for client in clients for answer in client.result()]
        assert len(answers) * 2 * len(rows) == scored() - before
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
    with AligningServer(setting, tmp_path / "state", align_launcher=copy_groups(tmp_path), reference_groups=1000, align_groups=60) as server:
        server.ask_usual(40)
        assert server.align()["event"] == "admitted"
        assert server.align()["event"] in ("admitted", "rejected")
        versions = server.read("/v1/versions")["versions"]
    assert versions[2]["parent"] == 2 and versions[2]["measures"]["accuracy_since_first"]["pairs"] == 60 and any("since version 1" in reason for reason in versions[2]["reasons"])
    assert "accuracy_since_first" not in versions[1]["measures"]
    first, second = ({row["prompt"] for row in rows} for rows in drawn_groups(tmp_path))
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


def copy_groups(folder):
    """A launcher that leaves the groups of each alignment in the folder."""
    launcher = folder / "launcher"
    launcher.write_text(f'#!/bin/bash\nfor word in "$@"; do case $word in */groups.jsonl) cp "$word" {folder}/groups-$(date +%s%N);; esac; done\nexec "$@"\n')
    launcher.chmod(0o755)
    return launcher


def drawn_groups(folder):
    return [[json.loads(line) for line in path.read_text().splitlines()] for path in sorted(folder.glob("groups-*"))]


def test_alignment_reads_the_tokens_that_were_scored(setting, tmp_path):
    """Of a protocol that appends nothing to a text: `metarm score` of what is aligned to gives what the server gave."""
    rng, given = random.Random(3), {}
    with AligningServer(setting, tmp_path / "state", align_launcher=copy_groups(tmp_path), reference_groups=1000) as server:
        for number in range(30):
            texts = [f"\n\nHuman: the inn {number}\n\nAssistant: {words(rng, 1, 8)} {end}" for end in ("tin", "nine")]
            answer = server.post("/classify", {"model": "rm", "input": texts, "use_activation": False}, KEY)
            given |= {text: row["probs"][0] for text, row in zip(texts, answer.json["data"], strict=True)}
        assert server.align()["event"] in ("admitted", "rejected")
    [rows] = drawn_groups(tmp_path)
    assert {row["text_form"] for row in rows} == {"written"}
    for row, scored in zip(rows, score(setting / "rm", rows, tmp_path), strict=True):
        assert scored["rewards"] == pytest.approx([given[row["prompt"] + response] for response in row["responses"]], abs=1e-5)
    closed = score(setting / "rm", [{"prompt": rows[0]["prompt"], "responses": rows[0]["responses"]}], tmp_path)[0]["rewards"]
    assert closed != pytest.approx([given[rows[0]["prompt"] + response] for response in rows[0]["responses"]], abs=1e-4)


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
