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
            row |= {"kl": kl, "proxy_reward": 0.9 * math.sqrt(kl), "gold_reward": 0.8 * math.sqrt(kl) - 0.13 * kl, "entropy": 3 - 1.5 * share}
        if command in ("train", "align") and step % 30 == 0:
            accuracy = 0.55 + 0.1 * share
            row |= {"eval_accuracy": accuracy, "eval_accuracy_low": accuracy - 0.055, "eval_accuracy_high": accuracy + 0.055, "eval_loss": 0.66 - 0.05 * share}
        rows.append(row)
    write_rows(folder / "metrics.jsonl", rows)
    if finished:
        (folder / "config.json").write_text("{}")
    return rows


def interval(value, half):
    return {"value": value, "low": value - half, "high": value + half}


def round_record(t):
    edges = [0.25 * i for i in range(17)]
    width = 1.1 / t**0.6
    counts = [round(720 * (math.erf((edge + 0.25) / width) - math.erf(edge / width))) for edge in edges]
    figures = {
        "accuracy": interval(0.66 - 0.012 * t, 0.03),
        "gold_accuracy": interval(0.7 - 0.035 * t, 0.04),
        "calibration_error": 0.03 + 0.012 * t,
        "difference_mean": 0.96 + 0.05 * t,
        "difference_variance": 1.56 + 0.1 * t,
        "difference_mean_scaled": 0.96 - 0.08 * t,
        "difference_variance_scaled": 1.5 - 0.16 * t,
        "near_ties": 0.065 + 0.02 * t,
        "proxy_reward": interval(0.4 + 0.45 * t, 0.08),
        "gold_reward": interval(0.3 + 0.4 * t - 0.07 * t * t, 0.08),
        "kl": 2.6 * t**1.4,
    }
    bins = [{"confidence": 0.525 + 0.05 * i, "accuracy": 0.52 + (0.042 - 0.006 * t) * i, "pairs": 60 - 5 * i} for i in range(9)]
    return {"round": t, "figures": figures, "histogram": {"edges": edges, "counts": counts}, "calibration": bins}


def response_groups(t, groups, seed):
    dice = random.Random(seed)
    rows = []
    for i in range(groups):
        responses = [f"Response {k} to prompt {i} in round {t}. " + "It goes on for a while. " * dice.randint(1, 12 * t) for k in range(4)]
        rows.append({"prompt": PROMPTS[i % len(PROMPTS)] + f" ({i})", "responses": responses, "rewards": [dice.gauss(0.4 * t, 1 / t) for _ in responses], "policy": f"policy-{t}", "round": t})
    return rows


def write_rounds(folder, rounds=4, groups=12):
    """Returns the records of rounds.jsonl. The last round has no record yet: it is not finished."""
    folder = Path(folder)
    write_config(folder, "rounds", {"rounds": rounds, "policy": "smollm2", "kl_coefficient": 0.05})
    records = [round_record(t) for t in range(1, rounds)]
    write_rows(folder / "rounds.jsonl", records)
    for t in range(1, rounds + 1):
        write_training(folder / f"round-{t}" / "rm", "align", steps=60, seed=t, meta_lr=1e-3 / t)
        write_rows(folder / f"round-{t}" / "responses.jsonl", response_groups(t, groups, seed=t))
        if t == rounds:
            continue
        write_training(folder / f"round-{t}" / "policy", "ppo", steps=60, seed=10 + t)
        win, lose = 0.42 + 0.05 * t, 0.38 - 0.04 * t
        judge = {"win": interval(win, 0.06), "tie": interval(1 - win - lose, 0.05), "lose": interval(lose, 0.06)}
        (folder / f"round-{t}" / "judge.json").write_text(json.dumps(judge))
    return records
