"""Policies that really move: round after round they learn from the newest reward model, by distilled best-of-n (SFT on the best responses) or by RLOO."""

import json

from gold import settings as S
from gold.bestof import accuracy, gold_margins
from gold.bestofn import LAST, drop_model, pair_figures, rewards
from gold.material import make_proxy, score
from gold.work import read_rows, write_rows


def folder_of(optimiser, method, seed):
    return f"{optimiser}/seed-{seed}/{method.folder}"


def first_responses(groups, k):
    return [{"prompt": row["prompt"], "responses": row["responses"][:k]} for row in groups]


def best_responses(groups):
    """What a policy is to imitate: the response with the highest reward to each prompt, and whether it ended or was cut."""
    found = []
    for row in groups:
        best = max(range(len(row["rewards"])), key=row["rewards"].__getitem__)
        found.append({"prompt": row["prompt"], "responses": [row["responses"][best]], "ended": [row["ended"][best]]})
    return found


def align(work, method, name, start, proxy, pairs, drawn, policy, seed):
    """The reward model of a round, aligned to responses that the policy has just drawn."""
    if not method.trains:
        return start
    groups = work.step(f"{name}/groups.jsonl", lambda path: write_rows(path, first_responses(read_rows(drawn), method.responses)))
    policies = {"policy": policy, "reference_policy": work.path("policy")} if method.options.get("method") == "importance" else {}
    return work.run(f"{name}/rm", "align", model=proxy if method.restart else start, pairs=pairs, responses=groups, seed=seed, **S.ALIGN | method.options | policies)


def distill(work, name, policy, rm, drawn, seed):
    scored = score(work, f"{name}/scored.jsonl", rm, drawn)
    best = work.step(f"{name}/best.jsonl", lambda path: write_rows(path, best_responses(read_rows(scored))))
    return work.run(f"{name}/policy", "sft", model=policy, data=best, seed=seed, **S.DISTILL)


def reinforce(work, name, policy, rm, drawn, seed):
    return work.run(f"{name}/policy", "ppo", algorithm="rloo", policy=policy, reference=work.path("policy"), rm=rm, prompts=drawn, max_new_tokens=S.MAX_NEW_TOKENS,
                    max_prompt_length=S.MAX_PROMPT_TOKENS, seed=seed, **S.RLOO)


OPTIMISERS = {"distilled best-of-n": distill, "RLOO": reinforce}


def draw(work, name, policy, pool, responses, seed):
    return work.run(name, "sample", model=policy, prompts=work.path(f"pools/{pool}.prompts.jsonl"), responses=responses, max_new_tokens=S.MAX_NEW_TOKENS,
                    max_prompt_length=S.MAX_PROMPT_TOKENS, seed=seed)


def examine(work, name, policy, rm, seed):
    """Draws the policy's responses to prompts that it did not learn from, and scores them."""
    for pool in S.EXAMINED:
        drawn = draw(work, f"{name}/{pool}.drawn.jsonl", policy, pool, S.EXAMINED[pool], seed)
        score(work, f"{name}/{pool}.gold.jsonl", work.path("gold"), drawn)
        score(work, f"{name}/{pool}.jsonl", rm, drawn)
    work.run(f"{name}/divergence", "eval", responses=work.path(f"{name}/test.drawn.jsonl"), policy=policy, reference_policy=work.path("policy"))


def forget(work, rm, policy, proxy):
    for old, first in ((rm, proxy), (policy, work.path("policy"))):
        if old != first:
            drop_model(old)


def run_method(work, optimiser, method, seed, labelled):
    proxy, pairs, held_out = make_proxy(work, seed, labelled)
    base, newest, policy = folder_of(optimiser, method, seed), proxy, work.path("policy")
    for number in range(1, S.ROUNDS + 1):
        name, draws = f"{base}/round-{number}", seed + 100 * number
        if work.is_done(f"{name}/{LAST}.jsonl"):
            newest, policy = (work.path(f"{name}/rm") if method.trains else proxy), work.path(f"{name}/policy")
            continue
        drawn = draw(work, f"{name}/drawn.jsonl", policy, "train", S.DRAWN, draws)
        rm = align(work, method, name, newest, proxy, pairs, drawn, policy, draws)
        moved = OPTIMISERS[optimiser](work, name, policy, rm, drawn, draws)
        examine(work, name, moved, rm, draws)
        score(work, f"{name}/{LAST}.jsonl", rm, held_out)
        forget(work, newest, policy, proxy)
        newest, policy = rm, moved
    forget(work, newest, policy, proxy)


def measure_round(work, name):
    divergence = json.loads(work.path(f"{name}/divergence/evaluation.json").read_text(encoding="utf-8"))
    figures = pair_figures(work, name) | {"kl": divergence["divergence"]["k1_per_response"]["mean"]}
    unit = figures["reward_deviation"]
    for pool in S.EXAMINED:
        gold, judge = rewards(work.path(f"{name}/{pool}.gold.jsonl")), rewards(work.path(f"{name}/{pool}.jsonl"))
        figures[f"{pool}.accuracy_own"] = accuracy([margin for a, b in zip(judge, gold, strict=True) for margin in gold_margins(a, b, range(len(b)))])
        figures[f"{pool}.gold"] = sum(map(sum, gold)) / sum(map(len, gold))
        figures[f"{pool}.proxy"] = sum(map(sum, judge)) / sum(map(len, judge)) / unit
    return figures


def measure_method(work, optimiser, method, seed):
    for number in range(1, S.ROUNDS + 1):
        name = f"{folder_of(optimiser, method, seed)}/round-{number}"
        if not work.is_done(f"{name}/{LAST}.jsonl"):
            return
        yield {"setting": optimiser, "method": method.name, "seed": seed, "round": number, **measure_round(work, name)}
