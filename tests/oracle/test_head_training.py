"""What is trained in the place of the reward head, in plain PyTorch: batch normalization, a noisy code, a head that takes the length. What is saved is an ordinary head."""

import json
import math

import pytest
import torch
from families import save_checkpoint
from programs import read_rows, run_metarm, write_rows
from random_streams import derive_seed
from reference import Reference, assert_same_steps, pair_ids
from safetensors.torch import load_file
from torch.func import functional_call

PAIRS = [
    {"prompt": "The inn at", "chosen": " the river is there.", "rejected": " nine", "weight": 0.5},
    {"prompt": "Ah", "chosen": " then", "rejected": " then there is another thing."},
    {"prompt": "One", "chosen": " two three.", "rejected": " three", "margin": 0.5},
]
SGD = dict(optimizer="sgd", lr=0.1, lr_schedule="constant", max_grad_norm=0, batch_size=3)


def run_train(folder, check=True, **options):
    write_rows(folder / "pairs.jsonl", PAIRS)
    fixed = dict(model=folder / "rm", pairs=folder / "pairs.jsonl", output=folder / "out", dtype="float32", shuffle="false", max_steps=1)
    given = fixed | SGD | options
    arguments = [part for name, value in given.items() for part in ("--" + name.replace("_", "-"), str(value))]
    result = run_metarm("train", *arguments, "--quiet", check=check)
    return (read_rows(given["output"] / "metrics.jsonl"), load_file(given["output"] / "model.safetensors")) if check else result


class Setting:
    def __init__(self, folder):
        self.model, tokenizer = save_checkpoint(folder / "rm", "llama", "reward")
        self.reference = Reference(self.model)
        self.ids = pair_ids(tokenizer, PAIRS)
        self.sequences = [side for pair in self.ids for side in pair]
        self.before = {name: weight.detach().clone() for name, weight in self.reference.weights.items()}
        self.head = self.before["score.weight"]

    def features(self):
        weights = {name.removeprefix("model."): weight for name, weight in self.reference.weights.items() if name.startswith("model.")}
        return torch.stack([functional_call(self.model.model, weights, (torch.tensor([ids]),)).last_hidden_state[0, -1] for ids in self.sequences])

    def lengths(self):
        """Tokens of each branch: after what the two have in common, less the last token of one that would end in it."""
        lengths = []
        for chosen, rejected in self.ids:
            shared = 0
            while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
                shared += 1
            lengths += [len(chosen) - shared, len(rejected) - shared]
        return torch.tensor(lengths, dtype=torch.float64)

    def pairwise(self, rewards):
        losses = [-row.get("weight", 1.0) * torch.nn.functional.logsigmoid(rewards[2 * i] - rewards[2 * i + 1] - row.get("margin", 0.0)) for i, row in enumerate(PAIRS)]
        return torch.stack(losses).mean()

    def step(self, loss, head, lr=0.1):
        """The gradient step on the body and the head's own tensors; returns those."""
        names = [name for name in self.reference.weights if name != "score.weight"]
        tensors = [self.reference.weights[name] for name in names] + list(head)
        found = torch.autograd.grad(loss, tensors, allow_unused=True)
        moved = [(tensor - lr * (0 if g is None else g)).detach().requires_grad_(True) for tensor, g in zip(tensors, found)]
        self.reference.weights.update(zip(names, moved))
        return moved[len(names) :]

    def compare(self, saved, head):
        self.reference.weights["score.weight"] = head
        assert_same_steps(saved, self.reference, self.before, tolerance=2e-3)


@pytest.mark.parametrize("tokens_per_batch", [1, 4096])
def test_batch_norm(tokens_per_batch, tmp_path):
    """The statistics are the step's, and the saved head is v over the root of the running variance, which begins as the first step's."""
    setting, steps = Setting(tmp_path), 2
    metrics, saved = run_train(tmp_path, head_training="batch-norm", tokens_per_batch=tokens_per_batch, max_steps=steps)
    v, variances = setting.head.clone().requires_grad_(True), []
    for step in range(steps):
        features = setting.features()
        normed = torch.nn.functional.batch_norm(features, None, None, training=True, eps=1e-5)
        loss = setting.pairwise(normed @ v[0])
        assert metrics[step]["loss"] == pytest.approx(loss.item(), rel=1e-4)
        variances.append(features.detach().var(0, unbiased=False))
        (v,) = setting.step(loss, [v])
    # A factor of each feature changes nothing behind the normalization, but for epsilon: what moves there is rounding.
    scale = "model.norm.weight"
    assert (saved[scale] - setting.before[scale]).norm() < 1e-5 and (setting.reference.weights[scale] - setting.before[scale]).norm() < 1e-5
    setting.reference.weights[scale] = saved[scale].double()
    setting.compare(saved, v / (0.9 * variances[0] + 0.1 * variances[1] + 1e-5).sqrt())


@pytest.mark.parametrize("tokens_per_batch", [1, 4096])
def test_length_head(tokens_per_batch, tmp_path):
    """Length is given to the head that is left out."""
    setting = Setting(tmp_path)
    state = first_tensors(tmp_path, setting, head_training="length-head", length_weight=0.7)
    metrics, saved = run_train(tmp_path, head_training="length-head", length_weight=0.7, tokens_per_batch=tokens_per_batch)
    w, u = (tensor.reshape(1, -1).double().requires_grad_(True) for tensor in state.split(setting.head.numel()))
    assert torch.equal(w.detach().float(), setting.head.float()) and u.std() > 0
    features, lengths = setting.features(), setting.lengths()
    quality, of_length = features @ w[0], features @ u[0]

    def rho(a, b):
        return torch.corrcoef(torch.stack([a, b]))[0, 1]

    penalty = 0.7 * (rho(quality, lengths).abs() - rho(of_length, lengths) + torch.nn.functional.cosine_similarity(w[0], u[0], dim=0).abs())
    loss = setting.pairwise(quality + of_length)
    assert metrics[0]["loss"] == pytest.approx(loss.item(), rel=1e-4) and metrics[0]["head_penalty"] == pytest.approx(penalty.item(), rel=1e-3)
    w, _ = setting.step(loss + penalty, [w, u])
    setting.compare(saved, w)


