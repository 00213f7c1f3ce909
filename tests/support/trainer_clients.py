"""Trainers' own code, unchanged, asking a server for rewards: what they asked and what they made of the answers.

`trainer_clients.py JOB.json RESULT.json`, a process of its own (run_trainer). TRL trains. Of OpenRLHF and verl, which train on clusters of
GPUs, the classes run that generate a response and fetch its reward; they come from .venv/files, where setup lays the packages without what
else those need: ray, vllm, tensordict, omegaconf, pylatexenc and the packages' own modules on top of them are stubs.
"""

import asyncio
import functools
import importlib.abc
import importlib.machinery
import json
import os
import subprocess
import sys
import types
from pathlib import Path
from unittest.mock import MagicMock

import torch
import transformers as hf

FILES = Path(sys.prefix) / "files"


def run_trainer(folder, **job):
    asked, answer = Path(folder) / "job.json", Path(folder) / "result.json"
    asked.write_text(json.dumps(job | {"folder": str(folder)}))
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    result = subprocess.run([sys.executable, __file__, asked, answer], capture_output=True, text=True, timeout=600, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads(answer.read_text())


def run_code(code, name):
    names = {}
    exec(compile(code, "reward.py", "exec"), names)
    return names[name]


def run_trl(job):
    """GRPO with the reward function `code`: what it returned at each step, and what TRL logged."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    ask, calls = run_code(job["code"], "metarm_reward"), []

    @functools.wraps(ask)
    def metarm_reward(prompts, completions, **more):
        rewards = ask(prompts=prompts, completions=completions, **more)
        calls.append({"step": more["trainer_state"].global_step, "prompts": prompts, "completions": completions, "rewards": rewards})
        return rewards

    config = GRPOConfig(output_dir=job["folder"] + "/trained", use_cpu=True, bf16=False, per_device_train_batch_size=8, num_generations=4, max_steps=job["steps"], max_completion_length=12,
                        learning_rate=job.get("learning_rate", 1e-3), lr_scheduler_type="constant", logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True, dataloader_pin_memory=False, seed=0)
    rows = Dataset.from_list([{"prompt": prompt} for prompt in job["prompts"]])
    trainer = GRPOTrainer(model=job["policy"], reward_funcs=metarm_reward, args=config, train_dataset=rows)
    trainer.train()
    logged = [entry["rewards/metarm_reward/mean"] for entry in trainer.state.log_history if "rewards/metarm_reward/mean" in entry]
    return {"steps": trainer.state.global_step, "calls": calls, "logged": logged}


def random_ids(seed, vocabulary):
    """What a policy might write: any tokens but the special ones, then the end token."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(4, vocabulary, (10,), generator=generator).tolist() + [2]


class RandomEngine:
    """What stands in vLLM's place."""

    def __init__(self, vocabulary):
        self.vocabulary, self.calls = vocabulary, 0

    async def generate(self, prompt_token_ids, sampling_params, multi_modal_data=None):
        self.calls += 1
        output = types.SimpleNamespace(token_ids=random_ids(self.calls, self.vocabulary), finish_reason="stop", logprobs=None)
        return types.SimpleNamespace(outputs=[output])


class StubFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, *packages):
        self.packages = packages

    def find_spec(self, name, path=None, target=None):
        if any(name == package or name.startswith(package + ".") for package in self.packages):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return MagicMock(name=spec.name)

    def exec_module(self, module):
        pass


def run_openrlhf(job):
    """A response to each prompt, all at once, with its reward by `endpoints`: addresses, or a file of a reward function."""
    sys.path.append(str(FILES))
    sys.meta_path.insert(0, StubFinder("pylatexenc", "ray", "vllm", "openrlhf.trainer.ray"))
    from openrlhf.trainer.ppo_utils.samples_generator import SamplesGenerator
    from openrlhf.utils.agent import SingleTurnAgentExecutor

    tokenizer = hf.AutoTokenizer.from_pretrained(job["tokenizer"])
    executor, engine = SingleTurnAgentExecutor(job["endpoints"]), RandomEngine(len(tokenizer))
    sampling = types.SimpleNamespace(max_tokens=16, logprobs=None)

    async def run():
        return await asyncio.gather(*(executor.execute(prompt, None, sampling, 128, tokenizer, engine) for prompt in job["prompts"]))

    generator, made = SamplesGenerator.__new__(SamplesGenerator), []
    for output in asyncio.run(run()):
        experience = generator._process_response_into_experience(output, max_len=128)
        made.append({"query": tokenizer.decode(output["observation_tokens"], skip_special_tokens=False), "reward": experience.rewards.item(), "score": experience.scores.item(),
                     "logged": {name: value.item() for name, value in experience.info.items()}})
    return made


class Config(dict):
    """As OmegaConf's: fields as attributes."""

    __getattr__ = dict.__getitem__

    @classmethod
    def of(cls, value):
        return cls({name: cls.of(inner) for name, inner in value.items()}) if isinstance(value, dict) else value


def import_reward_loop():
    sys.meta_path.insert(0, StubFinder("ray", "tensordict", "omegaconf", "verl.protocol", "verl.single_controller", "verl.workers"))
    package = types.ModuleType("verl")  # its own __init__ sets up ray and devices
    package.__path__, package.DataProto = [str(FILES / "verl")], list
    sys.modules["verl"] = package
    from verl.experimental.reward_loop.reward_loop import RewardLoopWorker

    return RewardLoopWorker


def verl_item(tokenizer, prompt, response_ids):
    """A row of verl's batch: a chat and its response, padded on the right."""
    responses = torch.tensor(response_ids + [tokenizer.pad_token_id] * 3)
    mask = torch.tensor([1] * len(response_ids) + [0] * 3)
    return types.SimpleNamespace(batch={"responses": responses, "attention_mask": mask}, non_tensor_batch={
        "raw_prompt": prompt, "data_source": "", "reward_model": {"ground_truth": None}, "extra_info": {"prompt": prompt}})


def run_verl(job):
    """A reward for a response to each prompt, by verl's client of an `engine` that serves a reward model, or by the reward function in the file `code_file`."""
    worker_class = import_reward_loop()
    tokenizer = hf.AutoTokenizer.from_pretrained(job["tokenizer"])
    config = Config.of({
        "actor_rollout_ref": {"model": {"tokenizer_path": None, "path": job["tokenizer"]}},
        "reward": {"reward_model": {"enable": job["engine"] is not None, "model_path": job["reward_model"], "rollout": {"name": job["engine"]}},
                   "custom_reward_function": {"path": job["code_file"], "name": "compute_score"}, "reward_manager": {"source": "register", "name": "naive"}}})
    items = [verl_item(tokenizer, prompt, random_ids(index, len(tokenizer))) for index, prompt in enumerate(job["prompts"])]

    async def run():
        return await worker_class(config, job["address"]).compute_score_batch(items)

    return [{"prompt": item.non_tensor_batch["raw_prompt"], "ids": [int(i) for i in item.batch["responses"]][: int(item.batch["attention_mask"].sum())],
             "reward": output["reward_score"]} for item, output in zip(items, asyncio.run(run()), strict=True)]


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(1)
    made = {"trl": run_trl, "openrlhf": run_openrlhf, "verl": run_verl}[given["trainer"]](given)
    Path(sys.argv[2]).write_text(json.dumps(made))
