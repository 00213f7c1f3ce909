"""What best-of-n by one reward model is worth to another: exact sums over a pool of responses, no sampling beyond it."""

import math
import random

import numpy as np


def best_of_weights(count, n):
    """Probability that the i-th lowest of `count` responses is the best of n drawn without replacement: C(i, n - 1) / C(count, n), i from 0."""
    total = math.comb(count, n)
    return np.array([math.comb(i, n - 1) / total for i in range(count)])


def best_of_value(proxy, value, n):
    """Unbiased estimate of the mean `value` of the best of n by `proxy`; both [responses] of one prompt (Coste et al. 2310.02743)."""
    return float(best_of_weights(len(proxy), n) @ np.asarray(value)[np.argsort(proxy, kind="stable")])


def best_of_kl(n):
    """KL of best-of-n from the policy that is drawn from, in nats; exact without ties."""
    return math.log(n) - (n - 1) / n


def winners(proxy, n, rng):
    """Indices of the responses of a best-of-n policy: the best of each part of a random division of one prompt's pool into parts of n."""
    order = list(range(len(proxy)))
    rng.shuffle(order)
    return [max(order[start : start + n], key=lambda index: proxy[index]) for start in range(0, len(order) - n + 1, n)]


def gold_margins(judge, gold, chosen):
    """Of each pair of `chosen` responses, without gold's ties, how much more `judge` gives to the one that gold prefers."""
    return [(judge[a] - judge[b]) * (1 if gold[a] > gold[b] else -1) for i, a in enumerate(chosen) for b in chosen[:i] if gold[a] != gold[b]]


def accuracy(margins):
    """Share of pairs that are ordered as gold orders them; ties count one half."""
    return sum(1 if margin > 0 else 0.5 if margin == 0 else 0 for margin in margins) / len(margins)


def policy_margins(selector, judge, gold, n, seed, divisions=4):
    """gold_margins of `judge` on pairs of responses of best-of-n by `selector`; each [prompts][responses]."""
    margins = []
    for prompt in range(len(gold)):
        rng = random.Random(f"{seed} {n} {prompt}")
        for _ in range(divisions):
            margins += gold_margins(judge[prompt], gold[prompt], winners(selector[prompt], n, rng))
    return margins


def policy_accuracy(selector, judge, gold, n, seed):
    return accuracy(policy_margins(selector, judge, gold, n, seed))
