"""Figures of a training from its steps: the first one warms up and does not count."""


def steady(steps):
    return steps[1:] or steps


def training_figures(steps, peak_memory_bytes):
    """steps: [{seconds, loss, pairs, ...}]"""
    counted = steady(steps)
    seconds = sum(step["seconds"] for step in counted)
    return {"pairs_per_s": sum(step["pairs"] for step in counted) / seconds, "step_seconds": seconds / len(counted), "peak_memory_bytes": peak_memory_bytes,
            "losses": [step["loss"] for step in steps], "steps": steps}


def token_figures(steps, work, arithmetic):
    """Tokens a second, and floating-point operations a second of the matrix products that a step cannot do without: forward and twice that backward.

    work: [{tokens, attended}] of each step.
    """
    counted, counted_work = steady(steps), steady(work)
    seconds = sum(step["seconds"] for step in counted)
    tokens = sum(step["tokens"] for step in counted)
    attended = sum(step["attended"] for step in counted_work)
    forward = 2 * arithmetic["matrix_parameters"] * tokens + arithmetic["flops_per_attended"] * attended
    return {"tokens_per_s": tokens / seconds, "useful_flops_per_s": 3 * forward / seconds}
