"""MetaRM and reward-model training in plain PyTorch, sequence by sequence in float64: what the program's steps are compared with."""

import math

import torch
from torch.func import functional_call


def token_ids(tokenizer, prompt, response):
    text = prompt + response
    if not text.endswith(tokenizer.eos_token):
        text += tokenizer.eos_token
    return tokenizer(text)["input_ids"]


def prefix_rewards(model, ids):
    """By transformers, of each prefix alone."""
    with torch.no_grad():
        return [model(input_ids=torch.tensor([ids[:end]]), attention_mask=torch.ones(1, end)).logits.item() for end in range(1, len(ids) + 1)]


def pair_ids(tokenizer, pairs):
    return [tuple(token_ids(tokenizer, row["prompt"], row[side]) for side in ("chosen", "rejected")) for row in pairs]


def group_ids(tokenizer, groups):
    return [[token_ids(tokenizer, row["prompt"], response) for response in row["responses"]] for row in groups]


class Reference:
    """A transformers reward model in float64 whose weights are a dictionary, so that it can be read at shifted ones."""

    def __init__(self, model):
        self.model = model.double()
        self.weights = {name: parameter.detach().clone().requires_grad_(True) for name, parameter in model.named_parameters()}

    def reward(self, weights, ids):
        return functional_call(self.model, weights, (torch.tensor([ids]),)).logits[0, 0]

    def pairwise_loss(self, weights, pairs, rows=None, smoothing=0.0, center=0.0):
        losses = []
        for index, (chosen, rejected) in enumerate(pairs):
            row = rows[index] if rows else {}
            a, b = self.reward(weights, chosen), self.reward(weights, rejected)
            difference = a - b - row.get("margin", 0.0)
            loss = -(1 - smoothing) * torch.nn.functional.logsigmoid(difference) - smoothing * torch.nn.functional.logsigmoid(-difference)
            losses.append((loss + center * (a + b) ** 2) * row.get("weight", 1.0))
        return torch.stack(losses).mean()

    def difference_loss(self, weights, groups):
        values = []
        for group in groups:
            rewards = [self.reward(weights, ids) for ids in group]
            terms = [torch.sigmoid((rewards[i] - rewards[j]).abs()) for i in range(len(group)) for j in range(i + 1, len(group))]
            values.append(2 / len(group) ** 2 * torch.stack(terms).sum())
        return torch.stack(values).mean()

    def gradient(self, loss, create_graph=False):
        found = torch.autograd.grad(loss, list(self.weights.values()), create_graph=create_graph, allow_unused=True)
        return {name: torch.zeros_like(weight) if g is None else g for (name, weight), g in zip(self.weights.items(), found)}

    def sgd_step(self, gradient, lr):
        self.weights = {name: (weight - lr * gradient[name]).detach().requires_grad_(True) for name, weight in self.weights.items()}


class MetaStep:
    """The gradient of one MetaRM step, with autograd through the meta step for the second order."""

    def __init__(self, reference, meta_lr, scale, order):
        self.reference, self.meta_lr, self.scale, self.order = reference, meta_lr, scale, order
        self.first, self.second, self.steps = 0.0, 0.0, 0

    def direction(self, flat):
        if self.scale == "normalized":
            return flat / flat.norm()
        if self.scale == "adam":
            first = 0.9 * self.first + 0.1 * flat
            second = 0.999 * self.second + 0.001 * flat**2
            self.first, self.second, self.steps = first.detach(), second.detach(), self.steps + 1
            root = torch.where(second > 0, second, torch.ones_like(second)).sqrt() * (second > 0)
            return first / (1 - 0.9**self.steps) / (root / math.sqrt(1 - 0.999**self.steps) + 1e-8)
        return flat

    def gradient(self, pairs, groups):
        reference, weights = self.reference, self.reference.weights
        v = reference.gradient(reference.difference_loss(weights, groups), create_graph=self.order == "second")
        flat = self.direction(torch.cat([v[name].flatten() for name in weights]))
        if self.order == "first":
            flat = flat.detach()
        shifted, offset = {}, 0
        for name, weight in weights.items():
            shifted[name] = weight + self.meta_lr * flat[offset : offset + weight.numel()].view_as(weight)
            offset += weight.numel()
        return reference.gradient(reference.pairwise_loss(shifted, pairs))


def assert_same_steps(saved, reference, before, tolerance=1e-4):
    """Each tensor's movement from `before` is the reference's to `tolerance` of its length; what did not move there did not move here."""
    moved = 0
    for name, weight in reference.weights.items():
        expected, got = weight.detach() - before[name], saved[name].double() - before[name]
        length = expected.norm().item()
        if length < 1e-9:
            assert got.norm().item() < 1e-6, f"{name} moved by {got.norm().item()}"
            continue
        error = (got - expected).norm().item() / length
        assert error < tolerance, f"{name}: its movement differs by {error} of its length {length}"
        moved += 1
    assert moved > 3, "hardly a tensor moved: nothing was compared"
