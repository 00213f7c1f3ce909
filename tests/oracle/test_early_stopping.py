"""--early-stopping-patience: where the run ends, and that the finished model is that of the lowest held-out loss, equal to a run of so many steps."""

import math

import pytest
from families import save_checkpoint
from programs import read_rows, run_metarm, write_rows

PAIRS = [{"prompt": f"The inn {word}", "chosen": " the river is there.", "rejected": " nine"} for word in ("at", "there", "then", "nine")]
# Learned at first, then unlearned: one pair as those above, one the other way round.
STRANGE = [{"prompt": "The inn at", "response": " nine"}]  # what a policy of these pairs unlearns
HELD_OUT = [{"prompt": "The inn is", "chosen": " the river is there.", "rejected": " nine"}, {"prompt": "Ah", "chosen": " nine", "rejected": " the river is there."}]


@pytest.fixture
def folder(tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    save_checkpoint(tmp_path / "lm", "llama", "causal")
    write_rows(tmp_path / "pairs.jsonl", PAIRS)
    write_rows(tmp_path / "held_out.jsonl", HELD_OUT)
    write_rows(tmp_path / "strange.jsonl", STRANGE)
    return tmp_path


COMMANDS = {"train": ("train", "--model", "rm", "--pairs", "pairs.jsonl", "--eval-pairs", "held_out.jsonl"),
            "sft": ("sft", "--model", "lm", "--data", "pairs.jsonl", "--eval-data", "strange.jsonl"),
            "dpo": ("dpo", "--model", "lm", "--pairs", "pairs.jsonl", "--eval-pairs", "held_out.jsonl")}
FIXED = ("--dtype", "float32", "--lr", "0.003", "--lr-schedule", "constant", "--batch-size", "4", "--threads", "1", "--quiet")


def run(folder, command, output, **options):
    arguments = [part for name, value in options.items() for part in ("--" + name.replace("_", "-"), str(value))]
    run_metarm(*COMMANDS[command], *FIXED, "--output", output, *arguments, cwd=folder)
    return read_rows(folder / output / "metrics.jsonl"), (folder / output / "model.safetensors").read_bytes()


def evaluations(metrics):
    return {row["step"]: row["eval_loss"] for row in metrics if "eval_loss" in row}


@pytest.mark.parametrize("command", COMMANDS)
def test_it_ends_and_returns_to_the_lowest_loss(command, folder):
    whole, _ = run(folder, command, "whole", max_steps=60, eval_steps=2)
    losses, lowest, since, end = evaluations(whole), math.inf, 0, None
    for step, loss in losses.items():
        if loss < lowest:
            lowest, best, since = loss, step, 0
        elif (since := since + 1) == 3:
            end = step
            break
    assert end and 2 <= best < end < 60, f"these data show nothing: best {best}, end {end}"
    metrics, weights = run(folder, command, "stopped", max_steps=60, eval_steps=2, early_stopping_patience=3, save_steps=5)
    assert evaluations(metrics) == {step: loss for step, loss in losses.items() if step <= end}
    assert max(row["step"] for row in metrics) == end
    assert weights == run(folder, command, "short", max_steps=best)[1]
    kept = {int(path.name[5:]) for path in (folder / "stopped/checkpoints").iterdir()}
    assert kept == {best, max(step for step in range(1, end + 1) if step % 5 == 0 or step in bests(losses, end))}


def bests(losses, end):
    """Steps whose evaluation was the lowest so far."""
    steps = [step for step in losses if step <= end]
    return {step for i, step in enumerate(steps) if all(losses[step] < losses[before] for before in steps[:i])}


def test_a_run_that_does_not_stop_finishes_with_the_lowest_too(folder):
    whole, _ = run(folder, "train", "whole", max_steps=60, eval_steps=2)
    losses = evaluations(whole)
    best = min(losses, key=losses.get)
    metrics, weights = run(folder, "train", "patient", max_steps=60, eval_steps=2, early_stopping_patience=1000)
    assert evaluations(metrics) == losses and best < 60
    assert weights == run(folder, "train", "short", max_steps=best)[1]


def test_a_run_that_ended_early_goes_on_from_a_checkpoint_of_its_own(folder):
    """More steps are asked for: the checkpoint asked for at the old end was never reached."""
    options = dict(eval_steps=2, early_stopping_patience=3)
    metrics, _ = run(folder, "train", "stopped", max_steps=60, save_steps=60, **options)
    end = max(row["step"] for row in metrics)
    assert all(int(path.name[5:]) <= end < 60 for path in (folder / "stopped/checkpoints").iterdir())
    longer, weights = run(folder, "train", "stopped", max_steps=80, save_steps=80, resume="true", **options)
    assert longer[-1]["step"] == end and weights == run(folder, "train", "whole", max_steps=80, save_steps=80, **options)[1]


def test_the_end_of_a_shorter_run_does_not_count(folder):
    """Its evaluation is none of every --eval-steps: a run that never paused there has none."""
    options = dict(eval_steps=2, early_stopping_patience=3)
    losses = evaluations(run(folder, "train", "whole", max_steps=60, **options)[0])
    pause = min(losses, key=losses.get) + 1
    short, _ = run(folder, "train", "paused", max_steps=pause, save_steps=pause, **options)
    assert pause in evaluations(short)
    longer, weights = run(folder, "train", "paused", max_steps=60, save_steps=pause, resume="true", **options)
    whole, expected = run(folder, "train", "never", max_steps=60, save_steps=pause, **options)
    assert longer[-1]["step"] == whole[-1]["step"] > pause and weights == expected


def test_it_needs_evaluations(folder):
    result = run_metarm(*COMMANDS["train"], *FIXED, "--output", "out", "--early-stopping-patience", "2", cwd=folder, check=False)
    assert result.returncode == 2 and "expected --eval-steps with it" in result.stderr and result.stderr.count("\n") == 1
