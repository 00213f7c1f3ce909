"""Steps of `ppo` equal plain PyTorch on the responses that were drawn; log-probabilities are those of the policy that drew them."""

import copy
import json
import math
import shutil

import pytest
import torch
import transformers as hf
from families import save_checkpoint
from letters import drawn_ids, save_letters_policy
from peft import PeftModel
from policy_reference import CriticReference, PolicyReference, saved_weights
from programs import read_rows, run_metarm, run_ranks, write_rows
from reference import assert_same_steps, token_ids
from safetensors.torch import load_file
from scoring import load_in_transformers
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


def run_ppo(folder, *flags, check=True, ranks=1, **options):
    write_rows(folder / "prompts.jsonl", [{"prompt": prompt, "subset": f"of {prompt}"} for prompt in PROMPTS])
    fixed = dict(policy=folder / "policy", rm=folder / "rm", prompts=folder / "prompts.jsonl", output=folder / "out", dtype="float32", shuffle="false", optimizer="sgd", lr_schedule="constant",
                 max_grad_norm=0, batch_size=len(PROMPTS), responses=3, max_new_tokens=MAX_NEW, response_steps=1, threads=1)
    arguments = [part for name, value in (fixed | options).items() for part in ("--" + name.replace("_", "-"), str(value))]
    result = run_ranks(ranks, "ppo", *arguments, *flags, "--quiet", check=check)
    return read_rows(folder / "out" / "metrics.jsonl") if check else result


class Ppo:
    """The objectives by their definitions, response by response."""

    def __init__(self, policy, reference, critic, temperature, options):
        self.policy, self.reference, self.critic, self.temperature, self.options = policy, reference, critic, temperature, options
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
        if self.options.get("whiten_advantages", "true" if self.options["algorithm"] == "ppo" else "false") == "true":
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

    def rewards(self, row):
        rewards = -self.penalty(row)
        rewards[-1] += row["shaped"]
        return rewards

    def reinforce(self, groups):
        gamma = self.options.get("gamma", 1.0)
        for row in sum(groups, []):
            rewards = self.rewards(row).tolist()
            row["advantage"] = torch.tensor([sum(gamma ** (s - t) * rewards[s] for s in range(t, len(rewards))) for t in range(len(rewards))], dtype=torch.float64)

    def ppo(self, groups):
        """The definition of generalized advantages: a sum over all later temporal differences."""
        gamma, lam = self.options.get("gamma", 1.0), self.options.get("lam", 0.95)
        for row in sum(groups, []):
            row["value"] = self.critic.values(self.critic.weights, row["ids"], row["begin"]).detach()
            after = torch.cat([row["value"][1:], torch.zeros(1, dtype=torch.float64)])
            d = self.rewards(row) + gamma * after - row["value"]
            row["advantage"] = torch.stack([sum((gamma * lam) ** (s - t) * d[s] for s in range(t, len(d))) for t in range(len(d))])
            row["return"] = row["advantage"] + row["value"]

    def value_loss(self, rows):
        terms, clipped = [], []
        for row in rows:
            value = self.critic.values(self.critic.weights, row["ids"], row["begin"])
            plain, clip = (value - row["return"]) ** 2, self.options.get("cliprange_value", 0.2)
            near = row["value"] + (value - row["value"]).clamp(-clip, clip)
            terms.append(torch.maximum(plain, (near - row["return"]) ** 2) / 2)
            clipped.append((near - row["return"]) ** 2 > plain + 1e-12)
        return torch.cat(terms).mean(), torch.cat(clipped).double().mean()

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
        assert group["subset"] == f"of {prompt}" and len(group["ended"]) == len(group["responses"])
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
    "reinforce": dict(algorithm="reinforce", kl_coef=0.3, gamma=0.9),
    "reinforce, k2, whitened": dict(algorithm="reinforce", kl_coef=0.3, kl_estimator="k2", whiten_advantages="true", num_mini_batches=2),
    "ppo": dict(algorithm="ppo", kl_coef=0.3, gamma=0.9, lam=0.8, entropy_coef=0.1, critic_lr=0.5),
    "ppo, several updates": dict(algorithm="ppo", kl_coef=0.1, num_ppo_epochs=2, num_mini_batches=2, cliprange=0.05, cliprange_value=0.02, vf_coef=0.5, critic_lr=0.05),
    "ppo, a critic of its own": dict(algorithm="ppo", kl_coef=0.3, critic="critic", whiten_advantages="false", missing_eos_penalty=0.5, responses=1, critic_lr=0.05),
}


