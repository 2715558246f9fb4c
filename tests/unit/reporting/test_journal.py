"""What a run says: sentences for people, JSON for machines, the same numbers everywhere, and no secrets anywhere."""

from __future__ import annotations

import json
import logging
import time
import warnings
from dataclasses import replace
from typing import Any

import pytest

from pipeline.cluster.watch import NAMED, Flight, Watch
from pipeline.reporting.journal import Journal, libraries_in
from pipeline.reporting.metrics import COUNTERS, Metrics
from pipeline.reporting.tile_failures import TOLD, TileFailures
from pipeline.types import BlockOutcome, Cost, Detections, Done, Failed, Frame

SECRET = "s3://key:secret@host/scene.tif?X-Amz-Signature=secret"


def outcome(failed: int, done: int = 0, **settings: Any) -> BlockOutcome:
    return BlockOutcome(
        block_id=7,
        done=tuple(Done(f"d{row}", Detections.empty(Frame.LATTICE)) for row in range(done)),
        failed=tuple(Failed(f"f{row}", "ModelError", f"NaN in {SECRET}", 2) for row in range(failed)),
        **settings,
    )


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_secret_is_ever_written(form: Any) -> None:
    lines: list[str] = []
    journal = Journal(lines.append, form)
    journal.say(f"reading {SECRET}")
    journal.emit("note", None, deep=[{"uri": SECRET}], uri=SECRET)
    TileFailures(journal, "harbour").tell(outcome(failed=1))
    assert len(lines) == (2 if form == "text" else 3), "people are spared what has no sentence"
    assert "secret" not in "".join(lines)
    assert "s3://host/scene.tif" in lines[0]


def test_a_json_line_is_one_line_that_any_reader_takes() -> None:
    lines: list[str] = []
    Journal(lines.append, "json").emit("note", "two\nlines", rate=float("nan"), left=float("inf"), seconds=1.23456)
    (line,) = lines
    assert "\n" not in line
    event = json.loads(line)
    assert (event["message"], event["rate"], event["left"], event["seconds"]) == ("two\nlines", None, None, 1.235)


def test_people_are_told_of_some_failures_and_machines_of_all() -> None:
    told: dict[str, list[str]] = {"text": [], "json": []}
    for form, lines in told.items():
        failures = TileFailures(Journal(lines.append, form), "harbour")  # type: ignore[arg-type]
        for _ in range(3):
            failures.tell(outcome(failed=10))
        failures.end()
    assert len(told["text"]) == TOLD + 1
    assert "and 10 more" in told["text"][-1]
    assert len(told["json"]) == 30
    event = json.loads(told["json"][0])
    assert {key: event[key] for key in ("event", "scene_id", "block_id", "tile_id", "error", "attempts")} == {
        "event": "tile_failed", "scene_id": "harbour", "block_id": 7, "tile_id": "f0", "error": "ModelError",
        "attempts": 2,
    }  # fmt: skip


def test_what_libraries_say_becomes_events_and_only_while_it_should() -> None:
    lines: list[str] = []
    handlers = list(logging.getLogger().handlers)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        with libraries_in(Journal(lines.append, "json")):
            logging.getLogger("rasterio").warning("odd file")
            warnings.warn("old habit", UserWarning, stacklevel=1)
    assert logging.getLogger().handlers == handlers
    first, second = (json.loads(line) for line in lines)
    assert (first["event"], first["logger"], first["message"]) == ("library", "rasterio", "odd file")
    assert "old habit" in second["message"]


def test_numbers_are_counted_for_the_scene_and_for_the_run() -> None:
    seen: dict[str, int] = {}

    class Shown:
        def count(self, name: str, amount: int) -> None:
            seen[name] = seen.get(name, 0) + amount

        def observe(self, stage: str, seconds: float) -> None: ...

        def blocks(self, phase: str, count: int) -> None: ...

        def scene(self, status: str) -> None: ...

    metrics = Metrics(Shown())
    metrics.block(outcome(failed=1, done=3, cost=Cost(read_s=0.5, detect_s=2.0, bytes_read=100)))
    metrics.begin_scene()
    metrics.block(outcome(failed=0, done=2, cost=Cost(read_s=1.0, detect_s=4.0, bytes_read=50)))
    metrics.blocks(todo=5)
    metrics.blocks(todo=2)
    record = metrics.scene.record()
    assert (record["tiles_done"], record["tiles_failed"], record["bytes_read"]) == (2, 0, 50)
    assert record["stage_seconds"]["detect"] == {"count": 1, "sum": 4.0, "most": 4.0}
    assert record["most_blocks"]["todo"] == 5
    assert metrics.run.counts == {**dict.fromkeys(COUNTERS, 0), **seen}
    assert (seen["tiles_done"], seen["bytes_read"]) == (5, 150)


def test_standing_still_is_said_again_and_again_and_not_while_blocks_finish() -> None:
    lines: list[str] = []
    metrics = Metrics()
    watch = Watch(0.2, Journal(lines.append), metrics)
    one = Flight(phase="looking", seconds=9.0, silent_s=8.0, tiles=4, first_tile="r0c0", node="10.0.0.2", pid=1)
    flights = [replace(one, block_id=row) for row in range(NAMED + 2)]
    for _ in range(3):
        time.sleep(0.1)
        watch.finished()
        watch.check(lambda: flights)
    assert lines == []
    for _ in range(2):
        time.sleep(0.21)
        watch.check(lambda: flights)
        watch.check(lambda: flights)
    assert len(lines) == metrics.run.counts["stuck"] == 2
    assert "block 0 (4 tiles from r0c0) looking on 10.0.0.2 pid 1 for 9 s, silent for 8 s; block 1" in lines[0]
    assert lines[0].endswith("; and 2 more")
