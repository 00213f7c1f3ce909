"""metarm and its peers on this machine, alternating, once all are found to compute the same. `./run bench --help`."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import checks
import figures
import hardware
import measures
import process
from workbench import CHECK, FULL, SHORT, Workbench

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache"
MODEL_CACHE = CACHE / "smollm2"


def parse_arguments():
    parser = argparse.ArgumentParser(prog="./run bench", description="Measures metarm against TRL, transformers and llama.cpp on this machine's CPU.")
    parser.add_argument("--short", action="store_true", help="a tiny random model: does everyone run and compute the same; no time is judged")
    parser.add_argument("--only", nargs="+", choices=measures.MEASURES, default=measures.MEASURES, metavar="NAME", help=f"of {', '.join(measures.MEASURES)}")
    parser.add_argument("--without", nargs="+", default=[], metavar="TEXT", help="leave out contenders with TEXT in their names, such as 'plain PyTorch'")
    parser.add_argument("--repeats", type=int, metavar="N", help="alternations (default 5; with --short 1)")
    parser.add_argument("--steps", type=int, metavar="N", help=f"training steps a run, the first of which does not count (default {FULL['steps']})")
    parser.add_argument("--pairs", type=Path, default=ROOT / "data/starter/train.jsonl", metavar="FILE", help="preference pairs, JSON lines, .gz accepted")
    parser.add_argument("--model", type=Path, default=MODEL_CACHE / "SmolLM2-135M-Instruct", metavar="DIR",
                        help="the language model (default SmolLM2-135M-Instruct)")
    parser.add_argument("--gguf", type=Path, default=MODEL_CACHE / "model.gguf", metavar="FILE", help="the same as a GGUF file, for llama.cpp")
    parser.add_argument("--metarm", type=Path, default=ROOT / "build/metarm", metavar="PROGRAM", help="the program to measure")
    parser.add_argument("--output", type=Path, default=None, metavar="FILE", help="where every figure goes, as JSON (default bench.json in .cache)")
    options = parser.parse_args()
    options.repeats = options.repeats or (1 if options.short else 5)
    options.output = options.output or CACHE / "bench.json"
    if options.short:
        options.model = options.gguf = None
    return options


def say(text):
    print(text, file=sys.stderr, flush=True)


def make_workbench(options, folder):
    sizes = SHORT if options.short else FULL | ({"steps": options.steps} if options.steps else {})
    gguf = options.gguf if options.gguf and options.gguf.exists() else None
    threads = 1 if options.short else hardware.cores()
    workbench = Workbench(str(options.metarm.resolve()), threads, sizes, Path(folder), options.model and options.model.resolve(), gguf)
    if hardware.LOAD_BEFORE > 0.25 * threads and not options.short:
        say(f"other programs are busy (load {hardware.LOAD_BEFORE:.1f} on {threads} cores): ratios will be unsteady; OMP_WAIT_POLICY=passive keeps threads from "
            "waiting for each other in loops")
    say("making the reward model, the pairs and the response groups")
    workbench.prepare(options.pairs.resolve())
    return workbench


def run_round(workbench, contenders, title):
    """Each contender once, one after another."""
    results = {}
    for name, contender in contenders.items():
        results[name] = contender.run(workbench)
        shown = "" if not contender.figures else ": " + ", ".join(
            f"{results[name][figure] / figures.UNITS[figure][1]:.4g} {figures.UNITS[figure][0]}" for figure in contender.figures)
        say(f"{title}: {name}{shown}, {results[name]['peak_memory_bytes'] / 1e9:.2f} GB")
    return results


def choose_contenders(workbench, native, comparisons, without):
    """(those to run, name -> why the others do not)."""
    everyone = measures.contenders(native)
    wanted = {name for comparison in comparisons for name in comparison.contenders}
    left_out = {name for name in wanted if any(text in name for text in without)}
    reasons = {name: "left out" if name in left_out else measures.missing(name, contender, workbench, native)
               for name, contender in everyone.items() if name in wanted}
    return {name: everyone[name] for name, reason in reasons.items() if not reason}, {name: reason for name, reason in reasons.items() if reason}


def measure(workbench, contenders, options):
    """(samples of each contender, what was found equal)."""
    lines = []
    if not options.short:
        comparable = {name: contender for name, contender in contenders.items() if contender.proof}
        lines += checks.check_round(run_round(workbench.with_sizes(CHECK), comparable, "check"), contenders, greedy=True)
        say("\n".join(lines))
    samples = {name: [] for name in contenders}
    for repeat in range(options.repeats):
        results = run_round(workbench, contenders, f"{repeat + 1} of {options.repeats}")
        lines += checks.check_round(results, contenders, greedy=workbench.sizes["temperature"] == 0)
        for name, found in results.items():
            samples[name].append(found)
    return samples, lines


def report(machine, samples, compared, absent, contenders, short):
    print(hardware.to_line(machine))
    print("\n" + figures.ratio_table(compared, judged=not short))
    print("\n" + figures.figure_table(samples, {name: contender.figures for name, contender in contenders.items()}))
    for name, reason in absent.items():
        print(f"not measured: {name}: {reason}")
    if short:
        print("The short form judges no times: every contender ran, and all computed the same.")


def main():
    options = parse_arguments()
    CACHE.mkdir(exist_ok=True)
    native = hardware.native_dtype()
    comparisons = [comparison for comparison in measures.comparisons(native) if comparison.measure in options.only]
    with tempfile.TemporaryDirectory(prefix="bench-", dir=CACHE) as folder:
        workbench = make_workbench(options, folder)
        contenders, absent = choose_contenders(workbench, native, comparisons, options.without)
        samples, lines = measure(workbench, contenders, options)
        machine, sizes = hardware.describe(workbench.threads), workbench.sizes
    compared = [result for comparison in comparisons if (result := figures.compare(comparison, samples))]
    report(machine, samples, compared, absent, contenders, options.short)
    options.output.write_text(json.dumps({"machine": machine, "pairs": str(options.pairs), "sizes": sizes, "repeats": options.repeats, "short": options.short,
                                          "equal": lines, "not_measured": absent, "comparisons": compared, "samples": samples}, indent=1))
    say(f"every figure: {options.output}")


if __name__ == "__main__":
    try:
        main()
    except checks.Mismatch as mismatch:
        sys.exit(f"bench: results differ, so no time counts: {mismatch}")
    except process.Failed as failure:
        sys.exit(f"bench: {failure}")
