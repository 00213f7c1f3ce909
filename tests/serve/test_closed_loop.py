"""The whole of it: TRL trains a policy by GRPO against a server, the policy drifts, and the server aligns its reward model to it meanwhile."""

import json
import random
import time

import pytest
from families import save_checkpoint
from programs import write_rows
from reward_server import RewardServer
from served_model import reward_code
from trainer_clients import run_trainer

WORDS = "the inn at a river there then nine other three when in heather tin anther".split()
STEPS, BATCH = 90, 8  # two prompts with four completions a step


def words(rng, low, high):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randrange(low, high)))


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("loop"), random.Random(7)
    save_checkpoint(folder / "rm", "llama", "reward", 0)
    save_checkpoint(folder / "policy", "llama", "causal", 1)
    for name, count in (("pairs", 40), ("held_out", 80)):
        write_rows(folder / f"{name}.jsonl", [{"prompt": words(rng, 2, 6), "chosen": " " + words(rng, 2, 8), "rejected": " " + words(rng, 2, 8)} for _ in range(count)])
    (folder / "align.toml").write_text("max_steps = 4\nbatch_size = 4\nmeta_batch_size = 4\nlr = 1e-4\n")
    return folder


def train(setting, folder, *options):
    """What TRL saw, and the server's events, versions and models after it."""
    prompts = [f"{words(random.Random(i), 2, 6)} {i}" for i in range(2 * STEPS)]
    with RewardServer("--model", setting / "rm", "--state", folder / "state", "--pairs", setting / "pairs.jsonl", "--eval-pairs", setting / "held_out.jsonl",
                      "--align", setting / "align.toml", "--reference-groups", 30, "--align-groups", 30, "--alarm-rate", 0.05, *options) as server:
        version = server.state["models"][0]["version"]
        found = run_trainer(folder, trainer="trl", code=reward_code("trl.md", server.url), policy=str(setting / "policy"), prompts=prompts, steps=STEPS, learning_rate=1e-2)
        deadline = time.monotonic() + 60
        while server.send("/v1/status").json["alignment"]["state"] != "idle" and time.monotonic() < deadline:
            time.sleep(0.05)  # an alignment may outlast the trainer
        status, versions = server.send("/v1/status").json, server.send("/v1/versions").json
    assert status["events"], status["shift"]
    events = [json.loads(line) for line in (folder / "state/events.jsonl").read_text().splitlines()]
    assert found["steps"] == STEPS and all(isinstance(reward, float) for call in found["calls"] for reward in call["rewards"])
    return found, events, versions, status["models"][0], version


def test_a_policy_drifts_and_the_server_follows_it(setting, tmp_path):
    found, events, versions, model, first = train(setting, tmp_path, "--accuracy-margin", 0.5)
    names = [event["event"] for event in events]
    assert names[:3] == ["alarm", "started", "admitted"], events
    assert versions["current"] > 1 and model["version"] != first
    assert model["rows"] == STEPS * BATCH


def test_what_the_guard_rejects_changes_nothing(setting, tmp_path):
    """The guard asks for more than can be had: whatever is aligned is rejected, and TRL sees the first version to the end."""
    found, events, versions, model, first = train(setting, tmp_path, "--accuracy-margin", -1)
    names = [event["event"] for event in events]
    assert names[:3] == ["alarm", "started", "rejected"] and "admitted" not in names, events
    assert "accuracy" in next(event["text"] for event in events if event["event"] == "rejected")
    assert versions["current"] == 1 and model["version"] == first
