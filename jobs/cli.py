"""The console command ``kestrel``: every job under one name."""

from __future__ import annotations

import importlib
import sys

from jobs.ending import job
from pipeline import __version__
from pipeline.names import near_names, quoted

JOBS = {
    "detect": ("jobs.detect_scene", "find oriented objects in scenes"),
    "ingest": ("jobs.ingest_scenes", "detect the scenes of a feed that are new, once; cron repeats it"),
    "train": ("jobs.train_detector", "train an oriented detector on COCO or DOTA annotations"),
    "evaluate": ("jobs.evaluate_detector", "measure a detector or a result against annotations"),
    "collect": ("jobs.collect_results", "tell all results of an output folder as one STAC collection"),
    "export": ("jobs.export_detections", "write the detections of all scenes of an output folder to one file"),
    "make-scene": ("jobs.make_scene", "write a synthetic scene of any size with known objects"),
    "demo": ("jobs.demo", "make the embedded scene, detect its ships, count what was found"),
}


@job("interrupted")
def main() -> int:
    """Call the job named by the first argument with the rest."""
    arguments = sys.argv[1:]
    first = arguments[0] if arguments else ""
    if first == "--version":
        print(f"kestrel {__version__}")
        return 0
    if first and first not in JOBS and not first.startswith("-"):
        near = near_names(first, JOBS)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(JOBS)}"
        print(f"error: kestrel has no job {quoted(first)}; {hint}", file=sys.stderr)
        return 2
    if first not in JOBS:
        lines = [f"  {name:<12}{text}" for name, (_, text) in JOBS.items()]
        print("\n".join(["usage: kestrel JOB [options]", "", *lines, "", "kestrel JOB --help tells more."]))
        return 0 if first in ("-h", "--help") else 2
    module, _ = JOBS[first]
    exit_code: int = importlib.import_module(module).main(arguments[1:], prog=f"kestrel {first}")
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
