"""Steps of `ppo` equal plain PyTorch on the responses that were drawn; log-probabilities are those of the policy that drew them."""

import math

import pytest
import torch
import transformers as hf
from families import save_checkpoint
from letters import drawn_ids, save_letters_policy
from policy_reference import PolicyReference, saved_weights
from programs import read_rows, run_metarm, write_rows
from reference import assert_same_steps, token_ids
from test_families import forward, make_groups, reference_logits

PROMPTS = ["the inn at a river", "hello", "nine other", "Sing"]
MAX_NEW = 5


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_recorded_log_probs(family, temperature, tmp_path):
    model, _ = save_checkpoint(tmp_path, family, "causal")
    prompts = [group[0] for group in make_groups()]
    made = forward(tmp_path, "generate", prompts=prompts, max_new_tokens=9, responses=3, temperature=temperature, log_probs=True)
    for prompt, responses, log_probs in zip(prompts, made["tokens"], made["log_probs"]):
        for tokens, found in zip(responses, log_probs):
            logits = reference_logits(model, prompt + tokens)[len(prompt) - 1 : -1] / temperature
            expected = torch.log_softmax(logits, -1).gather(1, torch.tensor(tokens).unsqueeze(1)).squeeze(1)
            torch.testing.assert_close(torch.tensor(found), expected, atol=1e-4, rtol=1e-4)


def run_ppo(folder, *flags, check=True, **options):
    write_rows(folder / "prompts.jsonl", [{"prompt": prompt} for prompt in PROMPTS])
    fixed = dict(policy=folder / "policy", rm=folder / "rm", prompts=folder / "prompts.jsonl", output=folder / "out", dtype="float32", shuffle="false", optimizer="sgd", lr_schedule="constant",
                 max_grad_norm=0, batch_size=len(PROMPTS), responses=3, max_new_tokens=MAX_NEW, response_steps=1, threads=1)
    arguments = [part for name, value in (fixed | options).items() for part in ("--" + name.replace("_", "-"), str(value))]
    result = run_metarm("ppo", *arguments, *flags, "--quiet", check=check)
    return read_rows(folder / "out" / "metrics.jsonl") if check else result


class Ppo:
    """The objectives by their definitions, response by response."""

    def __init__(self, policy, reference, temperature, options):
        self.policy, self.reference, self.temperature, self.options = policy, reference, temperature, options
        self.frozen = {name: weight.detach().clone() for name, weight in reference.weights.items()}
        self.kl_coef = options["kl_coef"]

    def values(self, model, weights, row):
        return model.token_log_probs(weights, row["ids"], row["begin"], self.temperature)

    def begin(self, groups):
        """Old and reference log-probabilities, and advantages."""
        for row in sum(groups, []):
            row["old"] = self.values(self.policy, self.policy.weights, row)[0].detach()
            row["ref"] = self.values(self.reference, self.frozen, row)[0].detach()
            row["shaped"] = row["reward"] - (0 if row["ended"] else self.options.get("missing_eos_penalty", 0))
            if clip := self.options.get("reward_clip_range"):
                row["shaped"] = max(-clip, min(clip, row["shaped"]))
        getattr(self, self.options["algorithm"])(groups)
        if self.options.get("whiten_advantages"):
            every = torch.cat([row["advantage"] for row in sum(groups, [])])
            for row in sum(groups, []):
                row["advantage"] = (row["advantage"] - every.mean()) / (every.var(unbiased=False) + 1e-8).sqrt()

    def penalty(self, row):
        d = row["old"] - row["ref"]
        return self.kl_coef * {"k1": d, "k2": d**2 / 2, "k3": torch.exp(-d) - 1 + d}[self.options.get("kl_estimator", "k1")]

    def rloo(self, groups):
        for group in groups:
            total = [row["shaped"] - self.penalty(row).sum().item() for row in group]
            for i, row in enumerate(group):
                others = [r for j, r in enumerate(total) if j != i]
                row["advantage"] = torch.full_like(row["old"], total[i] - sum(others) / len(others))

    def grpo(self, groups):
        for group in groups:
            rewards = torch.tensor([row["shaped"] for row in group], dtype=torch.float64)
            for row, advantage in zip(group, (rewards - rewards.mean()) / (rewards.std() + 1e-4)):
                row["advantage"] = torch.full_like(row["old"], advantage.item())

    def reinforce(self, groups):
        for row in sum(groups, []):
            rewards = -self.penalty(row)
            rewards[-1] += row["shaped"]
            row["advantage"] = rewards.flip(0).cumsum(0).flip(0)

    def loss(self, rows):
        terms = []
        for row in rows:
            log_prob, entropy = self.values(self.policy, self.policy.weights, row)
            ratio = torch.exp(log_prob - row["old"])
            clip = self.options.get("cliprange", 0.2)
            term = -torch.minimum(ratio * row["advantage"], ratio.clamp(1 - clip, 1 + clip) * row["advantage"]) - self.options.get("entropy_coef", 0) * entropy
            if self.options["algorithm"] == "grpo":
                d = log_prob - row["ref"]
                term = term + self.kl_coef * (torch.exp(-d) - 1 + d)
            terms.append(term)
        return torch.cat(terms).mean()


