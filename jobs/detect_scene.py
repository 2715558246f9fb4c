"""Find oriented objects in scenes: ``python jobs/detect_scene.py --scene URI [URI ...] --out URI``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # an unpacked copy need not be installed

from pipeline.command_line import parse_run
from pipeline.config import RunConfig
from pipeline.errors import PipelineError


def main(argv: Sequence[str] | None = None, prog: str = "detect_scene.py") -> int:
    """Run; print one line per scene and the exit code; return it."""
    try:
        config = parse_run(sys.argv[1:] if argv is None else argv, prog)
        if isinstance(config, str):
            print(config)
            return 0
        exit_code = dry_run(config) if config.dry_run else detect(config)
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        exit_code = error.exit_code
    except KeyboardInterrupt:
        print("interrupted: blocks that were done are kept; the same command goes on from there", file=sys.stderr)
        exit_code = 130
    print(f"exit code {exit_code}", file=sys.stderr)
    return exit_code


def dry_run(config: RunConfig) -> int:
    """Print what a run would do."""
    from pipeline.dry_run import describe_run  # imports torch; --help must not wait for it

    exit_code = 0
    for text, code in describe_run(config):
        print(text, end="\n\n")
        exit_code = exit_code or code
    return exit_code


def detect(config: RunConfig) -> int:
    """Run on the executor that was asked for."""
    from pipeline.cluster import RayExecutor, refuse_relative_paths
    from pipeline.executors import LocalExecutor
    from pipeline.scene_job import check_run, detect
    from pipeline.weights import load, model_card

    check_run(config)
    refuse_relative_paths(config)
    card = model_card(config.weights)
    loader = partial(load, config.weights, config.cluster.device, config.detector.precision, config.cluster.threads)
    if config.executor == "local" or config.start_from == "merge":  # merging again needs no workers
        return detect(config, card, LocalExecutor(loader), say).exit_code
    with RayExecutor(loader, config.cluster, say) as executor:
        return detect(config, card, executor, say).exit_code


def say(message: str) -> None:
    """A line for people; results go to files."""
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
