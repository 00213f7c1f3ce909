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


def agreement(judge, gold, chosen):
    """(share of pairs of `chosen` responses that `judge` orders as `gold` does, pairs); ties of the judge count one half."""
    right = pairs = 0
    for i, a in enumerate(chosen):
        for b in chosen[:i]:
            if gold[a] == gold[b]:
                continue
            product = (judge[a] - judge[b]) * (gold[a] - gold[b])
            right += 1 if product > 0 else 0.5 if product == 0 else 0
            pairs += 1
    return right, pairs


def policy_accuracy(selector, judge, gold, n, seed, divisions=4):
    """Accuracy of `judge` against gold on pairs of responses of best-of-n by `selector`; each [prompts][responses]."""
    right = pairs = 0
    for prompt in range(len(gold)):
        rng = random.Random(f"{seed} {n} {prompt}")
        for _ in range(divisions):
            found = agreement(judge[prompt], gold[prompt], winners(selector[prompt], n, rng))
            right, pairs = right + found[0], pairs + found[1]
    return right / pairs