def read_groups(folder, step, policy_tokenizer, rm, rm_tokenizer):
    """The step's responses as tokens; their rewards must be transformers'."""
    groups = []
    for prompt, group in zip(PROMPTS, read_rows(folder / f"out/responses/step-{step}.jsonl"), strict=True):
        assert group["prompt"] == prompt
        before = policy_tokenizer(prompt)["input_ids"]
        rows = []
        for text, reward in zip(group["responses"], group["rewards"], strict=True):
            ids, ended = drawn_ids(policy_tokenizer, text, MAX_NEW)
            expected = reference_logits(rm, token_ids(rm_tokenizer, prompt, text))
            assert reward == pytest.approx(expected.item(), abs=1e-4)
            rows.append(dict(ids=before + ids, begin=len(before), ended=ended, reward=reward))
        groups.append(rows)
    return groups


CASES = {
    "rloo": dict(algorithm="rloo", kl_coef=0.3, entropy_coef=0.1),
    "rloo, k3 and shaped rewards": dict(algorithm="rloo", kl_coef=0.3, kl_estimator="k3", missing_eos_penalty=0.5, reward_clip_range=0.4, temperature=0.8),
    "rloo, several updates": dict(algorithm="rloo", kl_coef=0.1, num_ppo_epochs=2, num_mini_batches=2, cliprange=0.05),
    "grpo": dict(algorithm="grpo", kl_coef=0.2, num_ppo_epochs=2),
    "reinforce": dict(algorithm="reinforce", kl_coef=0.3),
    "reinforce, k2, whitened": dict(algorithm="reinforce", kl_coef=0.3, kl_estimator="k2", whiten_advantages="true", num_mini_batches=2),
}


@pytest.mark.parametrize("what", CASES)
def test_steps(what, tmp_path):
    options = CASES[what]
    model, tokenizer = save_letters_policy(tmp_path / "policy")
    rm, rm_tokenizer = save_checkpoint(tmp_path / "rm", "llama", "reward")
    other, _ = save_letters_policy(tmp_path / "reference", seed=3)
    lr, steps = 0.5, 2
    metrics = run_ppo(tmp_path, lr=lr, max_steps=steps, reference=tmp_path / "reference", **options)
    policy = PolicyReference(model)
    before = {name: weight.detach().clone() for name, weight in policy.weights.items()}
    ppo = Ppo(policy, PolicyReference(other), options.get("temperature", 1.0), options)
    assert len(metrics) == steps
    for step, figures in enumerate(metrics, 1):
        groups = read_groups(tmp_path, step, tokenizer, rm, rm_tokenizer)
        ppo.begin(groups)
        rows = sum(groups, [])
        kl = sum((row["old"] - row["ref"]).sum().item() for row in rows) / len(rows)
        assert figures["kl"] == pytest.approx(kl, abs=1e-3)
        assert figures["reward"] == pytest.approx(sum(row["reward"] for row in rows) / len(rows), abs=1e-4)
        assert figures["response_length"] == pytest.approx(sum(len(row["ids"]) - row["begin"] for row in rows) / len(rows))
        assert figures["ended"] == pytest.approx(sum(row["ended"] for row in rows) / len(rows))
        losses = []
        parts, passes = options.get("num_mini_batches", 1), options.get("num_ppo_epochs", 1)
        for update in range(parts * passes):
            share = len(groups) // parts
            part = sum(groups[update % parts * share : (update % parts + 1) * share], [])
            loss = ppo.loss(part)
            losses.append(loss.item())
            policy.sgd_step(policy.gradient(loss), lr)
        assert figures["loss"] == pytest.approx(sum(losses) / len(losses), abs=1e-3)
    assert_same_steps(saved_weights(tmp_path / "out"), policy, before, tolerance=5e-3)


