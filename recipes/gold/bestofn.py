"""The cheap optimiser: the policy of a round is best-of-n of the first policy's responses by the newest reward model. No text is drawn anew, and KL is known exactly."""

import random

from gold import settings as S
from gold.bestof import best_of_value, policy_accuracy, winners
from gold.material import make_proxy, score
from gold.work import read_rows, write_rows

MEASURED = ("test", "elsewhere")
LAST = "held_out"  # what a round scores last


def rewards(path):
    return [row["rewards"] for row in read_rows(path)]


def shifted_groups(pool, scores, n, k, seed):
    """Groups of k responses of best-of-n by `scores` ([prompts][responses]; n = 1: of the first policy) for each prompt."""
    groups = []
    for index, row in enumerate(pool):
        rng = random.Random(f"groups {seed} {index}")
        best = winners(scores[index], n, rng)[:k]
        groups.append({"prompt": row["prompt"], "responses": [row["responses"][i] for i in best]})
    return groups


def draw_groups(work, folder, pool, selected, n, k, seed):
    """The step that leaves shifted_groups of the file `pool`, by the rewards in the file `selected`, in the folder."""
    return work.step(f"{folder}/groups.jsonl", lambda path: write_rows(path, shifted_groups(read_rows(pool), rewards(selected), n, k, seed)))


def score_pools(work, folder, model, pools):
    return {pool: score(work, f"{folder}/{pool}.jsonl", model, path) for pool, path in pools.items()}


def round_folder(method, seed, number):
    return f"seed-{seed}/round-0" if number == 0 else f"seed-{seed}/{method.folder}/round-{number}"


def align(work, method, seed, number, start, pairs, selected, pool):
    """The reward model of a round, from responses of the policy that the last round's rewards of `pool` select."""
    folder = round_folder(method, seed, number)
    if work.is_done(f"{folder}/{LAST}.jsonl"):  # its weights may be gone
        return work.path(f"{folder}/rm")
    groups = draw_groups(work, folder, pool, selected, method.n, method.responses, f"{seed} {number}")
    return work.run(f"{folder}/rm", "align", model=start, pairs=pairs, responses=groups, seed=seed + 100 * number, **S.ALIGN | method.options)


def run_method(work, method, seed, labelled):
    """Trains and scores the reward models of one method and seed, round after round."""
    proxy, pairs, held_out = make_proxy(work, seed, labelled)
    pools = {pool: labelled[pool] for pool in ("train", *MEASURED)} | {LAST: held_out}
    scores = score_pools(work, round_folder(method, seed, 0), proxy, pools)
    newest = proxy
    for number in range(1, method.rounds + 1 if method.trains else 1):
        aligned = align(work, method, seed, number, proxy if method.restart else newest, pairs, scores["train"], labelled["train"])
        wanted = [pool for pool in pools if pool != "train" or number < method.rounds]
        scores = score_pools(work, round_folder(method, seed, number), aligned, {pool: pools[pool] for pool in wanted})
        if newest != proxy:
            drop_model(newest)
        newest = aligned
    if newest != proxy:
        drop_model(newest)


def drop_model(folder):
    """The weights alone: figures of the training stay."""
    (folder / "model.safetensors").unlink(missing_ok=True)


def deviation(pairs):
    """Standard deviation of the rewards of pairs: the unit of reward differences."""
    values = [row[side] for row in pairs for side in ("chosen_reward", "rejected_reward")]
    mean = sum(values) / len(values)
    return (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5


def pair_figures(work, folder):
    """Of the held-out pairs, by the reward model whose scores are in `folder`."""
    pairs = read_rows(work.path(f"{folder}/{LAST}.jsonl"))
    return {"accuracy_pairs": sum(row["chosen_reward"] > row["rejected_reward"] for row in pairs) / len(pairs), "reward_deviation": deviation(pairs)}


def mean_difference(scores):
    """Mean absolute difference of two responses to one prompt."""
    total = pairs = 0
    for row in scores:
        ordered = sorted(row)
        total += sum((2 * i - len(row) + 1) * value for i, value in enumerate(ordered))
        pairs += len(row) * (len(row) - 1) // 2
    return total / pairs


def measure_round(work, seed, folder, before, labelled):
    """Figures of the reward model whose scores are in `folder`; `before`: the folder of the one that the policy was chosen by."""
    figures = pair_figures(work, folder)
    unit = figures["reward_deviation"]
    for pool in MEASURED:
        gold, judge, selector = rewards(labelled[pool]), rewards(work.path(f"{folder}/{pool}.jsonl")), rewards(work.path(f"{before}/{pool}.jsonl"))
        figures[f"{pool}.accuracy_first"] = policy_accuracy(selector, judge, gold, 1, seed)
        figures[f"{pool}.accuracy_policy"] = policy_accuracy(selector, judge, gold, S.POLICY_N, seed)
        figures[f"{pool}.accuracy_own"] = policy_accuracy(judge, judge, gold, S.POLICY_N, seed)
        figures[f"{pool}.difference_scaled"] = mean_difference(judge) / unit
        for n in (n for n in S.BEST_OF if n <= len(gold[0])):
            figures[f"{pool}.gold_best_of_{n}"] = sum(best_of_value(a, b, n) for a, b in zip(judge, gold)) / len(gold)
            figures[f"{pool}.proxy_best_of_{n}"] = sum(best_of_value(a, a, n) for a in judge) / len(gold) / unit
    return figures


def measure_method(work, method, seed, labelled):
    """Rows of figures, one a finished round; the round of a method that never trains is 0."""
    for number in range(1, method.rounds + 1) if method.trains else [0]:
        folder, before = round_folder(method, seed, number), round_folder(method, seed, max(number - 1, 0))
        if not work.is_done(f"{folder}/{LAST}.jsonl"):
            return
        yield {"setting": "best-of-n", "method": method.name, "seed": seed, "round": number, **measure_round(work, seed, folder, before, labelled)}
