"""Texts that a checkpoint cannot read are their own client's failure: beyond the positions that it learned, or with tokens that it has no embeddings for."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from aligning_server import AligningServer
from families import VOCAB, save_checkpoint
from reward_server import RewardServer
from scoring import by_transformers

POSITIONS = 256


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    """(folder, model, tokenizer) of a reward model with learned positions, whose tokenizer knows a token too many."""
    folder = tmp_path_factory.mktemp("gpt2") / "rm"
    model, tokenizer = save_checkpoint(folder, "gpt2", "reward")
    tokenizer.add_tokens([f"<extra-{number}>" for number in range(len(tokenizer), VOCAB + 1)])
    tokenizer.save_pretrained(folder)
    return folder, model, tokenizer


def ask(server, *rows):
    return server.post("/v1/rewards", {"rows": [{"prompt": prompt, "responses": [response]} for prompt, response in rows]})


@pytest.mark.parametrize("max_length", [0, 4096])
def test_positions_end_where_the_checkpoint_does(gpt2, max_length):
    folder, model, tokenizer = gpt2
    long = " the inn is open" * 40
    with RewardServer("--model", folder, "--max-length", max_length) as server:
        answer = ask(server, ("when", long), (long, " nine"), ("when", " nine")).json
    ids = tokenizer(long + " nine</s>")["input_ids"]
    assert len(ids) > POSITIONS
    expected = [None, by_transformers(model, ids[-POSITIONS:]), by_transformers(model, tokenizer("when nine</s>")["input_ids"])]
    assert answer["rows"][0]["rewards"] == [None], "the response alone is too long"
    assert [row["rewards"][0] for row in answer["rows"][1:]] == pytest.approx(expected[1:], abs=1e-4)


def test_what_one_client_sends_fails_no_other(gpt2):
    with RewardServer("--model", gpt2[0], "--max-length", 0) as server, ThreadPoolExecutor(16) as pool:
        bad = [pool.submit(ask, server, ("the inn", f" nine <extra-{VOCAB}>")) for _ in range(20)]
        good = [pool.submit(ask, server, ("the inn", f" nine {turn}")) for turn in range(60)]
        assert {future.result().status for future in good} == {200}
        refused = [future.result() for future in bad]
    assert {answer.status for answer in refused} == {422} and f"below {VOCAB}" in refused[0].text


def test_a_guard_asks_for_no_more_than_the_queue_takes(setting, tmp_path):
    """Short held-out texts, of which one part of a batch would be more rows than may wait."""
    with AligningServer(setting, tmp_path / "state", queue_rows=16, max_rows=8, reference_groups=1000, align_timeout=60) as server:
        server.ask_usual(25)
        assert server.align()["event"] in ("admitted", "rejected")