@pytest.mark.parametrize("what", CASES)
def test_steps(what, tmp_path):
    options = CASES[what]
    model, tokenizer = save_letters_policy(tmp_path / "policy")
    rm, rm_tokenizer = save_checkpoint(tmp_path / "rm", "llama", "reward")
    other, _ = save_letters_policy(tmp_path / "reference", seed=3)
    own_critic, _ = save_checkpoint(tmp_path / "critic", "qwen2", "reward", seed=5)
    lr, steps = 0.5 / options.get("num_ppo_epochs", 1), 2  # a policy that is pulled too far draws equal responses
    given = options | {"critic": tmp_path / "critic"} if "critic" in options else options
    metrics = run_ppo(tmp_path, lr=lr, max_steps=steps, reference=tmp_path / "reference", **given)
    policy, critic = PolicyReference(model), CriticReference(copy.deepcopy(own_critic if "critic" in options else rm))
    before = [{name: weight.detach().clone() for name, weight in trained.weights.items()} for trained in (policy, critic)]
    ppo = Ppo(policy, PolicyReference(other), critic, options.get("temperature", 1.0), options)
    assert len(metrics) == steps
    for step, figures in enumerate(metrics, 1):
        groups = read_groups(tmp_path, step, tokenizer, rm, rm_tokenizer)
        ppo.begin(groups)
        rows = sum(groups, [])
        kl = sum((row["old"] - row["ref"]).sum().item() for row in rows) / len(rows)
        assert figures["kl"] == pytest.approx(kl, rel=1e-4)
        assert figures["reward"] == pytest.approx(sum(row["reward"] for row in rows) / len(rows), abs=1e-4)
        assert figures["response_length"] == pytest.approx(sum(len(row["ids"]) - row["begin"] for row in rows) / len(rows))
        assert figures["ended"] == pytest.approx(sum(row["ended"] for row in rows) / len(rows))
        if options["algorithm"] == "ppo":
            values, returns = (torch.cat([row[name] for row in rows]) for name in ("value", "return"))
            assert [figures["value"], figures["return"]] == pytest.approx([values.mean().item(), returns.mean().item()], rel=1e-4)
            assert figures["explained_variance"] == pytest.approx(1 - ((returns - values).var() / returns.var()).item(), rel=1e-4)
        losses, value_losses = [], []
        parts, passes = options.get("num_mini_batches", 1), options.get("num_ppo_epochs", 1)
        for update in range(parts * passes):
            share = len(groups) // parts
            part = sum(groups[update % parts * share : (update % parts + 1) * share], [])
            loss = ppo.loss(part)
            losses.append(loss.item())
            policy.sgd_step(policy.gradient(loss), lr)
            if options["algorithm"] == "ppo":
                loss, clipped = ppo.value_loss(part)
                value_losses.append((loss.item(), clipped.item()))
                critic.sgd_step(critic.gradient(loss * options.get("vf_coef", 0.1)), options["critic_lr"])
        # Terms of either sign: what is exact to 1e-4 is their size, not that of their mean.
        size = torch.cat([row["advantage"].abs() for row in rows]).mean().item()
        assert figures["loss"] == pytest.approx(sum(losses) / len(losses), abs=1e-4 * size + 1e-7)
        if value_losses:
            found = [figures["value_loss"], figures["value_clip_share"]]
            assert found == pytest.approx([sum(column) / len(column) for column in zip(*value_losses)], rel=1e-4, abs=1e-6)
            assert (found[1] > 0) == (len(value_losses) > 1)
    assert_same_steps(saved_weights(tmp_path / "out"), policy, before[0])
    assert (tmp_path / "out/critic").exists() == (options["algorithm"] == "ppo")
    if options["algorithm"] == "ppo":
        assert_same_steps(load_file(tmp_path / "out/critic/model.safetensors"), critic, before[1])


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
    assert probes[0]["eval_kl"] == pytest.approx(0, abs=1e-4)


