"""What a contender in Python is: a process that reads what to do from one JSON file and writes what it found to another."""

import json
import sys
from pathlib import Path


def run_job(main):
    job, result = map(Path, sys.argv[1:])
    result.write_text(json.dumps(main(json.loads(job.read_text()))))
