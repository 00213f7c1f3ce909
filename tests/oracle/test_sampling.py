"""Sampling at a temperature: whatever the batches, the same responses; distributed as transformers' softmax says."""

import json
from collections import Counter

import pytest
import torch
from families import save_checkpoint
from programs import read_rows, run_metarm, write_rows
from test_families import forward, reference_logits

PROMPTS = [{"prompt": text} for text in ("the inn at a river", "hello", "x" * 50, "the", "nine other three when in heather tin anther there")]


def sample(folder, *more, max_new_tokens=20):
    write_rows(folder / "prompts.jsonl", PROMPTS)
    run_metarm("sample", "--model", folder / "lm", "--prompts", folder / "prompts.jsonl", "--output", folder / "out.jsonl", "--dtype", "float32", "--max-new-tokens", max_new_tokens, "--threads", 1,
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


def test_ended_says_which_responses_a_longer_limit_would_not_change(tmp_path):
    save_checkpoint(tmp_path / "lm", "llama", "causal")
    drawn = {}
    for limit in (20, 60):
        sample(tmp_path, "--stop", "e", max_new_tokens=limit)
        drawn[limit] = [pair for row in read_rows(tmp_path / "out.jsonl") for pair in zip(row["responses"], row["ended"], strict=True)]
    assert {ended for _, ended in drawn[20]} == {True, False}
    for (short, ended), (long, _) in zip(drawn[20], drawn[60], strict=True):
        assert (short == long) == ended


def test_a_stop_text_is_seen_where_a_decoder_strips_the_first_space(tmp_path):
    save_checkpoint(tmp_path / "lm", "llama", "causal")
    path = tmp_path / "lm/tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["decoder"] = {"type": "Sequence", "decoders": [tokenizer["decoder"], {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    path.write_text(json.dumps(tokenizer))
    write_rows(tmp_path / "prompts.jsonl", PROMPTS)
    arguments = ["sample", "--model", tmp_path / "lm", "--prompts", tmp_path / "prompts.jsonl", "--output", tmp_path / "out.jsonl", "--max-new-tokens", 3, "--responses", 100, "--quiet"]
    drawn = []
    for more in ([], ["--stop", " "]):
        run_metarm(*arguments, *more)
        drawn.append([pair for row in read_rows(tmp_path / "out.jsonl") for pair in zip(row["responses"], row["ended"])])
    stopped = [found for (response, _), found in zip(*drawn, strict=True) if response.startswith(" ")]
    assert stopped and set(stopped) == {("", True)}


def test_best_of_n_says_where_the_reward_model_has_no_positions(tmp_path):
    save_checkpoint(tmp_path / "lm", "llama", "causal")
    save_checkpoint(tmp_path / "rm", "gpt2", "reward")  # 256 learned positions
    write_rows(tmp_path / "prompts.jsonl", [{"prompt": "the " * 240}, {"prompt": "x"}])
    arguments = ["sample", "--model", tmp_path / "lm", "--prompts", tmp_path / "prompts.jsonl", "--output", tmp_path / "best.jsonl", "--best-of", 2, "--rm", tmp_path / "rm"]
    assert "1 sequences longer than the reward model's positions lost their prompt's oldest tokens" in run_metarm(*arguments, "--max-new-tokens", 8).stderr.replace("2 sequences", "1 sequences")
    result = run_metarm(*arguments, "--max-new-tokens", 700, check=False)
    assert result.returncode == 2 and "--best-of: expected responses of up to 256 of the reward model's tokens" in result.stderr


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
        place = scored["rewards"].index(max(scored["rewards"]))
        assert best["responses"] == [scored["responses"][place]] and best["ended"] == [scored["ended"][place]]
