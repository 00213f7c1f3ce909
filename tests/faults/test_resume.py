"""kill -9 in the middle of a run, then --resume: the final weights equal an uninterrupted run's, bit for bit."""

import json
import os
import random
import signal
import subprocess
import time

import pytest
from families import save_checkpoint
from programs import BUILD, read_rows, run_metarm
from random_rows import write_data


COMMANDS = {
    "train, bfloat16": ["train", "--dtype", "bfloat16"],
    "train, moments in bfloat16": ["train", "--dtype", "float32", "--optimizer-dtype", "bfloat16"],
    "train, LoRA": ["train", "--lora-rank", "2", "--dtype", "float32"],
    "train, dropout": ["train", "--dropout", "0.1", "--dtype", "float32"],
    "align, bfloat16": ["align", "--responses", "groups.jsonl", "--dtype", "bfloat16", "--meta-batch-size", "2"],
    "align, Adam's direction": ["align", "--responses", "groups.jsonl", "--dtype", "float32", "--meta-scale", "adam", "--meta-lr", "1e-4", "--meta-batch-size", "2"],
    "align, importance": ["align", "--method", "importance", "--policy", "lm", "--reference-policy", "start", "--importance-temperature", "0.05", "--dtype", "bfloat16"],
    "align, adapted meta learning rates": ["align", "--responses", "groups.jsonl", "--dtype", "float32", "--meta-adapt", "8", "--meta-batch-size", "2"],
    "align, adapted intervals": ["align", "--responses", "groups.jsonl", "--dtype", "float32", "--lr", "0.01", "--meta-adapt", "4", "--meta-adapt-target", "both", "--max-meta-interval", "5",
                                 "--meta-batch-size", "2", "--eval-pairs", "held_out.jsonl", "--eval-steps", "2", "--meta-backoff", "0.9", "--meta-scale", "adam", "--meta-lr", "1e-3"],
    "train, regularized": ["train", "--dtype", "bfloat16", "--lr", "0.01", "--l2-sp", "2", "--freeze-layers", "1", "--layer-lr-decay", "0.5", "--lm-loss-weight", "0.1"],
    "train, batch normalization": ["train", "--dtype", "float32", "--lr", "0.01", "--head-training", "batch-norm"],
    "train, bottleneck, LoRA": ["train", "--dtype", "bfloat16", "--lr", "0.01", "--head-training", "bottleneck", "--lora-rank", "2"],
    "train, early stopping": ["train", "--dtype", "float32", "--lr", "0.05", "--eval-pairs", "held_out.jsonl", "--eval-steps", "2", "--early-stopping-patience", "15"],
    "align, backed off": ["align", "--responses", "groups.jsonl", "--dtype", "float32", "--lr", "0.01", "--eval-pairs", "held_out.jsonl", "--eval-steps", "2", "--meta-backoff", "0.8",
                          "--meta-batch-size", "2"],
    "sft": ["sft", "--data", "pairs.jsonl", "--dtype", "bfloat16"],
    "sft, LoRA": ["sft", "--data", "pairs.jsonl", "--lora-rank", "2", "--dtype", "float32"],
    "dpo": ["dpo", "--pairs", "pairs.jsonl", "--dtype", "float32", "--lr", "1e-3"],
    "ppo": ["ppo", "--prompts", "pairs.jsonl", "--rm", "rm", "--dtype", "float32", "--lr", "1e-3", "--max-new-tokens", "4", "--responses", "2", "--normalize-rewards",
            "--kl-target", "0.1", "--kl-horizon", "50", "--num-ppo-epochs", "2"],
    "ppo, critic": ["ppo", "--algorithm", "ppo", "--prompts", "pairs.jsonl", "--rm", "rm", "--dtype", "bfloat16", "--lr", "1e-3", "--critic-lr", "1e-3", "--max-new-tokens", "4", "--responses", "2",
                    "--num-mini-batches", "2"],
    "ppo, critic, LoRA": ["ppo", "--algorithm", "ppo", "--prompts", "pairs.jsonl", "--rm", "rm", "--dtype", "float32", "--lr", "1e-3", "--critic-lr", "1e-3", "--max-new-tokens", "4", "--responses",
                          "2", "--lora-rank", "2"],
    "align, SGD, second order": ["align", "--responses", "groups.jsonl", "--dtype", "float32", "--meta-order", "second", "--optimizer", "sgd", "--lr", "0.01"],
}
REWARD_MODEL = ["--model", "rm", "--pairs", "pairs.jsonl"]
START = {"train": REWARD_MODEL, "align": REWARD_MODEL, "sft": ["--model", "lm"], "dpo": ["--model", "lm"], "ppo": ["--policy", "lm"]}
COMMON = ["--batch-size", "2", "--max-steps", "40", "--save-steps", "3", "--threads", "1", "--quiet"]


