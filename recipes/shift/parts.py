"""Each part of the toolbox on the same pairs: makes its reward model, scores what the study of recipes/gold scores, and measures it."""

import math

from gold import bestofn
from gold import settings as G
from gold.material import make_proxy
from gold.work import read_rows
from shift import settings as S

PLAIN = "plain"


def slug(name):
    return "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in name)


def part_folder(seed, name):
    return f"seed-{seed}/round-0" if name == PLAIN else f"seed-{seed}/parts/{slug(name)}"


class Seed:
    """What all parts of one seed start from; the plain model and its scores are those of the study of over-optimisation."""

    def __init__(self, work, seed, labelled):
        self.work, self.seed, self.labelled = work, seed, labelled
        self.proxy, self.pairs, self.held_out = make_proxy(work, seed, labelled)
        self.pools = {pool: labelled[pool] for pool in bestofn.MEASURED} | {bestofn.LAST: self.held_out}
        self.plain = bestofn.score_pools(work, part_folder(seed, PLAIN), self.proxy, {"train": labelled["train"]} | self.pools)

    def path(self, name, what):
        return f"{part_folder(self.seed, name)}/{what}"

    def train(self, name, pairs, **options):
        return self.work.run(self.path(name, "rm"), "train", model=self.work.path("trunk"), pairs=pairs, **G.PROXY | {"seed": self.seed} | options)

    def augmented(self, name, groups=False, **options):
        more = {"groups": self.plain["train"]} if groups else {}
        return self.work.run(self.path(name, "pairs.jsonl"), "augment", pairs=self.pairs, seed=self.seed, **more, **options)

    def aligned(self, name, **options):
        groups = bestofn.draw_groups(self.work, part_folder(self.seed, name), self.labelled["train"], self.plain["train"], G.POLICY_N, 4, f"{self.seed} 1")
        return self.work.run(self.path(name, "rm"), "align", model=self.proxy, pairs=self.pairs, responses=groups, seed=self.seed + 100, **G.ALIGN | options)

    def members(self):
        """That differ by their pairs, their order and their first head."""
        return [self.work.run(f"seed-{self.seed}/members/{number}", "train", model=self.work.path("trunk"), pairs=self.pairs, bootstrap=True,
                              **G.PROXY | {"seed": 1000 * self.seed + number}) for number in range(S.MEMBERS)]

    def ensemble(self, name, **options):
        return self.work.run(self.path(name, "rm"), "ensemble", models=self.members(), pairs=self.pairs, **options)

    def distilled(self, name):
        teacher = self.ensemble(next(iter(S.ENSEMBLES)), **next(iter(S.ENSEMBLES.values())))
        scored = self.work.run(self.path(name, "scored.jsonl"), "score", model=teacher, input=self.pairs)
        return self.train(name, scored, soft_labels=1.0)

    def done(self, name):
        return self.work.is_done(self.path(name, f"{bestofn.LAST}.jsonl"))

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
            self.run(name, lambda: self.train(name, self.augmented(name, **options)))
        for name, options in S.ALIGNMENTS.items():
            self.run(name, lambda: self.aligned(name, **options))
        for name, options in S.ENSEMBLES.items():
            self.run(name, lambda: self.ensemble(name, **options))
        self.run(S.MERGED, lambda: self.work.run(self.path(S.MERGED, "rm"), "merge", models=self.members()))
        self.run(S.DISTILLED, lambda: self.distilled(S.DISTILLED))


def all_names():
    return [PLAIN, *S.TRAININGS, *S.AUGMENTATIONS, *S.ALIGNMENTS, *S.ENSEMBLES, S.MERGED, S.DISTILLED]


def log_loss(pairs):
    return sum(math.log1p(math.exp(row["rejected_reward"] - row["chosen_reward"])) for row in pairs) / len(pairs)


def calibration_error(pairs, bins=10):
    """Of the probability that the better of the two by the model is the chosen one (expected calibration error, equal parts)."""
    sides = sorted((1 / (1 + math.exp(-abs(margin))), margin > 0) for row in pairs for margin in [row["chosen_reward"] - row["rejected_reward"]])
    parts = [sides[len(sides) * part // bins : len(sides) * (part + 1) // bins] for part in range(bins)]
    return sum(abs(sum(p for p, _ in part) - sum(right for _, right in part)) for part in parts) / len(sides)


def measure(work, seed, name, labelled, seconds):
    """A row of figures; None where the part has not finished."""
    folder = part_folder(seed, name)
    if not work.is_done(f"{folder}/{bestofn.LAST}.jsonl"):
        return None
    pairs = read_rows(work.path(f"{folder}/{bestofn.LAST}.jsonl"))
    own = sum(took for step, took in seconds.items() if step.startswith(f"{folder}/") and step.split("/")[-1] == "rm")
    figures = bestofn.measure_round(work, seed, folder, part_folder(seed, PLAIN), labelled)
    return {"setting": "parts", "method": name, "seed": seed, "round": 0, **figures, "log_loss": log_loss(pairs), "calibration_error": calibration_error(pairs), "seconds": own}
