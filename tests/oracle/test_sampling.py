"""Sampling at a temperature: whatever the batches, the same responses; distributed as transformers' softmax says."""

from collections import Counter

import pytest
import torch
from families import save_checkpoint
from programs import read_rows, run_metarm, write_rows
from test_families import forward, reference_logits

PROMPTS = [{"prompt": text} for text in ("the inn at a river", "hello", "x" * 50, "the", "nine other three when in heather tin anther there")]


def sample(folder, *more):
    write_rows(folder / "prompts.jsonl", PROMPTS)
    run_metarm("sample", "--model", folder / "lm", "--prompts", folder / "prompts.jsonl", "--output", folder / "out.jsonl", "--dtype", "float32", "--max-new-tokens", 20, "--threads", 1,
               "--responses", 3, "--seed", 5, "--quiet", *more)
    return [row["responses"] for row in read_rows(folder / "out.jsonl")]


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2", "gpt2"])
def test_batches_do_not_matter(family, tmp_path):
    save_checkpoint(tmp_path / "lm", family, "causal")
    for more in ([], ["--temperature", 0.7, "--top-p", 0.9, "--top-k", 30]):
        together = sample(tmp_path, *more)
        assert len({response for group in together for response in group}) > 10
        for budget in (1, 300):
            assert sample(tmp_path, *more, "--tokens-per-batch", budget) == together


def test_first_tokens_are_distributed_as_the_softmax_says(tmp_path):
    model, _ = save_checkpoint(tmp_path, "llama", "causal")
    prompt, count, temperature = [9, 8, 7, 6], 4000, 0.8
    drawn = forward(tmp_path, "generate", prompts=[prompt], max_new_tokens=1, responses=count, temperature=temperature)["tokens"][0]
    expected = torch.softmax(reference_logits(model, prompt)[-1].double() / temperature, 0)
    counts = Counter(tokens[0] for tokens in drawn)
    seen = torch.tensor([counts[i] for i in range(len(expected))]) / count
    for probability, share in zip(expected.tolist(), seen.tolist()):
        assert abs(share - probability) < 5 * (probability * (1 - probability) / count) ** 0.5 + 2 / count


def test_best_of_n_is_what_score_likes_best(tmp_path):
    save_checkpoint(tmp_path / "lm", "llama", "causal")
    save_checkpoint(tmp_path / "rm", "gpt2", "reward")
    write_rows(tmp_path / "prompts.jsonl", PROMPTS)
    arguments = ["sample", "--model", tmp_path / "lm", "--prompts", tmp_path / "prompts.jsonl", "--dtype", "float32", "--max-new-tokens", 8, "--seed", 5, "--threads", 1, "--quiet"]
    run_metarm(*arguments, "--responses", 6, "--output", tmp_path / "all.jsonl")
    run_metarm(*arguments, "--best-of", 6, "--rm", tmp_path / "rm", "--output", tmp_path / "best.jsonl")
    run_metarm("score", "--model", tmp_path / "rm", "--input", tmp_path / "all.jsonl", "--output", tmp_path / "scored.jsonl", "--quiet")
    for best, scored in zip(read_rows(tmp_path / "best.jsonl"), read_rows(tmp_path / "scored.jsonl"), strict=True):
        assert len(set(scored["rewards"])) == 6
        assert best["rewards"] == [pytest.approx(max(scored["rewards"]), abs=1e-5)]
        assert best["responses"] == [scored["responses"][scored["rewards"].index(max(scored["rewards"]))]]
