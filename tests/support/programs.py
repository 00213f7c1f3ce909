"""The programs under test, and rows on disk."""

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("METARM", ROOT / "build" / "metarm")).resolve().parent
HH = Path(os.environ.get("METARM_HH_DATA", ROOT.parent / "shared" / "data" / "hh-harmless"))


def run_program(name, *arguments, check=True, **more):
    """Runs a program of the build folder; with `check`, a failure shows what it printed."""
    result = subprocess.run([str(BUILD / name), *map(str, arguments)], capture_output=True, text=True, **more)
    if check and result.returncode != 0:
        pytest.fail(f"{name} {' '.join(map(str, arguments))}\nexit {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result


def run_metarm(*arguments, check=True, **more):
    return run_program("metarm", *arguments, check=check, **more)


def write_rows(path, rows):
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_rows(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").split("\n") if line]


def ranks_command(ranks, name, *arguments):
    """mpirun with that many ranks, more than there are cores if need be."""
    return ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(ranks), str(BUILD / name), *map(str, arguments)]


def ranks_environment():
    return os.environ | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def run_ranks(ranks, *arguments, check=True, name="metarm", **more):
    """A program as so many ranks; as one, without mpirun."""
    if ranks == 1:
        return run_program(name, *arguments, check=check, **more)
    result = subprocess.run(ranks_command(ranks, name, *arguments), capture_output=True, text=True, env=ranks_environment(), timeout=600, **more)
    if check and result.returncode != 0:
        pytest.fail(f"{ranks} ranks of {name} {' '.join(map(str, arguments))}\nexit {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result
