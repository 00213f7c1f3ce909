"""metarm's own contenders: one command each, timed by what it reports."""

import json
from pathlib import Path

from workbench import LR, MEMBERS, META_LR, RESPONSES, load_json_lines
from training_figures import token_figures, training_figures


def read_steps(folder):
    return [{"seconds": row["pairs"] / row["pairs_per_s"], **{name: row[name] for name in ("loss", "pairs", "tokens", "j_before") if name in row}}
            for row in load_json_lines(folder / "metrics.jsonl")]


def common(workbench, dtype, pairs, batch_size, steps):
    return ["--model", workbench.shared["reward_model"], "--pairs", workbench.shared[pairs], "--output", workbench.folder / "run/out", "--dtype", dtype,
            "--lr", LR, "--lr-schedule", "constant", "--batch-size", batch_size, "--max-steps", steps, "--max-length", 0, "--shuffle", "false", "--save-steps", 0]


def run_training(workbench, dtype, pairs, batch_size, steps, options=(), **how):
    finished = workbench.run_metarm("train", *common(workbench, dtype, pairs, batch_size, steps), *options, **how)
    rows = read_steps(workbench.folder / "run/out")
    work = workbench.shared["work"][pairs][:steps]
    if [row["tokens"] for row in rows] != [step["tokens"] for step in work]:
        raise SystemExit(f"bench: metarm train: expected trees of {[step['tokens'] for step in work]} tokens, got {[row['tokens'] for row in rows]}")
    return training_figures(rows, finished.peak_memory_bytes) | token_figures(rows, work, workbench.shared)


def train(workbench, dtype):
    return run_training(workbench, dtype, "pairs", workbench.sizes["batch_size"], workbench.sizes["steps"])


def train_small(workbench, dtype):
    """All that saves memory: activations computed again, moments in bfloat16."""
    return run_training(workbench, dtype, "pairs", workbench.sizes["batch_size"], workbench.sizes["steps"],
                        options=["--gradient-checkpointing", "true", "--optimizer-dtype", "bfloat16"])


def train_many(workbench, dtype):
    """Eight times the rows a step."""
    return run_training(workbench, dtype, "many", 8 * workbench.sizes["batch_size"], workbench.sizes["growth_steps"])


def train_long(workbench, dtype):
    """Rows four times as long."""
    return run_training(workbench, dtype, "long", workbench.sizes["batch_size"], workbench.sizes["growth_steps"])


def train_ranks(workbench, dtype):
    """Two ranks that share the threads."""
    return run_training(workbench, dtype, "pairs", workbench.sizes["batch_size"], workbench.sizes["steps"], before=["mpirun", "-n", 2],
                        threads=max(1, workbench.threads // 2))


def align(workbench, dtype):
    sizes = workbench.sizes
    finished = workbench.run_metarm("align", *common(workbench, dtype, "pairs", sizes["batch_size"], sizes["steps"]), "--responses", workbench.shared["groups"],
                                  "--meta-batch-size", sizes["batch_size"] // RESPONSES, "--meta-lr", META_LR)
    rows = read_steps(workbench.folder / "run/out")
    return training_figures(rows, finished.peak_memory_bytes) | {"differences": [row["j_before"] for row in rows]}


def score(workbench, groups="score_groups"):
    return score_by(workbench, workbench.shared["reward_model"], groups)


def score_ensemble(workbench):
    if "ensemble" not in workbench.shared:
        workbench.shared["ensemble"] = make_ensemble(workbench)
    return score_by(workbench, workbench.shared["ensemble"])


def make_ensemble(workbench):
    """Adapters in the last quarter of the reward model's layers, two steps each."""
    rm, folder = workbench.shared["reward_model"], workbench.folder / "ensemble"
    layers = json.loads((Path(rm) / "config.json").read_text(encoding="utf-8"))["num_hidden_layers"]
    members = [folder / f"member-{seed}" for seed in range(MEMBERS)]
    folder.mkdir()
    for seed, member in enumerate(members):
        workbench.run_metarm("train", "--model", rm, "--pairs", workbench.shared["pairs"], "--output", member, "--dtype", "float32", "--lora-rank", 8, "--lora-layers", max(1, layers // 4),
                             "--lr", 1e-4, "--batch-size", 2, "--max-steps", 2, "--max-length", 0, "--seed", seed, "--save-steps", 0)
    workbench.run_metarm("ensemble", "--models", *members, "--output", folder / "all")
    return str(folder / "all")


def score_by(workbench, model, groups="score_groups"):
    output = workbench.folder / "scored.jsonl"
    finished = workbench.run_metarm("score", "--model", model, "--input", workbench.shared[groups], "--output", output,
                                  "--max-length", 0, "--dtype", "float32", "--json")
    summary = json.loads(finished.stdout)
    rewards = [reward for row in load_json_lines(output) for reward in row["rewards"]]
    return {"rows_per_s": len(rewards) / summary["seconds"], "peak_memory_bytes": finished.peak_memory_bytes, "rewards": rewards}


def sample(workbench, dtype):
    output = workbench.folder / "sampled.jsonl"
    finished = workbench.run_metarm("sample", "--model", workbench.shared["policy"], "--prompts", workbench.shared["prompts"], "--output", output,
                                  "--responses", RESPONSES, "--max-new-tokens", workbench.sizes["max_new_tokens"], "--max-prompt-length", 0, "--temperature", workbench.sizes["temperature"],
                                  "--dtype", dtype, "--json")
    summary = json.loads(finished.stdout)
    texts = [response for row in load_json_lines(output) for response in row["responses"]]
    return {"tokens_per_s": summary["tokens"] / summary["seconds"], "peak_memory_bytes": finished.peak_memory_bytes, "tokens": summary["tokens"], "texts": texts}
