"""Shares of tokens in a reward: integrated gradients as plain PyTorch computes them, and on a real model they add up."""

import numpy as np
import pytest
import torch
from families import save_checkpoint
from reward_server import RewardServer

ROWS = [{"prompt": "when the other inn", "responses": [" at a river there", " nine"]}, {"text": "hello 123 the inn"}]
POINTS = 64


def integrated_gradients(model, ids, baseline):
    """Along the straight line between embeddings, by the midpoint rule."""
    torch.set_num_threads(1)
    embed = model.get_input_embeddings()  # Gemma's also scales
    end, begin = (embed(torch.tensor(some)).detach() for some in (ids, [baseline] * len(ids)))
    total = torch.zeros_like(end)
    for place in (np.arange(POINTS) + 0.5) / POINTS:
        embedded = (begin + place * (end - begin)).requires_grad_()
        model(inputs_embeds=embedded[None], attention_mask=torch.ones(1, len(ids)), position_ids=torch.arange(len(ids))[None]).logits.sum().backward()
        total += embedded.grad / POINTS
    return ((end - begin) * total).sum(-1)


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2", "gpt_neox"])
def test_shares_are_integrated_gradients(family, tmp_path):
    model, tokenizer = save_checkpoint(tmp_path / "rm", family, "reward")
    with RewardServer("--model", tmp_path / "rm") as server:
        answer = server.posted("/v1/rewards", {"rows": ROWS, "attributions": True})
        plain = server.posted("/v1/rewards", {"rows": ROWS})
    baseline = model.config.pad_token_id
    texts = [ROWS[0]["prompt"] + response for response in ROWS[0]["responses"]] + [ROWS[1]["text"]]
    shares = [*answer["rows"][0]["attributions"], answer["rows"][1]["attribution"]]
    rewards = [*answer["rows"][0]["rewards"], answer["rows"][1]["reward"]]
    assert rewards == [*plain["rows"][0]["rewards"], plain["rows"][1]["reward"]] and "attributions" not in plain["rows"][0]
    for text, share, reward in zip(texts, shares, rewards, strict=True):
        ids = tokenizer(text + tokenizer.eos_token)["input_ids"]
        assert share["values"] == pytest.approx(integrated_gradients(model, ids, baseline).tolist(), abs=0.02 * max(map(abs, share["values"])))
        assert share["error"] <= 0.02 and sum(share["values"]) == pytest.approx(reward - share["baseline_reward"], rel=0.021)
        assert "".join(share["tokens"]) == text + tokenizer.eos_token


def test_they_are_asked_for_few_texts(tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    with RewardServer("--model", tmp_path / "rm") as server:
        refused = server.post("/v1/rewards", {"rows": [{"prompt": "a", "responses": ["b"] * 65}], "attributions": True})
    assert refused.status == 422 and "64" in refused.json["error"]["message"]
