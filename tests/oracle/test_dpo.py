"""Steps of `dpo` equal plain PyTorch, whatever the reference."""

import shutil

import pytest
import torch
from families import save_checkpoint
from policy_reference import PolicyReference, response_ids, saved_weights
from programs import read_rows, run_metarm, run_ranks, write_rows
from reference import assert_same_steps
from safetensors.torch import load_file

PAIRS = [
    {"prompt": "The sum of two and two", "chosen": " is four.", "rejected": " is a fish, said the man.", "weight": 2.0},
    {"prompt": "Tell me", "chosen": " a story of the inn, then.", "rejected": " no", "margin": 0.25},
    {"prompt": "What?", "chosen": " Nothing at all.", "rejected": " Nothing at all, there."},
]
HELD_OUT = [{"prompt": "Ah", "chosen": " then another thing.", "rejected": " nine"}]


def run_dpo(folder, *flags, **options):
    write_rows(folder / "pairs.jsonl", PAIRS)
    write_rows(folder / "held_out.jsonl", HELD_OUT)
    fixed = dict(model=folder / "lm", pairs=folder / "pairs.jsonl", output=folder / "out", dtype="float32", shuffle="false", optimizer="sgd", lr_schedule="constant", max_grad_norm=0,
                 batch_size=len(PAIRS))
    arguments = [part for name, value in (fixed | options).items() for part in ("--" + name.replace("_", "-"), str(value))]
    run_metarm("dpo", *arguments, *flags, "--quiet")
    return read_rows(folder / "out" / "metrics.jsonl")


def encode(tokenizer, pairs):
    return [tuple(response_ids(tokenizer, row["prompt"], row[side]) for side in ("chosen", "rejected")) for row in pairs]


class Dpo:
    """DPO's loss and figures by their definition."""

    def __init__(self, policy, reference, beta, smoothing=0.0):
        self.policy, self.reference, self.beta, self.smoothing = policy, reference, beta, smoothing
        self.frozen = {name: weight.detach().clone() for name, weight in reference.weights.items()}

    def rewards(self, pair):
        return [self.beta * (self.policy.log_prob(self.policy.weights, side) - self.reference.log_prob(self.frozen, side).detach()) for side in pair]

    def loss(self, pairs, rows):
        losses = []
        for (chosen, rejected), row in zip(map(self.rewards, pairs), rows):
            h = chosen - rejected - row.get("margin", 0.0)
            loss = -(1 - self.smoothing) * torch.nn.functional.logsigmoid(h) - self.smoothing * torch.nn.functional.logsigmoid(-h)
            losses.append(row.get("weight", 1.0) * loss)
        return torch.stack(losses).mean()


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2", "gpt_neox"])
@pytest.mark.parametrize("own_reference", [False, True])
def test_steps(family, own_reference, tmp_path):
    model, tokenizer = save_checkpoint(tmp_path / "lm", family, "causal")
    other, _ = save_checkpoint(tmp_path / "reference", family, "causal", seed=1)
    policy = PolicyReference(model)
    before = {name: weight.detach().clone() for name, weight in policy.weights.items()}
    dpo = Dpo(policy, PolicyReference(other) if own_reference else policy, beta=0.3, smoothing=0.1)
    options = {"reference": tmp_path / "reference"} if own_reference else {}
    lr, steps = 0.1, 2  # steps that are long beside the rounding of float32 weights
    metrics = run_dpo(tmp_path, beta=0.3, label_smoothing=0.1, lr=lr, max_steps=steps, eval_pairs=tmp_path / "held_out.jsonl", **options)
    pairs = encode(tokenizer, PAIRS)
    rows = [row for row in metrics if "loss" in row]
    for row in rows:
        loss = dpo.loss(pairs, PAIRS)
        rewards = [[side.item() for side in dpo.rewards(pair)] for pair in pairs]
        chosen, rejected = (sum(pair[side] for pair in rewards) / len(pairs) for side in (0, 1))
        assert row["loss"] == pytest.approx(loss.item(), rel=1e-4)
        assert row["accuracy"] == pytest.approx(sum(c > r for c, r in rewards) / len(pairs)) or row is rows[0]  # the rewards are 0 at first, but for rounding
        assert [row["chosen_reward"], row["rejected_reward"], row["margin"]] == pytest.approx([chosen, rejected, chosen - rejected], rel=1e-4, abs=2e-5)
        assert row["log_ratio"] == pytest.approx((chosen + rejected) / 2 / 0.3, rel=1e-4, abs=5e-5)
        policy.sgd_step(policy.gradient(loss), lr)
    assert len(rows) == steps
    assert_same_steps(saved_weights(tmp_path / "out"), policy, before)
    [(chosen, rejected)] = [dpo.rewards(pair) for pair in encode(tokenizer, HELD_OUT)]
    [evaluation] = [row for row in metrics if "eval_loss" in row]
    assert evaluation["eval_margin"] == pytest.approx((chosen - rejected).item(), rel=1e-4, abs=2e-5)
    assert evaluation["eval_loss"] == pytest.approx(-torch.nn.functional.logsigmoid(chosen - rejected).item(), rel=1e-4)


