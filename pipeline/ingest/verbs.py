"""What ``kestrel ingest`` does: a tick, or saying what one would do, what the ledger says, and what may go."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Collection
from dataclasses import asdict
from functools import partial

from pipeline import __version__
from pipeline.catalogue.collect import collect
from pipeline.catalogue.results import scene_names
from pipeline.cluster.submission import refuse_relative_paths
from pipeline.command_line import run_from
from pipeline.config import RunConfig
from pipeline.errors import EXIT_OK, ConfigError
from pipeline.ingest.dry_run import lines
from pipeline.ingest.feed_file import FeedConfig, read_feed
from pipeline.ingest.feeds import scenes
from pipeline.ingest.filters import why_skipped
from pipeline.ingest.ledger import Ledger
from pipeline.ingest.prune import Pruning, prunable, prune
from pipeline.ingest.status import as_text, status_of
from pipeline.ingest.survey import survey
from pipeline.ingest.tick import Bounds, Tick, Tools
from pipeline.ingest.withdrawing import tell_withdrawn
from pipeline.ingest.workers import Workers
from pipeline.names import shown
from pipeline.reporting.journal import Journal
from pipeline.storage.folders import check_writable
from pipeline.storage.paths import local_path

Show = Callable[[str], None]
"""Where a person reads it: a line, or several."""


def ingest(arguments: argparse.Namespace, journal: Journal, show: Show) -> int:
    """What the flags ask for; ``show`` is told what a person asked to see. The exit code; raises PipelineError."""
    if arguments.status:
        return show_status(arguments.out, journal, show, as_json=arguments.log == "json")
    if arguments.prune:
        return prune_results(arguments, journal, show)
    feed = read_feed(arguments.feed)
    # No tick comes back to a scene that is published, so nobody would remove its parts when they have grown old.
    base = run_from({"work.keep": "never", **feed.run, "out": arguments.out, "log": arguments.log})
    refuse_relative_paths(base, feed.source.address)
    refuse_own_results(feed, base.out)
    if arguments.dry_run:
        return show_dry_run(feed, base.out, journal, show)
    return run_tick(arguments, feed, base, journal)


def run_tick(arguments: argparse.Namespace, feed: FeedConfig, base: RunConfig, journal: Journal) -> int:
    """Detect what is new; the exit code."""
    check_writable(base.out)
    at_once = base.cluster.scenes
    bounds = Bounds(
        max_scenes=arguments.max_scenes, max_minutes=arguments.max_minutes, backfill_share=arguments.backfill_share,
        lease_s=arguments.lease_s, in_flight=None if at_once == "auto" else at_once,
    )  # fmt: skip
    journal.emit("ingest_started", version=__version__, feed=feed.name, out=base.out)
    place = local_path(feed.source.address)
    with Workers(base, journal, [place.absolute()] if place is not None and place.exists() else []) as workers:
        tools = Tools(unwanted=lambda scene: why_skipped(scene, feed.filter), detect=workers.detect,
                      collect=partial(tell_catalogue, base.out, journal),
                      note=lambda ledger: tell_withdrawn(base.out, ledger, journal.say))  # fmt: skip
        one = Tick(feed, base, bounds, tools, journal)
        report = one.run(partial(scenes, feed), retry=arguments.retry)
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


def refuse_own_results(feed: FeedConfig, out_uri: str) -> None:
    """Raise ConfigError where results would be taken for scenes that arrive."""
    source, out = (
        os.path.normpath(one) if (path := local_path(one)) is None else os.path.realpath(path)
        for one in (feed.source.address, out_uri)
    )
    if feed.source.kind == "folder" and f"{out}/".startswith(f"{source}/"):
        raise ConfigError(
            f"--out {shown(out_uri)} lies in {shown(feed.source.address)}, where scenes arrive: pictures of results "
            "would be taken for scenes; choose another --out"
        )


def tell_catalogue(out_uri: str, journal: Journal, scene_ids: Collection[str] | None) -> None:
    """Bring the catalogue up to date with these scenes, or with all there are."""
    if scene_ids is None and not scene_names(out_uri):
        return  # a tick that died before it had published anything
    done = collect(out_uri, journal, scene_ids)
    journal.emit("collected", address=done.address, scenes=done.scenes, added=done.added, replaced=done.replaced,
                 removed=done.removed)  # fmt: skip


def show_dry_run(feed: FeedConfig, out_uri: str, journal: Journal, show: Show) -> int:
    """Print what a tick would do."""
    ledger = Ledger(out_uri, journal.say)
    ledger.load()
    found = survey(feed.name, scenes(feed, None), lambda scene: why_skipped(scene, feed.filter), ledger)
    for line in lines(found):
        show(line)
    if found.error is not None:
        raise found.error
    return EXIT_OK


def show_status(out_uri: str, journal: Journal, show: Show, *, as_json: bool = False) -> int:
    """Print what the ledger says, for people or as one JSON object."""
    ledger = Ledger(out_uri, journal.say)
    ledger.load()
    status = status_of(ledger)
    if as_json:
        show(json.dumps(asdict(status)))
        return EXIT_OK
    if not any(status.counts.values()) and not status.damaged:
        show(f"there is nothing in the ledger of {shown(out_uri)}; no tick has been here")
    show(as_text(status))
    return EXIT_OK


def prune_results(arguments: argparse.Namespace, journal: Journal, show: Show) -> int:
    """List what counts no more, and remove it unless this is a dry run."""
    ledger = Ledger(arguments.out, journal.say)
    ledger.load()
    found = list(prunable(ledger, Pruning(keep_versions=arguments.keep_versions, older_than_days=arguments.older_than)))
    for record in found:
        show(f"{'would go' if arguments.dry_run else 'goes'}  {record.entry.scene_id}: {record.entry.sentence}")
    show(f"{len(found)} results")
    if found and not arguments.dry_run:
        gone = prune(arguments.out, ledger, found, journal.say)
        ledger.compact()
        tell_catalogue(arguments.out, journal, {*gone, *tell_withdrawn(arguments.out, ledger, journal.say)})
    return EXIT_OK
