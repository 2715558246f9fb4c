"""One tick over scenes that arrive: list a feed, detect what is new, publish, tell the catalogue, exit.

python jobs/ingest_scenes.py --feed FEED.yaml --out s3://bucket/results
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # an unpacked copy need not be installed

from jobs.detect_scene import ending, interrupted
from jobs.ending import EXIT_UNREAD, printing
from jobs.stopping import Stops
from pipeline import __version__
from pipeline.command_line import wants_json
from pipeline.config import RunConfig
from pipeline.errors import EXIT_OK, ConfigError
from pipeline.reporting.journal import Journal, libraries_in

EXAMPLES = """\
examples:
  %(prog)s --feed harbours.yaml --out s3://bucket/results               one tick, as cron has it
  %(prog)s --feed harbours.yaml --out results --dry-run                 what would be done, and why the rest is not
  %(prog)s --feed harbours.yaml --out results --max-scenes 500 --max-minutes 50
  %(prog)s --out results --status                                       counts, lag, the oldest failure, what is next
  %(prog)s --feed harbours.yaml --out results --retry poison            what was given up is tried again
  %(prog)s --out results --prune --older-than 30 --dry-run              results that would be removed

FEED.yaml says where scenes arrive, which are wanted, and how they are detected:
  name: harbours
  source: {kind: folder, address: s3://bucket/scenes}
  filter: {since: 2026-01-01, cloud_cover: 20}
  run:    {weights: builtin:ships-s2, detector: {score_threshold: 0.3}}

A tick may be killed anywhere, and two at once do no harm: OUT/_ledger knows what became of every scene.

exit codes: 0 the tick did what it could (scenes that failed stand in the ledger: --status names them),
            2 configuration, 4 model, 5 storage, 6 cluster: nothing more was begun, the next tick goes on"""


def parser(prog: str = "ingest_scenes.py") -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog=prog, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
        description="Detect the scenes of a feed that are new or have changed, once; cron or a scheduler repeats it.",
    )  # fmt: skip
    add = made.add_argument
    add("--feed", metavar="FEED.yaml", help="where scenes arrive; a local file or any address")
    add(
        "--out",
        metavar="URI",
        help="folder for the results, the ledger and the catalogue: local, s3://, gs:// or az://",
    )
    add("--dry-run", action="store_true", help="say what would be done, and why the rest is not; change nothing")
    add("--status", action="store_true", help="print what the ledger says, and stop")
    add("--max-scenes", type=int, metavar="N", help="begin at most so many scenes (default: all)")
    add("--max-minutes", type=float, metavar="M", help="begin none later than this; those begun are finished")
    add("--backfill-share", type=float, default=0.2, metavar="S",
        help="share of the scenes that is done oldest first, the rest newest first (default: 0.2)")  # fmt: skip
    add(
        "--retry", choices=("poison", "failed", "invalid"), help="forget what went wrong with these, and try them again"
    )
    add("--prune", action="store_true", help="remove results of scenes that are withdrawn or superseded, and stop")
    add("--keep-versions", type=int, default=1, metavar="N",
        help="with --prune: results that stay of a scene that was reprocessed (default: 1)")  # fmt: skip
    add("--older-than", type=float, default=0.0, metavar="DAYS",
        help="with --prune: only what was withdrawn so many days ago (default: 0)")  # fmt: skip
    add("--lease-s", type=float, default=60.0, metavar="S",
        help="a tick without a sign of life for so long has died; others do its scenes (default: 60)")  # fmt: skip
    add("--log", choices=("text", "json"), default="text", help="lines for people, or one JSON object a line")
    add("--version", action="version", version=f"kestrel {__version__}")
    return made


def main(argv: Sequence[str] | None = None, prog: str = "ingest_scenes.py") -> int:
    """One tick; return the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    journal = Journal(form="json" if wants_json(given) else "text")

    def late(exit_code: int) -> None:
        interrupted(journal, exit_code)
        journal.emit("ingest_ended", f"exit code {exit_code}", exit_code=exit_code)

    with Stops(late) as stops:
        try:
            with printing():
                arguments = parser(prog).parse_args(given)
                check(arguments)
                with libraries_in(journal):
                    exit_code = work(arguments, journal)
        except SystemExit as error:  # argparse has said what it had to say
            return int(error.code or 0)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - raised again unless known
            exit_code = ending(error, journal, stops)
        if exit_code != EXIT_UNREAD:
            journal.emit("ingest_ended", f"exit code {exit_code}", exit_code=exit_code)
        return exit_code


def check(arguments: argparse.Namespace) -> None:
    """Raise ConfigError for flags that say too little, or contradict each other."""
    if not arguments.out:
        raise ConfigError("no place for the results given: add --out URI")
    if not arguments.feed and not (arguments.status or arguments.prune):
        raise ConfigError("no feed given: add --feed FEED.yaml; --help shows one")
    if arguments.status and arguments.prune:
        raise ConfigError("give --status or --prune, not both")
    for name in ("max_scenes", "max_minutes", "lease_s", "keep_versions"):
        value = getattr(arguments, name)
        if value is not None and not value > 0:
            raise ConfigError(f"--{name.replace('_', '-')} must be more than 0")
    if not 0 <= arguments.backfill_share <= 1:
        raise ConfigError("--backfill-share must be from 0 to 1")
    if not arguments.older_than >= 0:
        raise ConfigError("--older-than must be a number of days, 0 or more")


def work(arguments: argparse.Namespace, journal: Journal) -> int:
    """What the flags ask for."""
    if arguments.status:
        return show_status(arguments.out, journal)
    if arguments.prune:
        return prune_results(arguments, journal)
    from pipeline.cluster.submission import refuse_relative_paths
    from pipeline.command_line import run_from
    from pipeline.ingest.feed_file import read_feed

    feed = read_feed(arguments.feed)
    base = run_from({**feed.run, "out": arguments.out, "log": arguments.log})
    refuse_relative_paths(base)
    if arguments.dry_run:
        return dry_run(feed, base.out, journal)
    return tick(arguments, feed, base, journal)


def tick(arguments: argparse.Namespace, feed: Any, base: RunConfig, journal: Journal) -> int:
    """Detect what is new; the exit code."""
    from pipeline.ingest.feeds import scenes
    from pipeline.ingest.filters import why_skipped
    from pipeline.ingest.status import as_text, status_of
    from pipeline.ingest.tick import Bounds, Tick, Tools
    from pipeline.storage.folders import check_writable

    check_writable(base.out)
    bounds = Bounds(
        max_scenes=arguments.max_scenes, max_minutes=arguments.max_minutes, backfill_share=arguments.backfill_share,
        lease_s=arguments.lease_s, in_flight=scenes_at_once(base),
    )  # fmt: skip
    journal.emit("ingest_started", version=__version__, feed=feed.name, out=base.out)
    with Workers(base, journal) as workers:
        tools = Tools(unwanted=lambda scene: why_skipped(scene, feed.filter), detect=workers.detect,
                      collect=partial(collect, base.out, journal))  # fmt: skip
        one = Tick(feed, base, bounds, tools, journal)
        report = one.run(scenes(feed, None), retry=arguments.retry)
        status = status_of(one.ledger)
        workers.tell(status.counts, status.lag_s, status.oldest_failure_s)
    done = ", ".join(f"{count} {state}" for state, count in sorted(report.ended.items())) or "nothing to do"
    left = f"; {report.not_reached} left for the next tick" if report.not_reached else ""
    journal.emit("ingest_status", f"this tick: {done}{left}\n{as_text(status)}", counts=status.counts,
                 ended=dict(report.ended), begun=report.begun, lost=report.lost, not_reached=report.not_reached,
                 lag_s=status.lag_s, oldest_failure_s=status.oldest_failure_s)  # fmt: skip
    if report.error is not None:
        raise report.error
    return EXIT_OK


def scenes_at_once(base: RunConfig) -> int:
    """How many scenes may be in flight."""
    return base.cluster.scenes if isinstance(base.cluster.scenes, int) else 2


class Workers(contextlib.ExitStack):
    """The executor that the feed asks for, started by the first scene: a tick without work starts no cluster."""

    def __init__(self, base: RunConfig, journal: Journal) -> None:
        super().__init__()
        self._base, self._journal = base, journal
        self._ready: tuple[Any, Any] | None = None

    def detect(self, tasks: Iterable[Any], in_flight: int, ended: Callable[[Any], None]) -> None:
        """See :data:`pipeline.ingest.tick.Detect`."""
        from pipeline.runs.run import detect_scenes

        card, executor = self._started()
        detect_scenes(tasks, card, executor, self._journal, in_flight=in_flight, ended=ended)

    def tell(self, counts: dict[str, int], lag_s: float, oldest_failure_s: float) -> None:
        """Show the numbers of the ledger where those of the workers are shown."""
        if self._ready is not None:
            self._ready[1].metrics.ingest(counts, lag_s, oldest_failure_s)

    def _started(self) -> tuple[Any, Any]:
        if self._ready is None:
            from pipeline.detectors.weights import load_as_planned, model_card
            from pipeline.engine.local import LocalExecutor
            from pipeline.planning.threshold import score_threshold

            config = self._base
            how = {"device": config.cluster.device, "precision": config.detector.dtype,
                   "runtime": config.detector.runtime}  # fmt: skip
            card = model_card(config.weights, **how)
            score_threshold(card, config.detector)
            loader = partial(load_as_planned, card.runtime, config.weights, how, config.cluster.threads)
            if config.executor == "local":
                executor: Any = LocalExecutor(loader, max_attempts=config.cluster.max_attempts)
            else:
                from pipeline.cluster.executor import RayExecutor  # late: Ray is needed for nothing else

                executor = self.enter_context(RayExecutor(loader, config.cluster, self._journal))
            self._ready = card, executor
        return self._ready


def collect(out_uri: str, journal: Journal, scene_ids: Collection[str] | None) -> None:
    """Bring the catalogue up to date; what fails there is said, and the next tick makes up for it."""


def dry_run(feed: Any, out_uri: str, journal: Journal) -> int:
    """Print what a tick would do."""
    from pipeline.ingest.dry_run import lines
    from pipeline.ingest.feeds import scenes
    from pipeline.ingest.filters import why_skipped
    from pipeline.ingest.ledger import Ledger
    from pipeline.ingest.survey import survey

    ledger = Ledger(out_uri, journal.say)
    ledger.load()
    found = survey(feed.name, scenes(feed, None), lambda scene: why_skipped(scene, feed.filter), ledger)
    for line in lines(found):
        print(line)
    if found.error is not None:
        raise found.error
    return EXIT_OK


def show_status(out_uri: str, journal: Journal) -> int:
    """Print what the ledger says."""
    from pipeline.ingest.ledger import Ledger
    from pipeline.ingest.status import as_text, status_of

    ledger = Ledger(out_uri, journal.say)
    ledger.load()
    print(as_text(status_of(ledger)))
    return EXIT_OK


def prune_results(arguments: argparse.Namespace, journal: Journal) -> int:
    """List what counts no more, and remove it unless this is a dry run."""
    from pipeline.ingest.ledger import Ledger
    from pipeline.ingest.prune import Pruning, prunable, prune

    ledger = Ledger(arguments.out, journal.say)
    ledger.load()
    found = list(prunable(ledger, Pruning(keep_versions=arguments.keep_versions, older_than_days=arguments.older_than)))
    for record in found:
        print(
            f"{'would go' if arguments.dry_run else 'goes'}  {record.entry.scene_id}: {record.entry.sentence}",
            flush=True,
        )
    print(f"{len(found)} results")
    if found and not arguments.dry_run:
        gone = prune(arguments.out, ledger, found)
        ledger.compact()
        collect(arguments.out, journal, gone)
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
