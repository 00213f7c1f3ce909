"""`metarm serve` and a plain server, alternating, under load, once both are found to compute the same. `./run bench --serve --help`."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "bench"))

import cells  # noqa: E402
import checks  # noqa: E402
import hardware  # noqa: E402
import memory  # noqa: E402
import process  # noqa: E402
import servers  # noqa: E402
import swaps  # noqa: E402
from servers import METARM, PLAIN  # noqa: E402
from workbench import Workbench, load_json_lines  # noqa: E402

CACHE = ROOT / ".cache"
MEASURES = ("load", "memory", "swaps")
TRIAL_REQUESTS = 96  # that tell which batches suit the plain server
FORMS = {"single": cells.SINGLE, "groups": cells.GROUPS, "alone": cells.ALONE}


def parse_arguments():
    parser = argparse.ArgumentParser(prog="./run bench --serve", description="Measures metarm serve against transformers behind FastAPI on this machine's CPU.")
    parser.add_argument("--short", action="store_true", help="a tiny random model: do both run and compute the same; no time is judged")
    parser.add_argument("--only", nargs="+", choices=MEASURES, metavar="NAME", help=f"of {', '.join(MEASURES)} (default load; with --short all)")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS), metavar="FORM", help=f"of requests: {', '.join(FORMS)} (default all)")
    parser.add_argument("--repeats", type=int, metavar="N", help="alternations (default 5; with --short 1)")
    parser.add_argument("--minutes", type=float, metavar="M", help="of the memory's run (default 30; with --short a few seconds)")
    parser.add_argument("--pairs", type=Path, default=ROOT / "data/starter/train.jsonl", metavar="FILE", help="preference pairs, JSON lines, .gz accepted")
    parser.add_argument("--min-prompt", type=int, default=0, metavar="N", help="tokens that a prompt has at least (default 0)")
    parser.add_argument("--model", type=Path, default=CACHE / "smollm2/SmolLM2-135M-Instruct", metavar="DIR",
                        help="the language model under the reward head (default SmolLM2-135M-Instruct)")
    parser.add_argument("--metarm", type=Path, default=ROOT / "build/metarm", metavar="PROGRAM", help="the program to measure")
    parser.add_argument("--output", type=Path, default=CACHE / "bench_serve.json", metavar="FILE", help="where every figure goes, as JSON (default bench_serve.json in .cache)")
    options = parser.parse_args()
    options.only = options.only or (MEASURES if options.short else ["load"])
    options.repeats = options.repeats or (1 if options.short else 5)
    options.minutes = options.minutes or (0.05 if options.short else 30)
    return options


def say(text):
    print(text, file=sys.stderr, flush=True)


def make_workbench(options, folder):
    sizes = (cells.SHORT if options.short else cells.FULL) | {"min_prompt": options.min_prompt}
    threads = 1 if options.short else hardware.cores()
    workbench = Workbench(str(options.metarm.resolve()), threads, sizes, Path(folder), None if options.short else options.model.resolve(), None)
    if hardware.LOAD_BEFORE > 0.25 * threads and not options.short:
        say(f"other programs are busy (load {hardware.LOAD_BEFORE:.1f} on {threads} cores): ratios will be unsteady")
    say("making the reward model and the texts")
    workbench.shared = workbench.run_python("serve/rows.py", pairs=str(options.pairs.resolve()), model=workbench.model and str(workbench.model), sizes=sizes, keep=folder)
    return workbench


def flat(rewards):
    return [reward for request in rewards for reward in request]


def check_equal(workbench, both, groups):
    """Every text by each server, eight clients at once, which also warms them up."""
    results = {server.name: {"rewards": flat(servers.ask(workbench, server, groups, 8)["rewards"])} for server in both}
    return checks.check_rewards("rewards", METARM, [PLAIN], results), dict(zip([text for texts in groups for text in texts], results[METARM]["rewards"]))


def choose_batch(workbench, groups):
    """(rows, rows -> rows/s): of the sizes of batch the one with which the plain server is fastest."""
    sizes = workbench.sizes["batch_sizes"]
    if len(sizes) == 1:
        return sizes[0], {}
    speeds, trial = {}, cells.requests_of(cells.SINGLE, groups)[:TRIAL_REQUESTS]
    for rows in sizes:
        with servers.serving(PLAIN, workbench, rows) as server:
            servers.ask(workbench, server, trial[:4], 1)  # first calls set up kernels
            speeds[rows] = len(trial) / servers.ask(workbench, server, trial, 64)["seconds"]
    say("batches of the plain server: " + ", ".join(f"{rows}: {speed:.2f} rows/s" for rows, speed in speeds.items()))
    return max(speeds, key=speeds.get), speeds


def ask_cell(workbench, server, cell, known):
    answer = servers.ask(workbench, server, cell.requests, cell.clients)
    expected = [known[text] for texts in cell.requests for text in texts]
    checks.compare_numbers(f"rewards, {cell.name}", METARM, server.name, expected, flat(answer["rewards"]), checks.RELATIVE_REWARD_TOLERANCE * max(1.0, *map(abs, expected)))
    return cells.cell_figures(cell, answer)


def measure_load(workbench, options, groups):
    grid = cells.make_cells(groups, workbench.sizes["requests"], [FORMS[form] for form in options.forms])
    batch_rows, speeds = choose_batch(workbench, groups)
    samples = {METARM: [], PLAIN: []}
    with servers.serving(METARM, workbench) as ours, servers.serving(PLAIN, workbench, batch_rows) as plain:
        equal, known = check_equal(workbench, [ours, plain], groups)
        say("\n".join(equal))
        for repeat in range(options.repeats):
            found = {METARM: {}, PLAIN: {}}
            for cell in grid:
                for server in [ours, plain] if repeat % 2 == 0 else [plain, ours]:
                    made = ask_cell(workbench, server, cell, known)
                    found[server.name] |= made
                    say(f"{repeat + 1} of {options.repeats}: {server.name}: {cell.name}: {made[f'{cell.name}: rows_per_s']:.2f} rows/s")
            for name, figures_of_all in found.items():
                samples[name].append(figures_of_all)
        peaks = {server.name: server.memory_bytes("VmHWM") for server in (ours, plain)}
    return {"equal": equal, "batch_rows": batch_rows, "batch_speeds": speeds, "samples": samples, "peak_memory_bytes": peaks,
            "comparisons": cells.compare_cells(grid, samples)}, grid


def report_load(found, grid, short):
    print("\n" + cells.ratio_table(found["comparisons"]))
    print("\n" + cells.figure_table(grid, found["samples"]))
    print("memory at most: " + ", ".join(f"{name} {peak / 1e9:.2f} GB" for name, peak in found["peak_memory_bytes"].items()))
    for line in cells.reconnection_lines(found["samples"]):
        print(line)
    if short:
        print("The short form judges no times: both servers ran, and computed the same.")


def main():
    options = parse_arguments()
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-serve-", dir=CACHE) as folder:
        workbench = make_workbench(options, folder)
        groups = [row["texts"] for row in load_json_lines(workbench.shared["texts"])]
        machine = hardware.describe(workbench.threads)
        machine["packages"] |= {name: hardware.version(name) for name in ("fastapi", "uvicorn")}
        result = {"machine": machine, "pairs": str(options.pairs), "sizes": workbench.sizes, "repeats": options.repeats, "short": options.short}
        print(hardware.to_line(machine))
        if "load" in options.only:
            result["load"], grid = measure_load(workbench, options, groups)
            report_load(result["load"], grid, options.short)
        if "memory" in options.only:
            say(f"memory: {options.minutes:g} min under load")
            result["memory"] = memory.measure(workbench, cells.requests_of(cells.SINGLE, groups) + cells.requests_of(cells.GROUPS, groups), options.minutes)
            print(memory.to_line(result["memory"]))
        if "swaps" in options.only:
            seconds = 3 if options.short else 60
            say(f"swaps: {options.repeats} times {seconds} s under load without and with them")
            result["swaps"] = swaps.measure(workbench, groups, seconds, options.repeats)
            print(swaps.to_line(result["swaps"]))
    options.output.write_text(json.dumps(result, indent=1))
    say(f"every figure: {options.output}")


if __name__ == "__main__":
    try:
        main()
    except checks.Mismatch as mismatch:
        sys.exit(f"bench: results differ, so no time counts: {mismatch}")
    except process.Failed as failure:
        sys.exit(f"bench: {failure}")
