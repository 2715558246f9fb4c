"""The command line of ingestion: flags, what they mean, and what is wrong with them. Imports nothing slow."""

from __future__ import annotations

import argparse

from pipeline import __version__
from pipeline.errors import ConfigError

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
