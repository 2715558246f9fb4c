"""The process that a hunt may lose: ``python -m tests.fuzz.worker SEED FIRST END FOLDER``. A line of JSON per case."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.fuzz.mutations import make_case
from tests.fuzz.templates import templates
from tests.fuzz.trial import try_case

MEMORY_BYTES = 3 << 30
"""Address space of a worker: a header must not make anybody allocate what it promises."""


def main(seed: int, first: int, end: int, folder: Path) -> None:
    """Try the cases ``[first, end)``, each in a folder of its own that is gone afterwards."""
    templates()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Libraries in C may print whatever they like: what is said to the hunt goes where they do not know.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print("ready", file=answers, flush=True)
    for number in range(first, end):
        place = Path(tempfile.mkdtemp(dir=folder))
        outcome = try_case(make_case(seed, number), place)
        shutil.rmtree(place, ignore_errors=True)
        print(json.dumps({"case": number, **asdict(outcome)}), file=answers, flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), Path(sys.argv[4]))