ADAPTERS = {"lora_rank": 4, "lr": 3e-2}


@pytest.mark.parametrize("algorithm, more", [("rloo", {}), ("grpo", {}), ("reinforce", {"whiten_advantages": "true"}), ("ppo", {}), ("rloo", ADAPTERS), ("ppo", ADAPTERS)])
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


def assert_same_reward(model, directory):
    ids = [9, 8, 7, 60, 61, 300, 12]
    ours = forward(directory, "rewards", groups=[[ids]], tokens_per_batch=1000)["rewards"][0][0]
    assert ours == pytest.approx(reference_logits(model, ids).item(), abs=1e-4)


LORA = dict(algorithm="ppo", lora_rank=4, optimizer="adamw", lr=1e-2, critic_lr=1e-2, max_steps=2)


def test_the_critic_that_is_written_is_a_reward_model(tmp_path):
    save_letters_policy(tmp_path / "policy")
    before, _ = save_checkpoint(tmp_path / "rm", "llama", "reward")
    run_ppo(tmp_path, **LORA | dict(lora_rank=0, save_steps=1))
    for folder in ("out/critic", "out/checkpoints/step-1/critic"):
        critic = load_in_transformers(tmp_path / folder)
        assert_same_reward(critic, tmp_path / folder)
        assert (reference_logits(critic, [9, 8, 7]) - reference_logits(before, [9, 8, 7])).abs().max() > 1e-3


def test_adapters_of_policy_and_critic(tmp_path):
    """PEFT reads both over their bases; merged, they are the same models."""
    save_letters_policy(tmp_path / "policy")
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    run_ppo(tmp_path, **LORA)
    shutil.move(tmp_path / "out", tmp_path / "adapters")
    run_ppo(tmp_path, merge_lora="true", **LORA)
    critic = PeftModel.from_pretrained(load_in_transformers(tmp_path / "rm"), tmp_path / "adapters/critic").eval()
    assert_same_reward(critic, tmp_path / "adapters/critic")
    assert_same_reward(critic, tmp_path / "out/critic")
    assert (reference_logits(critic, [9, 8, 7]) - reference_logits(load_in_transformers(tmp_path / "rm"), [9, 8, 7])).abs().max() > 1e-3
    assert (tmp_path / "adapters/adapter_model.safetensors").exists() and (tmp_path / "out/model.safetensors").exists()


def test_a_critic_over_an_adapter_is_written_whole(tmp_path):
    """PEFT has no adapters over adapters. The reward model's own adapter is in the critic, and the policy's is none of its business."""
    save_letters_policy(tmp_path / "policy")
    save_checkpoint(tmp_path / "base", "llama", "reward")
    write_rows(tmp_path / "pairs.jsonl", [{"prompt": "hello", "chosen": "bcd", "rejected": "fg"}])
    run_metarm("train", "--model", tmp_path / "base", "--pairs", tmp_path / "pairs.jsonl", "--output", tmp_path / "rm", "--lora-rank", 2, "--lr", 0.01, "--max-steps", 3, "--quiet")
    run_ppo(tmp_path, **LORA | dict(critic_lr=0))
    rm = PeftModel.from_pretrained(load_in_transformers(tmp_path / "base"), tmp_path / "rm").eval()
    assert (tmp_path / "out/adapter_model.safetensors").exists()
    assert reference_logits(load_in_transformers(tmp_path / "out/critic"), [9, 8, 7]).item() == pytest.approx(reference_logits(rm, [9, 8, 7]).item(), abs=1e-4)


def test_a_critic_of_other_tokens(tmp_path):
    """A reward model may have a tokenizer of its own, a critic may not."""
    save_letters_policy(tmp_path / "policy")
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    tokenizer = json.loads((tmp_path / "rm/tokenizer.json").read_text())
    vocab = tokenizer["model"]["vocab"]
    vocab["b"], vocab["c"] = vocab["c"], vocab["b"]
    (tmp_path / "rm/tokenizer.json").write_text(json.dumps(tokenizer))
    result = run_ppo(tmp_path, check=False, algorithm="ppo", max_steps=1)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert "expected a critic of the policy's tokens, got c for b as token" in result.stderr
    assert not (tmp_path / "out").exists()
    run_ppo(tmp_path, algorithm="rloo", max_steps=1)


