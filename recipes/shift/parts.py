"""Each part of the toolbox on the same pairs: makes its reward model, scores what the study of recipes/gold scores, and measures it."""

import math
import random

from gold import bestofn
from gold import settings as G
from gold.bestof import policy_margins
from gold.material import label, make_proxy
from gold.work import read_rows, write_rows
from shift import settings as S

PLAIN = "plain"


def slug(name):
    return "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in name)


def part_folder(seed, name):
    return f"seed-{seed}/round-0" if name == PLAIN else f"seed-{seed}/parts/{slug(name)}"


def start_folder(seed):
    return f"seed-{seed}/start"


def member_folders(seed):
    return [f"seed-{seed}/members/{number}" for number in range(S.MEMBERS)]


class Seed:
    """What all parts of one seed start from; the plain model and its scores are those of the study of over-optimisation.

    measured: names of parts with figures from an earlier call, here or on another machine."""

    def __init__(self, work, seed, labelled, measured):
        self.work, self.seed, self.labelled, self.measured = work, seed, labelled, measured
        self.proxy, self.pairs, self.held_out = make_proxy(work, seed, labelled)
        self.steps = max(row["step"] for row in read_rows(self.proxy / "metrics.jsonl"))
        self.pools = {pool: labelled[pool] for pool in bestofn.MEASURED} | {bestofn.LAST: self.held_out}
        self.plain = bestofn.score_pools(work, part_folder(seed, PLAIN), self.proxy, {"train": labelled["train"]} | self.pools)
        self.reference = work.step(f"seed-{seed}/reference.jsonl", self.write_reference)

    def write_reference(self, path):
        """The pairs that are neither learned from nor measured on: what make_proxy leaves of the same draw."""
        pairs = label(read_rows(self.labelled["pairs"]), random.Random(f"pairs {self.seed}"))
        write_rows(path, pairs[G.PROXY_PAIRS + G.HELD_OUT_PAIRS :])

    def path(self, name, what):
        return f"{part_folder(self.seed, name)}/{what}"

    def training(self, **options):
        """As the proxies', and as long whatever the number of pairs."""
        return {name: value for name, value in G.PROXY.items() if name != "epochs"} | {"max_steps": self.steps, "seed": self.seed} | options

    def groups(self, name):
        """Shifted responses: four to each prompt, as the policy draws them that the plain model selects."""
        return bestofn.draw_groups(self.work, part_folder(self.seed, name), self.labelled["train"], self.plain["train"], G.POLICY_N, 4, f"{self.seed} 1")

    def held_out_of(self, options):
        """Pairs to evaluate on, for options that ask for it on the way."""
        return {"eval_pairs": self.reference} if "eval_steps" in options else {}

    def train(self, name, pairs, **options):
        if "consistency_coef" in options:
            options["responses"] = self.groups(name)
        return self.work.run(self.path(name, "rm"), "train", model=self.work.path("trunk"), pairs=pairs, **self.held_out_of(options), **self.training(**options))

    def scored_groups(self, name):
        return self.work.run(self.path(name, "scored.jsonl"), "score", model=self.proxy, input=self.groups(name))

    def augmented(self, name, groups=False, **options):
        more = {"groups": self.scored_groups(name)} if groups else {"rm": self.proxy} if "min_label_gap" in options else {}
        return self.work.run(self.path(name, "pairs.jsonl"), "augment", pairs=self.pairs, seed=self.seed, **more, **options)

    def align(self, folder, model, groups, seed, **options):
        return self.work.run(folder, "align", model=model, pairs=self.pairs, responses=groups, seed=seed, **self.held_out_of(options), **G.ALIGN | options)

    def aligned(self, name, **options):
        return self.align(self.path(name, "rm"), self.proxy, self.groups(name), self.seed + 100, **options)

    def members(self):
        """That differ by their pairs and their order, from one language model with one head, so that their weights may be averaged."""
        start = self.work.run(start_folder(self.seed), "train", model=self.work.path("trunk"), pairs=self.pairs, **self.training(max_steps=1, lr=0))
        return [self.work.run(folder, "train", model=start, pairs=self.pairs, bootstrap=True, **self.training(seed=1000 * self.seed + number))
                for number, folder in enumerate(member_folders(self.seed))]

    def ensemble(self, name, **options):
        return self.work.run(self.path(name, "rm"), "ensemble", models=self.members(), pairs=self.reference, **options)

    def aligned_members(self, name):
        return [self.path(name, f"members/{number}") for number in range(S.MEMBERS)]

    def aligned_ensemble(self, name):
        """Each member by MetaRM on the pairs that it draws for itself."""
        groups = self.groups(name)
        aligned = [self.align(folder, member, groups, 1000 * self.seed + number, bootstrap=True, **S.ALIGNMENTS[S.META])
                   for number, (folder, member) in enumerate(zip(self.aligned_members(name), self.members(), strict=True))]
        return self.work.run(self.path(name, "rm"), "ensemble", models=aligned, pairs=self.reference, aggregate="mean")

    def distilled(self, name):
        """The teacher's rewards are its members' own, not in units of their deviation, so that a temperature of 1 keeps their scale."""
        teacher = self.work.run(self.path(name, "teacher"), "ensemble", models=self.members(), aggregate="mean")
        scored = self.work.run(self.path(name, "scored.jsonl"), "score", model=teacher, input=self.pairs)
        return self.train(name, scored, soft_labels=1.0)

    def done(self, name):
        return name in self.measured or self.work.is_done(self.path(name, f"{bestofn.LAST}.jsonl"))

    def run(self, name, make):
        """Scores everything by what `make` makes, unless that has been done; the weights go then."""
        if self.done(name):
            return
        model = make()
        bestofn.score_pools(self.work, part_folder(self.seed, name), model, self.pools)
        bestofn.drop_model(model)

    def run_all(self):
        for name, options in S.TRAININGS.items():
            self.run(name, lambda: self.train(name, self.pairs, **options))
        for name, options in S.AUGMENTATIONS.items():
            in_order = {"shuffle": False} if "order" in options else {}
            self.run(name, lambda: self.train(name, self.augmented(name, **options), **in_order))
        for name, options in S.ALIGNMENTS.items():
            self.run(name, lambda: self.aligned(name, **options))
        for name, options in S.ENSEMBLES.items():
            self.run(name, lambda: self.ensemble(name, **options))
        self.run(S.ALIGNED, lambda: self.aligned_ensemble(S.ALIGNED))
        for folder in self.aligned_members(S.ALIGNED):
            bestofn.drop_model(self.work.path(folder))
        self.run(S.MERGED, lambda: self.work.run(self.path(S.MERGED, "rm"), "merge", models=self.members()))
        self.run(S.DISTILLED, lambda: self.distilled(S.DISTILLED))


