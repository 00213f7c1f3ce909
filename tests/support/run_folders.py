"""Run directories by hand: trainings and rounds with figures that could be real, made from a formula."""

import json
import math
import random
from pathlib import Path

from programs import write_rows

PROMPTS = ["How do I keep basil alive indoors?", "Explain tides to a child.", "Write a polite refusal.", "What does a mutex do?"]


def write_config(folder, command, options):
    def text(value):
        return json.dumps(value)

    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"# metarm {command}", *(f"{key} = {text(value)}" for key, value in options.items())]
    (folder / "config.toml").write_text("\n".join(lines) + "\n")


def write_training(folder, command="train", steps=120, seed=1, finished=True, **options):
    """Returns the rows of metrics.jsonl."""
    folder = Path(folder)
    dice = random.Random(seed)
    write_config(folder, command, {"model": "smollm2", "lr": 2e-5, "batch_size": 16, "pairs": ["train.jsonl"], "output": str(folder.name), "seed": seed} | options)
    rows = []
    for step in range(1, steps + 1):
        share = step / steps
        row = {"step": step, "epoch": share, "time_s": 1.8e9 + 23.5 * step, "learning_rate": 2e-5 * (1 - share), "gradient_norm": 3 + dice.random()}
        row |= {"loss": 0.69 - 0.15 * share + 0.06 * dice.gauss(0, 1), "pairs_per_s": 0.66 + 0.02 * dice.random(), "peak_memory_bytes": 4.4e9}
        if command in ("train", "align"):
            row |= {"accuracy": round(16 * min(1, max(0, 0.5 + 0.18 * share + 0.1 * dice.gauss(0, 1)))) / 16, "pairs": 16}
        if command == "align":
            j = 0.56 + 0.03 * share + 0.01 * dice.gauss(0, 1)
            row |= {"j_before": j, "j_after": j + 0.004, "meta_step_ratio": 1e-4 * (1 + dice.random()), "meta_cosine": 0.2 * dice.gauss(0, 1), "groups": 4}
        if command == "ppo":
            kl = 18 * share + 0.4 * dice.random()
            row |= {"kl": kl, "reward": 0.9 * math.sqrt(kl), "gold_reward": 0.8 * math.sqrt(kl) - 0.13 * kl, "gold_accuracy": 0.7 - 0.1 * share, "entropy": 3 - 1.5 * share}
        if command in ("train", "align") and step % 30 == 0:
            accuracy = 0.55 + 0.1 * share
            row |= {"eval_accuracy": accuracy, "eval_accuracy_low": accuracy - 0.055, "eval_accuracy_high": accuracy + 0.055, "eval_loss": 0.66 - 0.05 * share}
        rows.append(row)
    write_rows(folder / "metrics.jsonl", rows)
    if finished:
        (folder / "config.json").write_text("{}")
    return rows


def interval(name, value, half):
    return {name: value, f"{name}_low": value - half, f"{name}_high": value + half}


def evaluation(t):
    """What `eval --json` could say in round t."""
    width = 1.1 / t**0.6
    counts = [round(720 * (math.erf((0.25 * i + 0.25) / width) - math.erf(0.25 * i / width))) for i in range(17)]
    bins = [{"confidence": 0.525 + 0.05 * i, "accuracy": 0.52 + (0.042 - 0.006 * t) * i, "pairs": 60 - 5 * i} for i in range(9)]
    pairs = interval("accuracy", 0.66 - 0.012 * t, 0.03) | {"calibration_error": 0.03 + 0.012 * t, "calibration": bins, "pairs": 300}
    responses = {"mean": 0.96 + 0.05 * t, "variance": 1.56 + 0.1 * t, "scaled_mean": 0.96 - 0.08 * t, "scaled_variance": 1.5 - 0.16 * t, "near_ties": 0.065 + 0.02 * t,
                 "histogram": counts, "scaled_histogram_step": 0.25, "length_correlation": None}
    return {"model": "rm", "pairs": pairs, "responses": responses, "divergence": {"k3_per_response": {"mean": 2.6 * t, "standard_error": 0.2}}}


def response_groups(t, groups, seed):
    dice = random.Random(seed)
    rows = []
    for i in range(groups):
        responses = [f"Response {k} to prompt {i} in round {t}. " + "It goes on for a while. " * dice.randint(1, 12 * t) for k in range(4)]
        rows.append({"prompt": PROMPTS[i % len(PROMPTS)] + f" ({i})", "responses": responses, "policy": f"policy-{t}", "round": t})
    return rows


def scored(rows, t):
    """As `eval` leaves them: with rewards, in an order of its own."""
    dice = random.Random(t)
    return [row | {"rewards": [dice.gauss(0.4 * t, 1 / t) for _ in row["responses"]]} for row in reversed(rows)]


STAGES = {"responses": "sample", "rm": "align", "policy": "ppo", "measure": "eval", "judged": "judge"}


def finish(folder, stage, figures):
    (folder / f"{stage}.done.json").write_text(json.dumps({"options": f"# metarm {STAGES[stage]}\n", "figures": figures, "seconds": 90.0}))
    return figures


def write_rounds(folder, rounds=4, groups=12):
    """As `metarm rounds` leaves it. Returns what the stages said, {stage: figures} a round. In the last round two stages have finished."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stages = "".join(f'[[stage]]\nname = "{name}"\ncommand = "{command}"\n' for name, command in STAGES.items())
    (folder / "config.toml").write_text(f'rounds = {rounds}\npolicy = "smollm2"\n{stages}')
    said = []
    for t in range(1, rounds + 1):
        here = folder / f"round-{t}"
        training = write_training(here / "rm", "align", steps=60, seed=t, meta_lr=1e-3 / t)
        (here / "responses.toml").write_text(f"# metarm sample\ntemperature = 1.0\nseed = {t}\n")
        rows = response_groups(t, groups, seed=t)
        write_rows(here / "responses.jsonl", rows)
        figures = {"responses": finish(here, "responses", {"prompts": groups, "seconds": 4.5, "output": "responses.jsonl"}), "rm": finish(here, "rm", training[-1])}
        said.append(figures)
        if t == rounds:
            break
        policy = write_training(here / "policy", "ppo", steps=60, seed=10 + t)
        (here / "measure").mkdir()
        write_rows(here / "measure" / "prompts.jsonl", scored(rows, t))
        win, lose = 0.42 + 0.05 * t, 0.38 - 0.04 * t
        judged = interval("win", win, 0.06) | interval("tie", 1 - win - lose, 0.05) | interval("lose", lose, 0.06)
        figures |= {"policy": finish(here, "policy", policy[-1]), "measure": finish(here, "measure", evaluation(t)), "judged": finish(here, "judged", judged)}
    return said
