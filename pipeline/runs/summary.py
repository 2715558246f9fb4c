"""A run of several scenes in one table for people, and one file for programs: ``OUT/_runs/<run>.json``.

No scene's folder is called so: the name of a scene never begins with an underscore.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pipeline
from pipeline.config import RunConfig
from pipeline.errors import redacted, tidying
from pipeline.names import public_uri
from pipeline.runs.context import Run
from pipeline.runs.report import RunReport, SceneReport
from pipeline.storage.files import write_file
from pipeline.storage.paths import join

RUNS = "_runs"
"""Folder beside those of the scenes."""


FIRST, TROUBLED = 20, 20
"""Lines of a long table: the first scenes, and the first of the others that were not published."""


def table(scenes: Sequence[SceneReport]) -> str:
    """One line a scene, in input order, under a line of names; figures on the right.

    Of many scenes the first ones, those that were not published, and how many ended how.
    """
    shown, left = list(scenes), 0
    if len(scenes) > FIRST + TROUBLED:
        troubled = [one for one in scenes[FIRST:] if one.status not in ("PUBLISHED", "SKIPPED")]
        shown = [*scenes[:FIRST], *troubled[:TROUBLED]]
        left = len(scenes) - len(shown)
    rows = [("scene", "status", "detections", "tiles", "seconds")]
    rows += [
        (one.scene_id, one.status, str(one.detections), str(one.tiles_done), f"{one.seconds:.1f}") for one in shown
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        words = [text.ljust(width) for text, width in zip(row[:2], widths[:2], strict=True)]
        figures = [text.rjust(width) for text, width in zip(row[2:], widths[2:], strict=True)]
        lines.append("  ".join([*words, *figures]))
    if left:
        counts = Counter(one.status for one in scenes)
        told = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        lines.append(f"and {left} more, in the file of the run; of all {len(scenes)}: {told}")
    return "\n".join(lines)


def summary(
    report: RunReport, config: RunConfig, started: datetime, ended: str, costs: Mapping[str, Any]
) -> dict[str, Any]:
    """What became of every scene, ready for JSON; no credentials. ``ended``: done, or what ended the run before that.

    ``costs``: what the run took altogether, of the workers and of the driver. Scenes that the run did not come to the
    end of have the status NOT_REACHED.
    """
    finished = datetime.now(UTC)
    reached = {one.uri: one for one in report.scenes}
    scenes = [
        {**asdict(reached[uri]), "uri": public_uri(uri), "message": redacted(reached[uri].message)}
        if uri in reached
        else {"uri": public_uri(uri), "status": "NOT_REACHED"}
        for uri in config.scene
    ]
    return {
        "kestrel": pipeline.__version__,
        "started": started.isoformat(timespec="seconds"),
        "finished": finished.isoformat(timespec="seconds"),
        "seconds": round((finished - started).total_seconds(), 3),
        "ended": ended,
        "exit_code": report.exit_code if ended == "done" else None,
        "counts": dict(Counter(str(one["status"]) for one in scenes)),
        "detections": sum(one.detections for one in report.scenes),
        "tiles_done": sum(one.tiles_done for one in report.scenes),
        "tiles_failed": sum(one.tiles_failed for one in report.scenes),
        "tiles_skipped": sum(one.tiles_skipped for one in report.scenes),
        "costs": dict(costs),
        "scenes": scenes,
    }


def write_summary(content: dict[str, Any], config: RunConfig, started: datetime) -> str:
    """The file, whole or not there; returns its address. Raises StorageError."""
    name = f"{started:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}.json"
    address = join(config.out, RUNS, name)
    write_file(address, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
    return address


def in_order(reports: Mapping[str, SceneReport], config: RunConfig) -> RunReport:
    """The reports by address, in input order, whichever scene ended first."""
    return RunReport(scenes=tuple(reports[uri] for uri in config.scene if uri in reports))


@contextlib.contextmanager
def summed_up(reports: Mapping[str, SceneReport], run: Run) -> Iterator[None]:
    """A run of several scenes ends with a table and a file, however it ends; ``reports``, by address, are of those that
    it came to the end of."""
    started, ended, cpu = datetime.now(UTC), "done", time.process_time()
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        ended = "interrupted" if isinstance(error, KeyboardInterrupt) else type(error).__name__
        raise
    finally:
        if len(run.config.scene) > 1:
            report = in_order(reports, run.config)
            numbers = run.executor.metrics.numbers.record()
            costs = {"driver_cpu_s": round(time.process_time() - cpu, 3), "work": run.executor.record(), **numbers}
            content = summary(report, run.config, started, ended, costs)
            facts = {key: value for key, value in content.items() if key not in ("scenes", "kestrel", "costs")}
            run.journal.emit("run_summary", table(report.scenes), **facts)
            with tidying(run.say, "the summary of the run could not be written"):
                run.say(f"summary of the run: {write_summary(content, run.config, started)}")
