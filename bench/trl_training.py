"""TRL's RewardTrainer on the shared pairs, in one of its modes: `trl_training.py JOB.json RESULT.json`."""

import time

import torch
import transformers as hf
from datasets import Dataset
from job import run_job
from texts import read_rows
from trl import RewardConfig, RewardTrainer

# What each mode sets; as it comes: bfloat16 autocast with gradient checkpointing.
MODES = {
    "as it comes": {},
    "float32": {"bf16": False, "gradient_checkpointing": False},
    "bfloat16 autocast": {"bf16": True, "gradient_checkpointing": False},
    "bfloat16 weights": {"bf16": False, "gradient_checkpointing": False, "model_init_kwargs": {"dtype": "bfloat16"}},
}


class StepTimes(hf.TrainerCallback):
    def __init__(self):
        self.ends = []

    def on_train_begin(self, *_, **__):
        self.ends.append(time.perf_counter())

    def on_step_end(self, *_, **__):
        self.ends.append(time.perf_counter())


def main(job):
    torch.set_num_threads(job["threads"])
    times = StepTimes()
    config = RewardConfig(
        output_dir=job["folder"], use_cpu=True, per_device_train_batch_size=job["batch_size"], max_steps=job["steps"], learning_rate=job["lr"],
        lr_scheduler_type="constant", max_length=None, train_sampling_strategy="sequential", logging_steps=1, logging_nan_inf_filter=False, save_strategy="no",
        report_to="none", disable_tqdm=True, dataloader_pin_memory=False,
        **MODES[job["mode"]])
    trainer = RewardTrainer(model=job["reward_model"], args=config, train_dataset=Dataset.from_list(read_rows(job["pairs"])), callbacks=[times])
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    seconds = [end - start for start, end in zip(times.ends, times.ends[1:])]
    return {"steps": [{"seconds": s, "loss": loss, "pairs": job["batch_size"]} for s, loss in zip(seconds, losses, strict=True)]}


if __name__ == "__main__":
    run_job(main)
