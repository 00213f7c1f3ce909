"""Several ranks compute what one computes: final weights and figures of trainings, scores, samples."""

import json
import math
import random
import shutil

import pytest
import torch
from families import save_checkpoint
from programs import read_rows, run_metarm, run_ranks, write_rows
from safetensors.torch import load_file

pytestmark = pytest.mark.skipif(shutil.which("mpirun") is None, reason="mpirun is not installed: runs of several ranks are not tested")

WORDS = "the inn at a river there then nine other three when in heather".split()
RANKS = (2, 4)


def write_data(folder, pairs=23, groups=9):
    rng = random.Random(0)
    text = lambda: " " + " ".join(rng.choice(WORDS) for _ in range(rng.randrange(2, 20)))
    rows = [{"prompt": text(), "chosen": text(), "rejected": text(), "weight": rng.choice([0.5, 1.0, 2.0])} for _ in range(pairs)]
    write_rows(folder / "pairs.jsonl", rows)
    write_rows(folder / "groups.jsonl", [{"prompt": text(), "responses": [text() for _ in range(rng.choice([2, 3, 5]))]} for _ in range(groups)])
    write_rows(folder / "prompts.jsonl", [{"prompt": text()} for _ in range(11)])


# What is run, and how far the final weights of R ranks may be from one rank's, as a share of how far the training moved them. AdamW divides by the size of each element's gradient, and
# so magnifies rounding where that is near 0; bfloat16 rounds each microbatch's gradient. 23 pairs in batches of 5: the last of an epoch has fewer rows than there are ranks.
TRAINING = ["--pairs", "pairs.jsonl", "--batch-size", "5", "--max-steps", "6", "--save-steps", "0", "--threads", "1", "--quiet"]
ALIGN = ["align", "--responses", "groups.jsonl", "--dtype", "float32", "--meta-batch-size", "5"]
RUNS = {
    "train, AdamW": (["train", "--dtype", "float32", "--lr", "1e-3", "--weight-decay", "0.1", "--eval-pairs", "pairs.jsonl"], 1e-3),
    "train, SGD": (["train", "--dtype", "float32", "--optimizer", "sgd", "--lr", "0.05", "--weight-decay", "0.1", "--max-grad-norm", "0.5"], 1e-4),
    "train, small microbatches": (["train", "--dtype", "float32", "--optimizer", "sgd", "--lr", "0.05", "--tokens-per-batch", "60"], 1e-4),
    "train, gradient checkpointing": (["train", "--dtype", "float32", "--optimizer", "sgd", "--lr", "0.05", "--gradient-checkpointing"], 1e-4),
    "train, LoRA": (["train", "--dtype", "float32", "--lora-rank", "2", "--lr", "1e-3"], 1e-3),
    "train, dropout": (["train", "--dtype", "float32", "--optimizer", "sgd", "--lr", "0.05", "--dropout", "0.3"], 1e-4),
    "train, bfloat16": (["train", "--dtype", "bfloat16", "--optimizer", "sgd", "--lr", "0.05"], 0.05),
    "align, normalized": ([*ALIGN, "--meta-lr", "0.1", "--optimizer", "sgd", "--lr", "0.05"], 1e-4),
    "align, absolute, AdamW": ([*ALIGN, "--meta-scale", "absolute", "--meta-lr", "0.005", "--lr", "1e-3"], 1e-3),
    "align, Adam's direction": ([*ALIGN, "--meta-scale", "adam", "--meta-lr", "1e-4", "--optimizer", "sgd", "--lr", "0.05"], 1e-4),
    "align, second order": ([*ALIGN, "--meta-order", "second", "--meta-lr", "0.05", "--optimizer", "sgd", "--lr", "0.05"], 1e-4),
    "align, adapted intervals": ([*ALIGN, "--meta-adapt", "4", "--meta-adapt-target", "both", "--max-meta-interval", "3", "--meta-lr", "0.1", "--optimizer", "sgd", "--lr", "0.05"], 1e-4),
    "align, importance": (["align", "--method", "importance", "--policy", "lm", "--reference-policy", "other_lm", "--importance-temperature", "0.05", "--dtype", "float32", "--optimizer", "sgd",
                           "--lr", "0.05"], 1e-4),
    "align, joint": ([*ALIGN, "--method", "joint", "--optimizer", "sgd", "--lr", "0.05"], 1e-4),
}
FIGURES = ("loss", "accuracy", "margin", "gradient_norm", "j_before", "j_after", "meta_step_ratio", "meta_cosine", "meta_lr", "meta_interval", "importance", "importance_effective_share",
           "importance_max", "eval_loss", "eval_accuracy")
COUNTS = ("step", "pairs", "tokens", "learning_rate", "epoch")


def final_weights(run):
    name = "adapter_model.safetensors" if (run / "adapter_model.safetensors").exists() else "model.safetensors"
    return {name: tensor.double() for name, tensor in load_file(run / name).items()}


def distance(a, b):
    return math.sqrt(sum((a[name] - b[name]).square().sum().item() for name in b))


