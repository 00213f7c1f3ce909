"""Rewards of response groups by transformers: sorted by length, padded, float32, the best of several batch sizes.

`transformers_scoring.py JOB.json RESULT.json`
"""

import time

import torch
import transformers as hf
from job import run_job
from texts import pad_right, read_rows, sequence_ids


@torch.inference_mode()
def score(model, tokenizer, groups, batch_size):
    sequences = [sequence_ids(tokenizer, group["prompt"], response) for group in groups for response in group["responses"]]
    order = sorted(range(len(sequences)), key=lambda index: len(sequences[index]))
    rewards = [0.0] * len(sequences)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        ids, mask = pad_right([sequences[index] for index in chosen], tokenizer.pad_token_id)
        for index, reward in zip(chosen, model(input_ids=ids, attention_mask=mask).logits[:, 0].tolist()):
            rewards[index] = reward
    return rewards


def main(job):
    torch.set_num_threads(job["threads"])
    tokenizer = hf.AutoTokenizer.from_pretrained(job["reward_model"])
    model = hf.AutoModelForSequenceClassification.from_pretrained(job["reward_model"], dtype=torch.float32).eval()
    groups = read_rows(job["groups"])
    score(model, tokenizer, groups[:1], len(groups[0]["responses"]))  # first calls set up kernels
    runs = []
    for batch_size in job["batch_sizes"]:
        begin = time.perf_counter()
        rewards = score(model, tokenizer, groups, batch_size)
        runs.append({"batch_size": batch_size, "seconds": time.perf_counter() - begin})
    return {"runs": runs, "rows": len(rewards), "rewards": rewards, "seconds": min(run["seconds"] for run in runs)}


if __name__ == "__main__":
    run_job(main)
