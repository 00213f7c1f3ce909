"""A folder of steps, each done once: commands of metarm and small programs, with what they cost. Killed anywhere, it goes on."""

import json
import resource
import shutil
import subprocess
import time
from pathlib import Path


TRAININGS = ("train", "align", "sft", "ppo", "dpo")


def as_arguments(option, value):
    values = value if isinstance(value, (list, tuple)) else [value]
    return [f"--{option.replace('_', '-')}", *(str(one).lower() if isinstance(one, bool) else str(one) for one in values)]


def remove(path):
    """What a killed command may have left."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def processor_seconds():
    """Of this process and all that it has waited for: whatever else a machine does, a step costs as much."""
    return sum(use.ru_utime + use.ru_stime for use in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


class OutOfTime(Exception):
    """The part is over; the next call goes on."""


class Work:
    def __init__(self, folder, metarm, minutes=None):
        self.folder, self.metarm = Path(folder), str(metarm)
        self.deadline = None if minutes is None else time.monotonic() + 60 * minutes
        self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, name):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def marker(self, name):
        return self.path(f"{name}.done.json")

    def is_done(self, name):
        return self.marker(name).exists()

    def step(self, name, make):
        """Runs `make(path)` unless it has finished before; returns the path that it made."""
        path = self.path(name)
        if self.is_done(name):
            return path
        if self.deadline and time.monotonic() > self.deadline:
            raise OutOfTime(name)
        print(f"  {name}", flush=True)
        start = processor_seconds()
        make(path)
        unfinished = self.path(f"{name}.done.part")
        unfinished.write_text(json.dumps({"seconds": round(processor_seconds() - start, 1)}))
        unfinished.rename(self.marker(name))
        return path

    def run(self, name, command, **options):
        """`metarm COMMAND --output NAME` with the options; a training that was killed goes on from its checkpoint."""
        return self.step(name, lambda path: self.call(command, output=path, **options))

    def call(self, command, output, **options):
        if command in TRAININGS:
            options["resume"] = True
        else:
            remove(Path(output))
        arguments = [word for option, value in options.items() for word in as_arguments(option, value)]
        result = subprocess.run([self.metarm, command, *arguments, "--output", str(output), "--quiet"], text=True, stderr=subprocess.PIPE)
        if result.returncode != 0:
            raise SystemExit(f"experiment: metarm {command} for {output}: {result.stderr.strip()}")

    def seconds(self):
        """name -> processor seconds of each finished step."""
        return {str(path.relative_to(self.folder))[: -len(".done.json")]: json.loads(path.read_text())["seconds"] for path in sorted(self.folder.rglob("*.done.json"))}


def read_rows(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def write_rows(path, rows):
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