@pytest.mark.parametrize("what", list(RUNS))
def test_trainings_end_at_the_same_weights(what, tmp_path):
    command, tolerance = RUNS[what]
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    for seed, name in enumerate(("lm", "other_lm")):
        save_checkpoint(tmp_path / name, "llama", "causal", seed=seed)
    write_data(tmp_path)
    command = [*command, "--model", "rm", *TRAINING]
    assert "--lr" in command
    still = [("0" if before == "--lr" else part) for before, part in zip(["", *command], command)]
    run_metarm(*still, "--output", "start", cwd=tmp_path)
    run_metarm(*command, "--output", "one", cwd=tmp_path)
    start, one = final_weights(tmp_path / "start"), final_weights(tmp_path / "one")
    moved = distance(one, start)
    for ranks in RANKS:
        run_ranks(ranks, *command, "--output", f"run{ranks}", cwd=tmp_path)
        assert distance(final_weights(tmp_path / f"run{ranks}"), one) < tolerance * moved, f"{ranks} ranks"
        rows, expected = read_rows(tmp_path / f"run{ranks}" / "metrics.jsonl"), read_rows(tmp_path / "one" / "metrics.jsonl")
        assert len(rows) == len(expected)
        for row, of_one in zip(rows, expected):
            assert row.keys() == of_one.keys()
            assert all(row[key] == of_one[key] for key in COUNTS if key in of_one)
            assert all(row[key] == pytest.approx(of_one[key], rel=max(1e-4, tolerance), abs=max(1e-4, tolerance)) for key in FIGURES if key in of_one)


def test_the_same_ranks_repeat_a_run_bit_for_bit(tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    write_data(tmp_path)
    for name in "ab":
        run_ranks(3, "train", "--model", "rm", "--dtype", "float32", "--dropout", "0.1", *TRAINING, "--output", name, cwd=tmp_path)
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()


def test_scores(tmp_path):
    save_checkpoint(tmp_path / "rm", "qwen2", "reward")
    write_data(tmp_path, pairs=40, groups=20)
    command = ["score", "--model", "rm", "--input", "pairs.jsonl", "groups.jsonl", "--tokens-per-batch", "16", "--threads", "1", "--json", "--output"]  # blocks of a few rows

    def counts(printed):
        summary = json.loads(printed)
        return {name: count for name, count in summary.items() if name not in ("output", "seconds")}

    expected_counts = counts(run_metarm(*command, "one.jsonl", cwd=tmp_path).stdout)
    one = read_rows(tmp_path / "one.jsonl")
    assert len(one) == 60
    for ranks in RANKS:
        assert counts(run_ranks(ranks, *command, "many.jsonl", cwd=tmp_path).stdout) == expected_counts
        for row, expected in zip(read_rows(tmp_path / "many.jsonl"), one, strict=True):
            for field in ("rewards", "chosen_reward", "rejected_reward"):
                assert row.pop(field, None) == pytest.approx(expected.get(field), abs=1e-5)
            assert row.items() <= expected.items()
    to_stdout = run_ranks(2, "score", "--model", "rm", "--input", "pairs.jsonl", cwd=tmp_path).stdout
    assert len(to_stdout.splitlines()) == 40


def test_evaluations(tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    write_data(tmp_path, pairs=40)
    for seed, name in enumerate(("policy", "start")):
        save_checkpoint(tmp_path / name, "llama", "causal", seed=seed)
    command = ["eval", "--model", "rm", "--pairs", "pairs.jsonl", "--responses", "groups.jsonl", "--policy", "policy", "--reference-policy", "start", "--threads", "1", "--quiet"]
    assert run_ranks(4, *command, cwd=tmp_path).stdout == run_metarm(*command, cwd=tmp_path).stdout


def test_samples_are_the_same_to_the_last_token(tmp_path):
    save_checkpoint(tmp_path / "lm", "llama", "causal")
    write_data(tmp_path)
    command = ["sample", "--model", "lm", "--prompts", "prompts.jsonl", "--dtype", "float32", "--responses", "3", "--max-new-tokens", "12", "--seed", "5", "--threads", "1", "--quiet", "--output"]
    run_metarm(*command, "one.jsonl", cwd=tmp_path)
    expected = (tmp_path / "one.jsonl").read_text()
    assert len(expected.splitlines()) == 11
    for ranks in RANKS:
        run_ranks(ranks, *command, "many.jsonl", cwd=tmp_path)
        assert (tmp_path / "many.jsonl").read_text() == expected


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_the_seam_and_the_bucketed_sums(ranks):
    run_ranks(ranks, ranks, name="ranks")


def test_a_gradient_that_is_not_finite_is_skipped_by_all(tmp_path):
    """The weight of one row overflows: the rank that has it alone sees it before the sum."""
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    write_data(tmp_path)
    rows = read_rows(tmp_path / "pairs.jsonl")
    rows[7]["weight"] = 3e38
    write_rows(tmp_path / "pairs.jsonl", [{**row, "margin": 50.0 if row["weight"] > 1e38 else 0.0} for row in rows])
    command = ["train", "--model", "rm", "--dtype", "float32", "--shuffle", "false", "--lr", "1e-3", *TRAINING]
    run_metarm(*command, "--output", "one", cwd=tmp_path)
    skipped = [row.get("skipped", 0) for row in read_rows(tmp_path / "one" / "metrics.jsonl")]
    assert sum(skipped) == 1
    run_ranks(2, *command, "--output", "two", cwd=tmp_path)
    assert [row.get("skipped", 0) for row in read_rows(tmp_path / "two" / "metrics.jsonl")] == skipped
    start, one = final_weights(tmp_path / "rm"), final_weights(tmp_path / "one")
    assert distance(final_weights(tmp_path / "two"), one) < 2e-3 * distance(one, start)
    assert all(torch.isfinite(tensor).all() for tensor in one.values())
