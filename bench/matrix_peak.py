"""Floating-point operations a second of large square matrix products in torch: `matrix_peak.py JOB.json RESULT.json`."""

import time

import torch
from job import run_job

LONGEST_S = 2.0  # a product that would take longer is not tried: bfloat16 without hardware for it


def rate(size, dtype, repeats):
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - begin)
    return 2 * size**3 / best


def peak(dtype, sizes):
    best = 0.0
    for size in sizes:
        if best and 2 * size**3 / best > LONGEST_S:
            break
        best = max(best, rate(size, dtype, 5))
    return best


def main(job):
    torch.set_num_threads(job["threads"])
    return {f"{name}_flops_per_s": peak(getattr(torch, name), job["sizes"]) for name in ("float32", "bfloat16")}


if __name__ == "__main__":
    run_job(main)
