"""The machine, in a line."""

import importlib.metadata
import importlib.util
import os
import platform
from pathlib import Path

ISA_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "sve", "bf16")
LOAD_BEFORE = os.getloadavg()[0]  # processes that wanted a processor, over the minute before the benchmark


def _cpu_info():
    """The first processor's fields."""
    lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def isa_flags():
    info = _cpu_info()
    found = set(info.get("flags", info.get("Features", "")).split())
    return [flag for flag in ISA_FLAGS if flag in found]


def native_dtype():
    """What metarm trains in by default here."""
    return "bfloat16" if "avx512_bf16" in isa_flags() else "float32"


def version(package):
    return importlib.metadata.version(package) if importlib.util.find_spec(package.replace("-", "_")) else None


def cores():
    return len(os.sched_getaffinity(0))


def describe(threads):
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cpu": _cpu_info().get("model name", platform.machine()), "threads": threads, "isa": isa_flags(), "memory_gb": round(memory / 1e9, 1),
            "system": platform.platform(), "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", ""),
            "load_before": round(LOAD_BEFORE, 1), "packages": {name: version(name) for name in ("torch", "transformers", "trl") if version(name)}}


def to_line(machine):
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    line = f"{machine['cpu']}, {machine['threads']} threads, {' '.join(machine['isa'])}; {machine['memory_gb']} GB; {packages}; load before {machine['load_before']}"
    return line + (f"; OMP_WAIT_POLICY={machine['omp_wait_policy']}" if machine["omp_wait_policy"] else "")