RANK_CASES = {
    "rloo": dict(algorithm="rloo"),
    "grpo, mini-batches": dict(algorithm="grpo", num_ppo_epochs=2, num_mini_batches=2),
    "ppo": dict(algorithm="ppo", num_mini_batches=2, critic_lr=0.05),
    "ppo, fewer prompts than ranks": dict(algorithm="ppo", critic_lr=0.05, batch_size=1),
}


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="mpirun is not installed: runs of several ranks are not tested")
@pytest.mark.parametrize("what", RANK_CASES)
def test_several_ranks_end_at_the_same_weights(what, tmp_path):
    """The responses are the same to the last token, the weights up to rounding."""
    save_letters_policy(tmp_path / "policy")
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    save_checkpoint(tmp_path / "gold", "llama", "reward", seed=2)
    runs = []
    for ranks in (1, 2):
        folder = tmp_path / "out"
        metrics = run_ppo(tmp_path, lr=0.5, max_steps=3, ranks=ranks, gold_rm=tmp_path / "gold", probe_prompts=tmp_path / "prompts.jsonl", **RANK_CASES[what])
        weights = [load_file(path) for path in sorted(folder.rglob("model.safetensors"))]
        runs.append((weights, metrics, [read_rows(folder / f"responses/step-{step}.jsonl") for step in (1, 2, 3)]))
        shutil.rmtree(folder)
    (weights, metrics, responses), (other_weights, other_metrics, other_responses) = runs
    assert len(weights) == len(other_weights) == (2 if "ppo" in what else 1)
    for of_model, of_other in zip(weights, other_weights):
        for name, tensor in of_model.items():
            torch.testing.assert_close(of_other[name], tensor, atol=1e-5, rtol=1e-4)
    for rows, other_rows in zip(responses, other_responses):
        assert [row["responses"] for row in rows] == [row["responses"] for row in other_rows]
    # Where a response is drawn twice, rounding decides which of the two has the higher gold reward.
    ignored = {"time_s", "responses_per_s", "tokens_per_s", "peak_memory_bytes", "gold_accuracy", "eval_gold_accuracy"}
    for row, other in zip(metrics, other_metrics, strict=True):
        assert row.keys() - ignored == other.keys() - ignored
        for name in row.keys() - ignored:
            # GRPO divides by the rewards' deviation + 1e-4: where all responses to a prompt are the same, what is divided is rounding.
            assert row[name] == pytest.approx(other[name], rel=1e-3, abs=1e-3 if name == "loss" and "grpo" in what else 1e-4), name


def test_divergence_ends_the_run_and_keeps_the_last_good_checkpoint(tmp_path):
    """The KL of a checkpoint shows in the step after it: the one before it is still there, although one is to be kept, and is named."""
    save_letters_policy(tmp_path / "policy")
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    result = run_ppo(tmp_path, check=False, optimizer="adamw", lr=5e-4, max_steps=60, max_kl=1.5, kl_coef=0, save_steps=1, save_total_limit=1)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert "expected a KL of up to --max-kl 1.5 a response, got" in result.stderr
    rows = read_rows(tmp_path / "out/metrics.jsonl")
    last = len(rows)
    assert last > 1 and all(row["kl"] <= 1.5 for row in rows)
    good = tmp_path / f"out/checkpoints/step-{last - 1}"
    assert f"the last good checkpoint is {good}" in result.stderr
    assert (good / "model.safetensors").exists()
    assert {path.name for path in good.parent.iterdir()} == {f"step-{last - 1}", f"step-{last}"}
    assert not (tmp_path / "out/config.json").exists()


def test_weights_that_overflow_end_the_run(tmp_path):
    """Those of the first step are beyond use, and so is its checkpoint: none is called good."""
    save_letters_policy(tmp_path / "policy")
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    result = run_ppo(tmp_path, check=False, lr=1e30, save_steps=1, max_steps=30)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert "expected finite logits, got NaN" in result.stderr and "good checkpoint" not in result.stderr
    assert len(read_rows(tmp_path / "out/metrics.jsonl")) == 1