def test_running_normalisation_and_the_adaptive_coefficient(tmp_path):
    """What remembers earlier steps: with a learning rate of 0, figures say which coefficient a step had."""
    save_letters_policy(tmp_path / "policy")
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    save_letters_policy(tmp_path / "reference", seed=3)
    metrics = run_ppo(tmp_path, lr=0, max_steps=3, reference=tmp_path / "reference", kl_coef=0.1, kl_target=0.001, kl_horizon=100, normalize_rewards="true")
    coefficient = 0.1
    for row in metrics:
        assert row["kl_coef"] == pytest.approx(coefficient)
        coefficient *= 1 + max(-0.2, min(0.2, row["kl"] / 0.001 - 1)) * 12 / 100
    assert metrics[-1]["kl_coef"] != pytest.approx(0.1)


def test_gold_rewards_and_probe_prompts(tmp_path):
    """The reward model as its own gold standard: it agrees with itself, and the figures are those of its rewards."""
    save_letters_policy(tmp_path / "policy")
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    metrics = run_ppo(tmp_path, lr=0, max_steps=2, gold_rm=tmp_path / "rm", probe_prompts=tmp_path / "prompts.jsonl", eval_steps=1)
    steps, probes = [row for row in metrics if "loss" in row], [row for row in metrics if "eval_reward" in row]
    assert len(steps) == len(probes) == 2
    for step, row in enumerate(steps, 1):
        groups = [group["rewards"] for group in read_rows(tmp_path / f"out/responses/step-{step}.jsonl")]
        assert row["gold_reward"] == row["reward"] and row["gold_accuracy"] == 1
        differences = [[abs(a - b) for i, a in enumerate(group) for b in group[i + 1 :]] for group in groups]
        assert row["reward_difference_mean"] == pytest.approx(sum(map(sum, differences)) / 12, rel=1e-4)
        assert row["reward_difference_variance"] == pytest.approx(sum(d * d for group in differences for d in group) / 12, rel=1e-4)
        assert row["kl"] == pytest.approx(0, abs=1e-4)  # the reference is the policy itself
    assert probes[0]["eval_reward"] == probes[1]["eval_reward"], "probes draw anew although nothing changed"
    assert probes[0]["eval_reward_difference_variance"] > 0 and probes[0]["eval_gold_accuracy"] == 1


@pytest.mark.parametrize("algorithm, more", [("rloo", {}), ("grpo", {}), ("reinforce", {"whiten_advantages": "true"}), ("rloo", {"lora_rank": 4, "lr": 3e-2})])
def test_rewards_rise(algorithm, more, tmp_path):
    save_letters_policy(tmp_path / "policy")
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    options = dict(algorithm=algorithm, optimizer="adamw", lr=1e-2, max_grad_norm=1, kl_coef=0.01, max_steps=25, responses=8, response_steps=0) | more
    metrics = run_ppo(tmp_path, **options)
    rewards = [row["reward"] for row in metrics]
    spread = metrics[0]["reward_deviation"]
    assert sum(rewards[-5:]) / 5 > rewards[0] + spread
    assert metrics[-1]["kl"] > 0 and math.isfinite(metrics[-1]["log_kl"])


def test_the_policy_that_is_written_is_a_language_model(tmp_path):
    save_letters_policy(tmp_path / "policy")
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    run_ppo(tmp_path, lr=0.5, max_steps=1)
    model = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "out", attn_implementation="eager").eval()
    ours = torch.tensor(forward(tmp_path / "out", "logits", groups=[[[9, 8, 7]]])["logits"][0][0])
    torch.testing.assert_close(ours, reference_logits(model, [9, 8, 7]), atol=1e-4, rtol=1e-4)


def test_divergence_ends_the_run_and_keeps_its_checkpoints(tmp_path):
    save_letters_policy(tmp_path / "policy")
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    result = run_ppo(tmp_path, check=False, optimizer="adamw", lr=0.05, max_steps=60, max_kl=0.5, kl_coef=0, save_steps=1)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert "expected a KL of up to --max-kl 0.5 a response, got" in result.stderr
    last = len(read_rows(tmp_path / "out/metrics.jsonl"))
    assert (tmp_path / f"out/checkpoints/step-{last}/model.safetensors").exists()
    assert not (tmp_path / "out/config.json").exists()
