"""Both sides compute the same, or the benchmark stops: what contenders found on the same inputs is compared before a time counts."""

# bfloat16 has 8 bits of fraction, and a loss is a mean over few pairs.
LOSS_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1}
RELATIVE_REWARD_TOLERANCE = 1e-4


class Mismatch(Exception):
    pass


def precision(contender):
    return "float32" if contender.endswith("float32") else "bfloat16"


def compare_numbers(what, reference, contender, expected, got, tolerance):
    """Returns what was found as a line."""
    if len(expected) != len(got):
        raise Mismatch(f"{what}: expected {len(expected)} of {reference}'s, got {len(got)} of {contender}'s")
    differences = [abs(a - b) for a, b in zip(expected, got)]
    largest = max(differences)
    if not all(difference <= tolerance for difference in differences):  # so that NaN fails
        raise Mismatch(f"{what}: {contender} differs from {reference} by {largest:.2g}, expected at most {tolerance:.2g}\n  {expected}\n  {got}")
    return f"{what}: {contender} differs from {reference} by {largest:.1e} at most (allowed {tolerance:.1e})"


def check_losses(what, figure, reference, others, results):
    expected = results[reference][figure]
    return [compare_numbers(what, reference, name, expected, results[name][figure], LOSS_TOLERANCE[precision(name)]) for name in others]


def check_rewards(what, reference, others, results):
    expected = results[reference]["rewards"]
    if max(expected) - min(expected) < 1e-3:
        raise Mismatch(f"{what}: expected some that differ, got {min(expected)} to {max(expected)}: nothing would be compared")
    tolerance = RELATIVE_REWARD_TOLERANCE * max(1.0, *map(abs, expected))
    return [compare_numbers(what, reference, name, expected, results[name]["rewards"], tolerance) for name in others]


def check_texts(reference, others, results):
    """Greedy responses: sampled ones cannot be compared."""
    expected = results[reference]["texts"]
    for name in others:
        for index, (a, b) in enumerate(zip(expected, results[name]["texts"], strict=True)):
            if a != b:
                raise Mismatch(f"greedy response {index}: {reference} wrote {a!r}, {name} wrote {b!r}")
    return [f"greedy responses: {name} wrote the same {len(expected)} as {reference}" for name in others]


def check_round(results, contenders, greedy):
    """results: contender -> its figures of one round. Lines that say what was compared; Mismatch where that differs."""
    kinds = {}
    for name in results:
        if contenders[name].proof:
            kinds.setdefault(contenders[name].proof, []).append(name)
    lines = []
    for kind, names in kinds.items():
        reference, *others = sorted(names, key=lambda name: (precision(name) != "float32", not name.startswith("metarm")))
        if kind == "losses":
            lines += check_losses("losses of the steps", "losses", reference, others, results)
        elif kind == "differences":
            lines += check_losses("losses of the meta steps", "losses", reference, others, results)
            lines += check_losses("difference losses", "differences", reference, others, results)
        elif kind.startswith("rewards"):
            lines += check_rewards(kind, reference, others, results)
        elif greedy:
            lines += check_texts(reference, others, results)
    return lines
