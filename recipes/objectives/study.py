"""Does each training of a policy improve what it optimises, on rows that it does not learn from? `./run experiment objectives --help`."""

from pathlib import Path

from gold import tables
from gold.material import make_proxy, prepare, read_pairs
from gold.study import ROOT, make_parser, take_part
from gold.work import read_rows, write_rows
from objectives import settings as S

FIGURES = Path(__file__).parent / "figures.jsonl"
START = "start"


def parse_arguments():
    description = "Does each training of a policy improve what it optimises, on rows that it does not learn from?"
    return make_parser("objectives", description, S.SEEDS, FIGURES).parse_args()


def some_rows(work, name, rows):
    return work.step(f"objectives/{name}.jsonl", lambda path: write_rows(path, rows[: S.HELD_OUT]))


def inputs(work, training, options, labelled):
    """What a command reads; `start` is the policy before, the proxy of the first seed the reward model."""
    if training.command == "sft":
        return {"model": work.path("trunk"), "data": options.data / "train.jsonl.gz", "eval_data": some_rows(work, "sft", read_pairs(options.data / "validation.jsonl.gz"))}
    start = work.run("objectives/start", "sft", model=work.path("trunk"), data=options.data / "train.jsonl.gz", max_length=S.MAX_LENGTH, **S.START)
    proxy, pairs, held_out = make_proxy(work, 1, labelled)
    if training.command == "dpo":
        return {"model": start, "pairs": pairs, "eval_pairs": some_rows(work, "dpo", read_rows(held_out))}
    return {"policy": start, "rm": proxy, "prompts": work.path("pools/train.prompts.jsonl"), "probe_prompts": work.path("pools/test.prompts.jsonl")}


def folder(name, seed, part):
    return f"objectives/{name}/seed-{seed}/{part}"


def run(work, options):
    """Of each training and seed a run, and one that stands still, which is measured with the same draws."""
    labelled = prepare(work, options.model, options.data, ROOT / "data/starter", options.labels)
    for seed in options.seeds:
        for name, training in S.TRAININGS.items():
            files = inputs(work, training, options, labelled)
            for part, more in (("trained", {}), (START, {"lr": 0, "max_steps": 1} | ({"critic_lr": 0} if "critic_lr" in training.options else {}))):
                work.run(folder(name, seed, part), training.command, **files, **(training.options | more), save_steps=0, seed=seed)


def measure(work, name, seed):
    """A row for the start and one for the end; none before both are there. Losses count with a minus: more is better in all rows."""
    if not all(work.is_done(folder(name, seed, part)) for part in (START, "trained")):
        return []
    training, rows = S.TRAININGS[name], []
    for part, method in ((START, f"{name}, {START}"), ("trained", name)):
        last = [row for row in read_rows(work.path(folder(name, seed, part)) / "metrics.jsonl") if any(figure.startswith("eval_") for figure in row)][-1]
        objective = -last["eval_loss"] if training.is_loss else last["eval_reward"]
        rows.append({"setting": "objectives", "method": method, "seed": seed, "round": 0, "objective": objective})
    return rows


def collect(work, seeds):
    return [row for name in S.TRAININGS for seed in seeds for row in measure(work, name, seed)]


def table(rows):
    """Markdown: a line a training, start, end, and the difference seed by seed with its 95 % interval."""
    lines = ["| training | seeds | start | end | end − start | improved |", "| --- | --- | --- | --- | --- | --- |"]
    for name in S.TRAININGS:
        values = {method: [row["objective"] for row in rows if row["method"] == method] for method in (f"{name}, {START}", name)}
        apart = tables.differences(rows, name, f"{name}, {START}", "objective", 0)
        if apart:
            mean, half = tables.interval(apart)
            improved = "unknown" if half is None else "yes" if mean - half > 0 else "no"
            lines.append(f"| {name} | {len(apart)} | {tables.shown(values[f'{name}, {START}'])} | {tables.shown(values[name])} | {tables.shown(apart)} | {improved} |")
    return "\n".join(lines)


def main():
    options = parse_arguments()
    _, rows = take_part(options, run, collect, S.SEEDS)
    print(table(rows))
    print(f"\nfigures: {options.figures}")


if __name__ == "__main__":
    main()
