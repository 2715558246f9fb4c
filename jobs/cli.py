"""The console command ``kestrel``: every job under one name."""

from __future__ import annotations

import importlib
import sys

from jobs.ending import job

JOBS = {
    "detect": ("jobs.detect_scene", "find oriented objects in scenes"),
    "train": ("jobs.train_detector", "train an oriented detector on COCO or DOTA annotations"),
    "evaluate": ("jobs.evaluate_detector", "measure a detector or a result against annotations"),
    "make-scene": ("jobs.make_scene", "write a synthetic scene of any size with known objects"),
    "demo": ("jobs.demo", "make the embedded scene, detect its ships, count what was found"),
}


@job("interrupted")
def main() -> int:
    """Call the job named by the first argument with the rest."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] not in JOBS:
        lines = [f"  {name:<12}{text}" for name, (_, text) in JOBS.items()]
        asked_for_help = bool(arguments) and arguments[0] in ("-h", "--help")
        print("\n".join(["usage: kestrel JOB [options]", "", *lines, "", "kestrel JOB --help tells more."]))
        return 0 if asked_for_help else 2
    module, _ = JOBS[arguments[0]]
    exit_code: int = importlib.import_module(module).main(arguments[1:], prog=f"kestrel {arguments[0]}")
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
