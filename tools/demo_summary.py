"""demo_summary.py RM ROUNDS: what the demo's figures say, in plain words and no more than they say."""

import json
import sys
import textwrap
from pathlib import Path


def read_rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def shown(value):
    return "undefined" if value is None else f"{value:.3f}"


def with_interval(figures, name):
    return f"{shown(figures[name])} [{shown(figures[f'{name}_low'])}, {shown(figures[f'{name}_high'])}]"


class Round:
    def __init__(self, folder):
        self.number = int(folder.name.removeprefix("round-"))
        self.measured = json.loads((folder / "measure.done.json").read_text(encoding="utf-8"))["figures"]
        self.judged = json.loads((folder / "judged.done.json").read_text(encoding="utf-8"))["figures"]
        rows = read_rows(folder / "judged.jsonl")
        self.start_reward, self.reward = (sum(row[f"{side}_reward"] for row in rows) / len(rows) for side in "ba")
        self.kl = [row["kl"] for row in read_rows(folder / "policy" / "metrics.jsonl") if "kl" in row][-1]

    @property
    def pairs(self):
        return self.measured["pairs"]

    def row(self):
        responses = self.measured["responses"]
        return [f"round {self.number}", with_interval(self.pairs, "accuracy"), f"{shown(responses['before']['before'])} -> {shown(responses['before']['after'])}",
                f"{100 * responses['near_ties']:.1f} %", f"{shown(self.start_reward)} -> {shown(self.reward)}", shown(self.kl)]


def table(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def moved(before, after):
    if shown(before) == shown(after):
        return f"stayed at {shown(after)}"
    return f"{'rose' if after > before else 'fell'} from {shown(before)} to {shown(after)}"


def sentences(start, rounds):
    last, number = rounds[-1], rounds[-1].pairs["pairs"]
    overlap = start["eval_accuracy_low"] <= last.pairs["accuracy_high"] and last.pairs["accuracy_low"] <= start["eval_accuracy_high"]
    yield f"Accuracy on the {number} held-out pairs {moved(start['eval_accuracy'], last.pairs['accuracy'])} over {len(rounds)} rounds; " + (
        f"the 95 % intervals overlap: {number} pairs do not tell the two apart." if overlap else "the 95 % intervals do not overlap.")
    for one in rounds:
        before = one.measured["responses"]["before"]
        beyond = one.judged["net_low"] > 0 or one.judged["net_high"] < 0
        yield (f"Round {one.number}: on responses of the new policy, the mean reward difference, in units of each reward model's deviation on the pairs, is {shown(before['after'])} for the "
               f"aligned reward model and {shown(before['before'])} for the one before any round. By the aligned one, which the policy was optimised against, responses to held-out prompts have "
               f"a mean reward of {shown(one.reward)}, those of the initial policy {shown(one.start_reward)}; the new ones win {100 * one.judged['win']:.0f} % and lose "
               f"{100 * one.judged['lose']:.0f} %, {'beyond' if beyond else 'within'} chance.")
    yield f"In the last step the policy's KL from where it was before the first round is {shown(last.kl)} nats a response."
    yield "Each round's rewards are of its own reward model: compare them within a round. One seed and so few rows settle nothing; they show how to look."


def main():
    model, folder = map(Path, sys.argv[1:3])
    start = next(row for row in reversed(read_rows(model / "metrics.jsonl")) if "eval_accuracy" in row)
    rounds = sorted((Round(path) for path in folder.glob("round-*")), key=lambda one: one.number)
    head = ["", "accuracy, 95 % interval", "reward differences: as trained -> aligned", "near ties", "proxy reward: initial -> new policy", "KL"]
    print(table([head, ["as trained", with_interval(start, "eval_accuracy"), "", "", "", ""], *(one.row() for one in rounds)]) + "\n")
    print("\n".join(textwrap.fill(sentence, width=120) for sentence in sentences(start, rounds)))


if __name__ == "__main__":
    main()
