"""Trainings of a small policy, each with the objective that it is to improve on rows that it does not learn from."""

from dataclasses import dataclass

SEEDS = (1, 2, 3, 4, 5)

# The start of all but sft: SmolLM2's lowest layers, which have to learn to write again.
START = {"lr": 2e-4, "batch_size": 16, "max_steps": 60, "seed": 1}
RL = {"lr": 3e-5, "lr_schedule": "constant", "batch_size": 8, "responses": 4, "max_new_tokens": 24, "max_prompt_length": 192, "kl_coef": 0, "max_steps": 16}
MAX_LENGTH = 384
HELD_OUT = 64  # rows of sft and dpo


@dataclass(frozen=True)
class Training:
    command: str
    options: dict
    is_loss: bool = True  # on held-out rows; else the reward of responses to held-out prompts


def by_reward(**options):
    return Training("ppo", RL | options, is_loss=False)


TRAININGS = {
    "sft": Training("sft", {"lr": 1e-4, "batch_size": 16, "max_steps": 20, "max_length": MAX_LENGTH}),
    "dpo": Training("dpo", {"lr": 2e-5, "batch_size": 16, "max_steps": 20, "max_length": MAX_LENGTH}),
    "rloo": by_reward(algorithm="rloo"),
    "grpo": by_reward(algorithm="grpo"),
    "reinforce": by_reward(algorithm="reinforce"),
    "ppo": by_reward(algorithm="ppo", critic_lr=1e-4),
}
