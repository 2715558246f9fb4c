"""Find oriented objects in scenes: ``python jobs/detect_scene.py SCENE [SCENE ...] --out URI``."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # an unpacked copy need not be installed

from jobs.ending import EXIT_UNREAD, Unread, printing
from jobs.stopping import Stops
from pipeline import __version__
from pipeline.command_line import parse_run, wants_json
from pipeline.config import RunConfig
from pipeline.errors import PipelineError
from pipeline.reporting.journal import Journal, libraries_in


def main(argv: Sequence[str] | None = None, prog: str = "detect_scene.py") -> int:
    """Run; one line per scene, one per failure, and the exit code; return it."""
    arguments = sys.argv[1:] if argv is None else argv
    journal = Journal(form="json" if wants_json(arguments) else "text")

    def late(exit_code: int) -> None:
        interrupted(journal, exit_code)
        journal.emit("run_ended", f"exit code {exit_code}", exit_code=exit_code)

    with Stops(late) as stops:
        try:
            with printing():
                config = parse_run(arguments, prog, lambda said: journal.emit("warning", f"warning: {said}"))
                if isinstance(config, str):
                    print(config)
                    return 0
                journal = Journal(form=config.log)
                with libraries_in(journal):
                    exit_code = dry_run(config, journal) if config.dry_run else detect(config, journal)
        except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001 - raised again unless known
            exit_code = ending(error, journal, stops)
        if exit_code != EXIT_UNREAD:
            journal.emit("run_ended", f"exit code {exit_code}", exit_code=exit_code)
        return exit_code


def ending(error: BaseException, journal: Journal, stops: Stops) -> int:
    """Say how a run ends that raised ``error``; the exit code. Raises what is neither ours nor to be told as JSON."""
    if isinstance(error, Unread):
        return error.exit_code
    if stops.number is not None or isinstance(error, KeyboardInterrupt):
        interrupted(journal, stops.exit_code)
        return stops.exit_code
    if isinstance(error, PipelineError):
        journal.emit("error", f"error: {error}", error=type(error).__name__, reason=str(error),
                     exit_code=error.exit_code)  # fmt: skip
        return error.exit_code
    if journal.form == "text" or not isinstance(error, Exception):
        raise error
    trace = "".join(traceback.format_exception(error))
    journal.emit("error", f"a defect of ours: {error!r}", error=type(error).__name__, trace=trace)
    return 1


def interrupted(journal: Journal, exit_code: int) -> None:
    """Say what becomes of a run that was told to stop."""
    journal.emit(
        "interrupted",
        "interrupted: blocks that were done are kept; the same command goes on from there",
        exit_code=exit_code,
    )


def dry_run(config: RunConfig, journal: Journal) -> int:
    """Print what a run would do."""
    from pipeline.runs.dry_run import describe_run  # imports torch; --help must not wait for it
    from pipeline.runs.scene_list import with_scenes_listed

    config, exit_code = with_scenes_listed(config, journal), 0
    for text, code in describe_run(config):
        print(text, end="\n\n", flush=True)
        exit_code = exit_code or code
    return exit_code


def detect(config: RunConfig, journal: Journal) -> int:
    """Run on the executor that was asked for."""
    from pipeline.cluster.submission import refuse_relative_paths
    from pipeline.detectors.weights import load_as_planned, model_card
    from pipeline.engine.local import LocalExecutor
    from pipeline.planning.threshold import score_threshold
    from pipeline.runs.run import check_run, detect
    from pipeline.runs.scene_list import with_scenes_listed

    refuse_relative_paths(config)
    config = with_scenes_listed(config, journal)
    check_run(config)
    journal.emit(
        "run_started", version=__version__, scenes=len(config.scene), out=config.out, weights=config.weights,
        executor=config.executor,
    )  # fmt: skip
    how = {"device": config.cluster.device, "precision": config.detector.dtype, "runtime": config.detector.runtime}
    card = model_card(config.weights, **how)
    if card.described is not None:
        journal.emit("model", card.described, name=card.name, licence=card.licence, runtime=card.runtime)
    score_threshold(card, config.detector)  # said before a cluster is started for it
    loader = partial(load_as_planned, card.runtime, config.weights, how, config.cluster.threads)
    if config.executor == "local" or config.start_from == "merge":  # merging again needs no workers
        return detect(config, card, LocalExecutor(loader, max_attempts=config.cluster.max_attempts), journal).exit_code
    from pipeline.cluster.executor import RayExecutor  # late: Ray is needed for nothing else

    with RayExecutor(loader, config.cluster, journal) as executor:
        return detect(config, card, executor, journal).exit_code


if __name__ == "__main__":
    sys.exit(main())