def all_names():
    return [PLAIN, *S.TRAININGS, *S.AUGMENTATIONS, *S.ALIGNMENTS, *S.ENSEMBLES, S.ALIGNED, S.MERGED, S.DISTILLED]


def log_loss(margins):
    return sum(math.log1p(math.exp(-margin)) for margin in margins) / len(margins)


def calibration_error(margins, bins=10):
    """Of the probability that the better of the two by the model is the better one (expected calibration error, equal parts)."""
    sides = sorted((1 / (1 + math.exp(-abs(margin))), margin > 0) for margin in margins)
    parts = [sides[len(sides) * part // bins : len(sides) * (part + 1) // bins] for part in range(bins)]
    return sum(abs(sum(p for p, _ in part) - sum(right for _, right in part)) for part in parts) / len(sides)


def makes(seed, name, step):
    """Whether it is one of the steps from the language model and the pairs to the part's reward model."""
    if name == PLAIN:
        return step == f"seed-{seed}/proxy"
    of_members = name in S.ENSEMBLES or name in (S.ALIGNED, S.MERGED, S.DISTILLED)
    of_plain = name == S.ALIGNED or name in S.ALIGNMENTS or {"groups", "min_label_gap"} & S.AUGMENTATIONS.get(name, {}).keys() or "consistency_coef" in S.TRAININGS.get(name, {})
    members, plain = [start_folder(seed), *member_folders(seed)], [f"seed-{seed}/proxy", f"{part_folder(seed, PLAIN)}/train.jsonl"]
    shared = (members if of_members else []) + (plain if of_plain else [])
    measured = [f"{part_folder(seed, name)}/{pool}.jsonl" for pool in (*bestofn.MEASURED, bestofn.LAST)]
    return step in shared or (step.startswith(f"{part_folder(seed, name)}/") and step not in measured)


def calibration(work, seed, folder, labelled):
    """On the pairs that are measured: the held-out ones, and those of the policy that the plain model selects, by pool."""
    margins = {"pairs": [row["chosen_reward"] - row["rejected_reward"] for row in read_rows(work.path(f"{folder}/{bestofn.LAST}.jsonl"))]}
    for pool in bestofn.MEASURED:
        gold, judge, selector = (bestofn.rewards(path) for path in (labelled[pool], work.path(f"{folder}/{pool}.jsonl"), work.path(f"{part_folder(seed, PLAIN)}/{pool}.jsonl")))
        margins[pool] = policy_margins(selector, judge, gold, G.POLICY_N, seed)
    return {f"{pool}.{what.__name__}": what(found) for pool, found in margins.items() for what in (log_loss, calibration_error)}


def cosine_figures(work, seed, name):
    """How far the meta steps went along the pairs' loss, too: mean of cos(grad J, grad L) over the steps of an alignment that takes them."""
    if "meta_lr" not in S.ALIGNMENTS.get(name, {}):
        return {}
    cosines = [row["meta_cosine"] for row in read_rows(work.path(f"{part_folder(seed, name)}/rm/metrics.jsonl")) if "meta_cosine" in row]
    return {"meta_cosine": sum(cosines) / len(cosines)}


def measure(work, seed, name, labelled, seconds):
    """A row of figures; None where the part has not finished."""
    folder = part_folder(seed, name)
    if not work.is_done(f"{folder}/{bestofn.LAST}.jsonl"):
        return None
    cost = sum(took for step, took in seconds.items() if makes(seed, name, step))
    figures = bestofn.measure_round(work, seed, folder, part_folder(seed, PLAIN), labelled) | calibration(work, seed, folder, labelled)
    return {"setting": "parts", "method": name, "seed": seed, "round": 0, **figures, **cosine_figures(work, seed, name), "seconds": cost}