def weights(run):
    """Of the finished model, and of a critic beside it."""
    name = "adapter_model.safetensors" if (run / "adapter_model.safetensors").exists() else "model.safetensors"
    return [(folder / name).read_bytes() for folder in (run, run / "critic") if folder == run or folder.exists()]


def kill_after(arguments, folder, done):
    """Starts metarm and kills it as soon as `done()` holds; False when it ended before."""
    process = subprocess.Popen([str(BUILD / "metarm"), *arguments], cwd=folder, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while process.poll() is None and not done():
        assert time.monotonic() < deadline
        time.sleep(0.002)
    killed = process.poll() is None
    if killed:
        os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return killed


@pytest.mark.parametrize("what", list(COMMANDS))
def test_killed_runs_end_the_same(what, tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    save_checkpoint(tmp_path / "lm", "llama", "causal")
    save_checkpoint(tmp_path / "start", "llama", "causal", seed=1)
    write_data(tmp_path)
    command = COMMANDS[what] + START[COMMANDS[what][0]] + COMMON
    run_metarm(*command, "--output", "whole", cwd=tmp_path)
    killed = tmp_path / "killed"
    rng = random.Random(what)
    kills = 0
    for least in (0, 6, 18, 33):  # before the first checkpoint, and at moments after
        more = rng.random() * 0.02

        def done():
            checkpoints = killed / "checkpoints"
            steps = [int(p.name[5:]) for p in checkpoints.glob("step-*") if p.name[5:].isdigit()] if checkpoints.exists() else []
            if (least == 0 and (killed / "metrics.jsonl").exists()) or max(steps, default=0) >= max(least, 1):
                time.sleep(more)
                return True
            return False

        kills += kill_after([*command, "--output", "killed", "--resume"], tmp_path, done)
        assert not (killed / "config.json").exists() or kills < 4
    assert kills >= 3, f"only {kills} kills came in time: the test shows too little"
    run_metarm(*command, "--output", "killed", "--resume", cwd=tmp_path)
    assert weights(killed) == weights(tmp_path / "whole")
    assert len(weights(killed)) == (2 if "critic" in what else 1)
    rows, whole = ([[row.get(name) for name in ("step", "loss", "eval_loss", "meta_lr", "meta_interval")] for row in read_rows(run / "metrics.jsonl")] for run in (killed, tmp_path / "whole"))
    assert rows == whole
    steps = [row[0] for row in rows if row[1] is not None]
    assert steps == list(range(1, len(steps) + 1)) and (len(steps) == 40 or "early" in what), "metrics of killed runs are doubled or lost"
    left = [p.name for p in killed.rglob("*") if ".tmp" in p.name]
    assert not left, left


def test_another_seed_gives_other_weights(tmp_path):
    """Else equality above would show nothing."""
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    write_data(tmp_path)
    for seed in "12":
        run_metarm("train", "--dtype", "float32", *REWARD_MODEL, *COMMON, "--seed", seed, "--output", f"run{seed}", cwd=tmp_path)
    assert weights(tmp_path / "run1") != weights(tmp_path / "run2")


def test_checkpoints_are_models_and_old_ones_go(tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    write_data(tmp_path)
    run_metarm("train", "--dtype", "float32", *REWARD_MODEL, *COMMON, "--save-total-limit", "2", "--output", "run", cwd=tmp_path)
    assert sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir()) == ["step-36", "step-39"]
    scored = run_metarm("score", "--model", "run/checkpoints/step-36", "--input", "pairs.jsonl", cwd=tmp_path)
    assert len(scored.stdout.splitlines()) == 30


def test_a_torn_checkpoint_is_named(tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    write_data(tmp_path)
    run_metarm("train", "--dtype", "float32", *REWARD_MODEL, *COMMON, "--output", "run", cwd=tmp_path)
    (tmp_path / "run" / "config.json").unlink()
    state = tmp_path / "run" / "checkpoints" / "step-39" / "training_state.safetensors"
    state.write_bytes(state.read_bytes()[:-8])
    result = run_metarm("train", "--dtype", "float32", *REWARD_MODEL, *COMMON, "--output", "run", "--resume", cwd=tmp_path, check=False)
    assert result.returncode == 2 and "training_state.safetensors" in result.stderr and result.stderr.count("\n") == 1


def test_tensorboard_reads_the_events(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    save_checkpoint(tmp_path / "rm", "llama", "reward")
    write_data(tmp_path)
    run_metarm("train", "--dtype", "float32", *REWARD_MODEL, *COMMON, "--output", "run", "--eval-pairs", "pairs.jsonl", cwd=tmp_path)
    events = EventAccumulator(str(tmp_path / "run"))
    events.Reload()
    rows = read_rows(tmp_path / "run" / "metrics.jsonl")
    for tag in ("loss", "learning_rate", "eval_accuracy"):
        expected = [(row["step"], row[tag]) for row in rows if tag in row]
        assert [(e.step, e.value) for e in events.Scalars(tag)] == [(step, pytest.approx(value, rel=1e-6)) for step, value in expected]
        assert expected


def test_the_resolved_config_is_toml(tmp_path):
    import tomllib

    save_checkpoint(tmp_path / "rm", "llama", "reward")
    write_data(tmp_path)
    run_metarm("train", *REWARD_MODEL, *COMMON, "--output", "run", "--lr", "0.0003", cwd=tmp_path)
    config = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert config["lr"] == 0.0003 and config["batch_size"] == 2 and config["lora_targets"] == ["all-linear"]
    assert json.loads((tmp_path / "run" / "config.json").read_text())["architectures"] == ["LlamaForSequenceClassification"]


CONSTANT = ["train", "--dtype", "float32", *REWARD_MODEL, "--batch-size", "2", "--lr-schedule", "constant", "--eval-pairs", "pairs.jsonl", "--threads", "1", "--quiet"]


def test_a_finished_run_goes_on_to_more_steps(tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    write_data(tmp_path)
    run_metarm(*CONSTANT, "--max-steps", "12", "--output", "whole", cwd=tmp_path)
    for steps in ("5", "12"):
        run_metarm(*CONSTANT, "--max-steps", steps, "--save-steps", steps, "--output", "run", "--resume", cwd=tmp_path)
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    rows = read_rows(tmp_path / "run" / "metrics.jsonl")
    assert [row["step"] for row in rows if "loss" in row] == list(range(1, 13))
    assert [row["step"] for row in rows if "eval_loss" in row] == [5, 12]
    assert [p.name for p in (tmp_path / "run/checkpoints").iterdir()] == ["step-12"]
    # A kill between the last checkpoint and the model: the evaluation is not doubled.
    (tmp_path / "run/config.json").unlink()
    run_metarm(*CONSTANT, "--max-steps", "12", "--save-steps", "12", "--output", "run", "--resume", cwd=tmp_path)
    assert read_rows(tmp_path / "run" / "metrics.jsonl") == rows and weights(tmp_path / "run") == weights(tmp_path / "whole")


@pytest.mark.parametrize("more", [["--max-steps", "4"], ["--max-steps", "9", "--lr-schedule", "linear"], ["--max-steps", "9", "--warmup-ratio", "0.5"]])
def test_a_run_goes_on_with_the_schedule_of_its_first_steps_alone(more, tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    write_data(tmp_path)
    options = dict(zip(more[::2], more[1::2]))
    arguments = [*REWARD_MODEL, "--batch-size", "2", "--dtype", "float32", "--quiet", "--output", "run"]
    schedule = [word for name in ("--lr-schedule", "--warmup-ratio") for word in (name, options.get(name, {"--lr-schedule": "constant", "--warmup-ratio": "0"}[name]))]
    run_metarm("train", *arguments, *schedule, "--max-steps", "5", cwd=tmp_path)
    result = run_metarm("train", *arguments, *schedule, "--max-steps", options["--max-steps"], "--resume", cwd=tmp_path, check=False)
    assert result.returncode == 4 and "max_steps: expected 5, with which the run began" in result.stderr
    assert "with more steps where the learning rate is constant without warm-up" in result.stderr
    assert (tmp_path / "run/config.json").exists()
