"""Trainers that ask a real server: TRL trains by its rewards, OpenRLHF's and verl's own clients get them (trainer_clients.py says what of them runs)."""

import json
import statistics
from urllib.parse import quote

import pytest
from chat_templates import CHATML
from families import save_checkpoint
from reward_server import RewardServer
from scoring import score
from served_model import Oracle, reward_code
from trainer_clients import run_trainer

PROMPTS = ["the inn at a river", "then there", "nine other hats in", "when the heather", "three", "a tin there in the inn"]
BATCH = 8
KEY = "score-0123456789/abc@def"


@pytest.fixture(scope="module")
def rm(tmp_path_factory):
    oracle = Oracle(tmp_path_factory.mktemp("models") / "rm", 0)
    oracle.tokenizer.chat_template = CHATML
    oracle.tokenizer.save_pretrained(oracle.folder)
    return oracle


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    _, tokenizer = save_checkpoint(folder, "llama", "causal", 1)
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def server(rm, tmp_path):
    with RewardServer("--model", rm.folder, "--state", tmp_path / "state") as running:
        yield running


@pytest.fixture
def keyed_server(rm, tmp_path):
    (tmp_path / "keys").write_text(f"score {KEY}\n")
    with RewardServer("--model", rm.folder, "--api-keys", tmp_path / "keys") as running:
        yield running


def address_of(server, key=None):
    host = server.url.removeprefix("http://")
    return f"metarm:{quote(key, safe='')}@{host}" if key else host


def as_chat(prompt):
    return [{"role": "user", "content": prompt}]


def offline(rm, rows, folder):
    return [row["reward"] for row in score(rm.folder, rows, folder)]


@pytest.mark.parametrize("form, steps", [("texts", 20), ("conversations", 3)])
def test_grpo_of_trl(server, rm, policy, tmp_path, form, steps):
    prompts = PROMPTS if form == "texts" else [as_chat(prompt) for prompt in PROMPTS]
    found = run_trainer(tmp_path, trainer="trl", code=reward_code("trl.md", server.url), policy=str(policy), prompts=prompts, steps=steps)
    assert found["steps"] == steps and [call["step"] for call in found["calls"]] == list(range(steps))
    rows = [{"prompt": prompt, "response": completion} for call in found["calls"] for prompt, completion in zip(call["prompts"], call["completions"], strict=True)]
    seen = [reward for call in found["calls"] for reward in call["rewards"]]
    assert len(seen) == steps * BATCH and statistics.pstdev(seen) > 0.01
    assert seen == pytest.approx(offline(rm, rows, tmp_path), abs=1e-5)
    assert found["logged"] == pytest.approx([statistics.fmean(call["rewards"]) for call in found["calls"]], abs=1e-5)
    counts = server.counts()
    assert counts["metarm_rows_total"] == steps * BATCH
    assert counts["metarm_tree_tokens_total"] < counts["metarm_tokens_total"]  # a prompt was computed once for all its completions
    named = lambda step, prompt: (step, json.dumps(prompt, sort_keys=True))
    last = {named(sample["step"], sample["prompt"]) for sample in server.send("/v1/samples").json["samples"][:BATCH]}
    assert last == {named(steps - 1, prompt) for prompt in found["calls"][-1]["prompts"]}


def check_openrlhf(rm, found):
    assert len({row["query"] for row in found}) == len(PROMPTS) * 4
    for row in found:
        assert row["reward"] == rm.literal(row["query"])


def test_the_client_of_openrlhf(server, rm, tmp_path):
    """Two addresses: it takes one after the other."""
    found = run_trainer(tmp_path, trainer="openrlhf", tokenizer=str(rm.folder), prompts=PROMPTS * 4, endpoints=[f"{server.url}/get_reward"] * 2)
    check_openrlhf(rm, found)
    for row in found:
        assert row["score"] == row["logged"]["reward"] == row["logged"]["dummy_scores"] == row["reward"]
    assert server.counts()["metarm_rows_total"] == len(found)
    log, prompts = kept(server)
    assert log["offered"] == len(found) and log["unsplit"] == 0 and len(prompts) == len(PROMPTS)


def test_the_client_of_openrlhf_takes_a_key_in_the_address(keyed_server, rm, tmp_path):
    endpoint = f"http://{address_of(keyed_server, KEY)}/get_reward"
    check_openrlhf(rm, run_trainer(tmp_path, trainer="openrlhf", tokenizer=str(rm.folder), prompts=PROMPTS * 4, endpoints=[endpoint]))


def test_a_reward_function_of_openrlhf(server, rm, tmp_path):
    (tmp_path / "reward.py").write_text(reward_code("openrlhf.md", server.url))
    found = run_trainer(tmp_path, trainer="openrlhf", tokenizer=str(rm.folder), prompts=PROMPTS * 4, endpoints=[str(tmp_path / "reward.py")])
    check_openrlhf(rm, found)
    for row in found:
        assert 0 < row["score"] < 1 and row["logged"]["reward"] == row["reward"]


def ask_verl(rm, server, folder, key=None, **how):
    chats = [as_chat(prompt) for prompt in PROMPTS * 4]
    found = run_trainer(folder, trainer="verl", tokenizer=str(rm.folder), reward_model=str(rm.folder), address=address_of(server, key), prompts=chats, **how)
    assert [row["prompt"] for row in found] == chats
    assert server.counts(key)["metarm_rows_total"] == len(found)
    return [row["reward"] for row in found], [rm.tokenizer.decode(row["ids"], skip_special_tokens=True) for row in found]


def kept(server):
    """The shift log's figures, and the prompts of the last samples."""
    return server.send("/v1/status").json["log"], {sample["prompt"] for sample in server.send("/v1/samples").json["samples"]}


def check_verl(rm, rewards, responses):
    for prompt, response, reward in zip(PROMPTS * 4, responses, rewards, strict=True):
        assert reward == rm.written(rm.tokenizer.apply_chat_template([*as_chat(prompt), {"role": "assistant", "content": response}], tokenize=False))


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_the_client_of_verl(server, rm, tmp_path, engine):
    rewards, responses = ask_verl(rm, server, tmp_path, engine=engine, code_file=None)
    log, prompts = kept(server)
    assert log["offered"] == len(rewards) and log["unsplit"] == 0
    assert len(prompts) == len(PROMPTS) and all(prompt.endswith("<|im_start|>assistant\n") for prompt in prompts)
    check_verl(rm, rewards, responses)


def test_the_client_of_verl_takes_a_key_in_the_address(keyed_server, rm, tmp_path):
    check_verl(rm, *ask_verl(rm, keyed_server, tmp_path, KEY, engine="vllm", code_file=None))


def test_a_reward_function_of_verl(server, rm, tmp_path):
    (tmp_path / "reward.py").write_text(reward_code("verl.md", server.url))
    rewards, responses = ask_verl(rm, server, tmp_path, engine=None, code_file=str(tmp_path / "reward.py"))
    rows = [{"prompt": as_chat(prompt), "response": response} for prompt, response in zip(PROMPTS * 4, responses, strict=True)]
    assert rewards == pytest.approx(offline(rm, rows, tmp_path), abs=1e-5)
