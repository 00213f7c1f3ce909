"""Log probabilities of response tokens through token trees equal those of transformers, sequence by sequence."""

import pytest
import torch
from families import FAMILIES, save_checkpoint
from test_families import forward, make_groups, reference_logits

TOLERANCE = 1e-4


def reference_log_probs(model, ids, count):
    log_probs = torch.log_softmax(reference_logits(model, ids).double(), -1)
    return [log_probs[place - 1, ids[place]].item() for place in range(len(ids) - count, len(ids))]


@pytest.mark.parametrize("budget", [1, 10000])
@pytest.mark.parametrize("name", FAMILIES)
def test_response_tokens(name, budget, tmp_path):
    model, _ = save_checkpoint(tmp_path, name, "causal")
    groups = make_groups()
    # Of the first group one response reaches into the tokens that both share; of the third one is a prefix of the others.
    counts = [[5, 9], [4, 1], [1, 2, 6], [16]]
    ours = forward(tmp_path, "log_probs", groups=groups, response_tokens=counts, tokens_per_batch=budget)["log_probs"]
    for group, group_counts, got_group in zip(groups, counts, ours, strict=True):
        for ids, count, got in zip(group, group_counts, got_group, strict=True):
            assert got == pytest.approx(reference_log_probs(model, ids, count), abs=TOLERANCE)