def test_adapters_are_held_to_their_base(tmp_path):
    """With LoRA the reference is the base: the first loss is log 2, and later ones fall."""
    save_checkpoint(tmp_path / "lm", "llama", "causal")
    metrics = run_dpo(tmp_path, lora_rank=4, lr=1e-2, optimizer="adamw", max_steps=20, max_grad_norm=1)
    assert metrics[0]["loss"] == pytest.approx((2 + 1 + 1) / 3 * 0.693147 + (torch.nn.functional.softplus(torch.tensor(0.25)).item() - 0.693147) / 3, rel=1e-4)
    assert metrics[0]["margin"] == pytest.approx(0, abs=1e-4)
    assert metrics[-1]["loss"] < 0.5 * metrics[0]["loss"] and metrics[-1]["accuracy"] == 1 and metrics[-1]["margin"] > 0.5


def test_a_reference_of_other_tokens(tmp_path):
    save_checkpoint(tmp_path / "lm", "llama", "causal")
    from families import CONFIGS, make_model, save_tokenizer

    CONFIGS["small"] = (CONFIGS["llama"][0], CONFIGS["llama"][1] | {"vocab_size": 300})
    make_model("small", "causal").save_pretrained(tmp_path / "other")
    save_tokenizer(tmp_path / "other")
    write_rows(tmp_path / "pairs.jsonl", PAIRS)
    result = run_metarm("dpo", "--model", tmp_path / "lm", "--reference", tmp_path / "other", "--pairs", tmp_path / "pairs.jsonl", "--output", tmp_path / "out", check=False)
    assert result.returncode == 2 and "expected a model of the policy's 320 tokens, got one of 300" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="mpirun is not installed: runs of several ranks are not tested")
def test_several_ranks_end_at_the_same_weights(tmp_path):
    save_checkpoint(tmp_path / "lm", "llama", "causal")
    write_rows(tmp_path / "pairs.jsonl", PAIRS)
    saved = []
    for ranks in (1, 2):
        run_ranks(ranks, "dpo", "--model", "lm", "--pairs", "pairs.jsonl", "--eval-pairs", "pairs.jsonl", "--output", f"out{ranks}", "--dtype", "float32", "--optimizer", "sgd", "--lr", 0.02, "--batch-size", 2,
                  "--max-steps", 3, "--threads", 1, "--quiet", cwd=tmp_path)
        saved.append((load_file(tmp_path / f"out{ranks}/model.safetensors"), read_rows(tmp_path / f"out{ranks}/metrics.jsonl")))
    for name, tensor in saved[0][0].items():
        torch.testing.assert_close(saved[1][0][name], tensor, atol=1e-5, rtol=1e-4)
    for one, two in zip(saved[0][1], saved[1][1]):
        assert one.keys() == two.keys()
        for name in {"loss", "margin", "eval_loss", "eval_margin"} & one.keys():
            assert one[name] == pytest.approx(two[name], rel=1e-4, abs=2e-5)
