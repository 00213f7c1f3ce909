"""Shares of tokens in a served reward: what each changes in the reward of the text up to it, by transformers on every prefix alone."""

import numpy as np
import pytest
from families import save_checkpoint
from reference import prefix_rewards
from reward_server import RewardServer

ROWS = [{"prompt": "when the other inn", "responses": [" at a river there", " nine"]}, {"text": "hello 123 the inn"}]


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2", "gpt_neox"])
def test_shares_are_what_tokens_change(family, tmp_path):
    model, tokenizer = save_checkpoint(tmp_path / "rm", family, "reward")
    with RewardServer("--model", tmp_path / "rm") as server:
        answer = server.posted("/v1/rewards", {"rows": ROWS, "attributions": True})
        plain = server.posted("/v1/rewards", {"rows": ROWS})
    texts = [ROWS[0]["prompt"] + response for response in ROWS[0]["responses"]] + [ROWS[1]["text"]]
    shares = [*answer["rows"][0]["attributions"], answer["rows"][1]["attribution"]]
    rewards = [*answer["rows"][0]["rewards"], answer["rows"][1]["reward"]]
    assert rewards == [*plain["rows"][0]["rewards"], plain["rows"][1]["reward"]] and "attributions" not in plain["rows"][0]
    for text, share, reward in zip(texts, shares, rewards, strict=True):
        ids = tokenizer(text + tokenizer.eos_token)["input_ids"]
        by_prefix = prefix_rewards(model, ids)
        assert share["values"] == pytest.approx(np.diff(by_prefix, prepend=by_prefix[0]).tolist(), abs=1e-5)
        assert share["baseline_reward"] == pytest.approx(by_prefix[0], abs=1e-5)
        assert sum(share["values"]) == pytest.approx(reward - share["baseline_reward"], abs=1e-5)
        assert "".join(share["tokens"]) == text + tokenizer.eos_token