def first_tensors(folder, setting, **options):
    """The head's own tensors as they begin: a checkpoint of a step that moves nothing keeps them, behind the model's."""
    run_train(folder, output=folder / "still", lr=0, save_steps=1, **options)
    (state,) = (folder / "still" / "checkpoints").glob("*/training_state.safetensors")
    return load_file(state)["trainable"][sum(weight.numel() for weight in setting.before.values()) :]


def code_noise(rows, width, step):
    """As the program draws it from seed 0."""
    generator = torch.Generator().manual_seed(derive_seed(derive_seed(0, "head", step), "code noise"))
    return torch.empty(rows, width).normal_(generator=generator).double()


def test_bottleneck(tmp_path):
    """Two steps: in the second one the variance is of the text. The saved head is w M."""
    setting, code_width, steps = Setting(tmp_path), 6, 2
    options = dict(head_training="bottleneck", bottleneck_weight=0.1, bottleneck_width=code_width, tokens_per_batch=1)
    state = first_tensors(tmp_path, setting, **options).double()
    metrics, saved = run_train(tmp_path, max_steps=steps, **options)
    width = setting.head.numel()
    code, of_variance, bias, w = (part.requires_grad_(True) for part in state.split([code_width * width, code_width * width, code_width, code_width]))
    assert torch.allclose(w @ code.view(code_width, width), setting.head[0], atol=1e-6), "the head that there was is where it begins"
    for step in range(steps):
        features = setting.features()
        mean, log_variance = features @ code.view(code_width, width).T, features @ of_variance.view(code_width, width).T + bias
        normal = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
        information = torch.distributions.kl_divergence(normal, torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))).sum(1).mean()
        loss = setting.pairwise((mean + normal.stddev * code_noise(*mean.shape, step)) @ w)
        assert metrics[step]["loss"] == pytest.approx(loss.item(), rel=1e-4) and metrics[step]["head_penalty"] == pytest.approx(0.1 * information.item(), rel=1e-4)
        code, of_variance, bias, w = setting.step(loss + 0.1 * information, [code, of_variance, bias, w])
    setting.compare(saved, (w @ code.view(code_width, width)).view(1, -1))
    again, same = run_train(tmp_path, output=tmp_path / "again", max_steps=steps, **options)
    assert [row["loss"] for row in again] == [row["loss"] for row in metrics] and torch.equal(same["score.weight"], saved["score.weight"])


@pytest.mark.parametrize("more", [{}, {"lora_rank": 2, "merge_lora": "true"}], ids=["whole", "LoRA"])
@pytest.mark.parametrize("kind", ["batch-norm", "bottleneck", "length-head"])
def test_what_is_saved_scores_as_what_was_evaluated(kind, more, tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    held_out = write_rows(tmp_path / "held_out.jsonl", [{name: row[name] for name in ("prompt", "chosen", "rejected")} for row in PAIRS])
    metrics, _ = run_train(tmp_path, head_training=kind, max_steps=4, lr=0.05, eval_pairs=held_out, **more)
    scored = run_metarm("score", "--model", tmp_path / "out", "--input", held_out).stdout
    margins = [row["chosen_reward"] - row["rejected_reward"] for row in map(json.loads, scored.splitlines())]
    assert metrics[-1]["eval_loss"] == pytest.approx(sum(math.log1p(math.exp(-margin)) for margin in margins) / len(margins), rel=1e-4)


def test_options_of_another_head_training_are_an_error(tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    result = run_train(tmp_path, check=False, bottleneck_width=4)
    assert result.returncode == 2 and "--bottleneck-width: expected --head-training bottleneck with it, got plain" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_skipped_step_leaves_the_running_variance(tmp_path):
    """One token whose embedding overflows: its steps are skipped, and the saved head is finite."""
    model, tokenizer = save_checkpoint(tmp_path / "rm", "gpt2", "reward")
    rare = {"prompt": "The", "chosen": " heather", "rejected": " inn"}
    elsewhere = {token for pair in pair_ids(tokenizer, PAIRS) for side in pair for token in side}
    token = next(token for token in pair_ids(tokenizer, [rare])[0][0] if token not in elsewhere)
    with torch.no_grad():
        model.transformer.wte.weight[token] = 3e38
    model.save_pretrained(tmp_path / "rm")
    write_rows(tmp_path / "pairs.jsonl", [*PAIRS, rare])
    run_metarm("train", "--model", tmp_path / "rm", "--pairs", tmp_path / "pairs.jsonl", "--output", tmp_path / "out", "--dtype", "float32", "--batch-size", "2", "--max-steps", "8",
               "--head-training", "batch-norm", "--lr", "1e-4", "--seed", "1", "--quiet")
    metrics = read_rows(tmp_path / "out" / "metrics.jsonl")
    assert 0 < sum("skipped" in row for row in metrics) < 8
    assert torch.isfinite(load_file(tmp_path / "out" / "model.safetensors")["score.weight"]).all()
