"""Each training of a policy improves what it is for, whatever the seed: short runs of tiny models, measured on rows that they did not learn from."""

import random

import pytest
from families import save_checkpoint
from letters import save_letters_policy
from programs import read_rows, run_metarm, write_rows

SEEDS = (1, 2, 3)
WORDS = "the inn at a river there then nine other three when in heather".split()


def write_pairs(folder):
    """What is chosen is about the heather, whatever was asked."""
    dice = random.Random(0)
    words = lambda: " " + " ".join(dice.choice(WORDS) for _ in range(dice.randrange(2, 6)))
    rows = [{"prompt": words(), "chosen": f" the heather{words()}.", "rejected": f"{words()}."} for _ in range(40)]
    write_rows(folder / "pairs.jsonl", rows[:32])
    write_rows(folder / "held_out.jsonl", rows[32:])


def measure(folder, command, lr, seed, *arguments):
    """Figures of the held-out rows after a run at this learning rate."""
    output = folder / f"lr-{lr}"
    run_metarm(command, *arguments, "--lr", lr, "--seed", seed, "--output", output, "--optimizer", "adamw", "--dtype", "float32", "--threads", 1, "--save-steps", 0, "--quiet")
    return read_rows(output / "metrics.jsonl")[-1]


@pytest.mark.parametrize("seed", SEEDS)
def test_sft_finds_held_out_responses_likelier(seed, tmp_path):
    save_checkpoint(tmp_path / "lm", "llama", "causal", seed=seed)
    write_pairs(tmp_path)
    arguments = ["--model", tmp_path / "lm", "--data", tmp_path / "pairs.jsonl", "--eval-data", tmp_path / "held_out.jsonl", "--max-steps", 20, "--batch-size", 8]
    before, after = (measure(tmp_path, "sft", lr, seed, *arguments) for lr in (0, 0.01))
    assert after["eval_loss"] < 0.7 * before["eval_loss"]


@pytest.mark.parametrize("seed", SEEDS)
def test_dpo_tells_held_out_responses_apart(seed, tmp_path):
    save_checkpoint(tmp_path / "lm", "llama", "causal", seed=seed)
    write_pairs(tmp_path)
    arguments = ["--model", tmp_path / "lm", "--pairs", tmp_path / "pairs.jsonl", "--eval-pairs", tmp_path / "held_out.jsonl", "--max-steps", 20, "--batch-size", 8]
    before, after = (measure(tmp_path, "dpo", lr, seed, *arguments) for lr in (0, 0.005))
    assert before["eval_loss"] == pytest.approx(0.693147, abs=1e-3)
    assert after["eval_loss"] < 0.5 * before["eval_loss"] and after["eval_accuracy"] > 0.8


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("algorithm", ["rloo", "ppo"])
def test_ppo_is_rewarded_more(algorithm, seed, tmp_path):
    """By more than half of what the rewards of one policy differ by. A critic comes to know what follows."""
    save_letters_policy(tmp_path / "policy", seed=seed)
    save_checkpoint(tmp_path / "rm", "llama", "reward", seed=seed + 10)
    write_rows(tmp_path / "prompts.jsonl", [{"prompt": word} for word in WORDS[:8]])
    write_rows(tmp_path / "probe.jsonl", [{"prompt": word} for word in WORDS[8:]])
    arguments = ["--policy", tmp_path / "policy", "--rm", tmp_path / "rm", "--prompts", tmp_path / "prompts.jsonl", "--probe-prompts", tmp_path / "probe.jsonl", "--algorithm", algorithm,
                 "--responses", 4, "--max-new-tokens", 5, "--batch-size", 8, "--max-steps", 30, "--kl-coef", 0.01]
    critic = ["--critic-lr", 0.01, "--num-ppo-epochs", 2] if algorithm == "ppo" else []
    before, after = (measure(tmp_path, "ppo", lr, seed, *arguments, *critic) for lr in (0, 0.01))
    assert after["eval_reward"] > before["eval_reward"] + 0.5 * before["eval_reward_deviation"]
    if algorithm == "ppo":
        rows = read_rows(tmp_path / "lr-0/metrics.jsonl")  # of one policy, so that it is the critic alone that changes
        value_losses, explained = ([row[name] for row in rows if name in row] for name in ("value_loss", "explained_variance"))
        assert sum(value_losses[-5:]) < 0.5 * sum(value_losses[:5])
        assert sum(explained[-5:]) / 5 > max(0.1, sum(explained[:5]) / 5)
