"""A job that stands still is noticed, and one that goes on is not."""

from __future__ import annotations

import time
from dataclasses import replace

from pipeline.cluster.watch import NAMED, Flight, Watch
from pipeline.reporting.journal import Journal
from pipeline.reporting.metrics import Metrics


def test_standing_still_is_said_again_and_again_and_not_while_blocks_finish() -> None:
    lines: list[str] = []
    metrics = Metrics()
    watch = Watch(0.2, Journal(lines.append), metrics)
    one = Flight(phase="looking", seconds=9.0, silent_s=8.0, tiles=4, first_tile="r0c0", node="10.0.0.2", pid=1)
    flights = [replace(one, scene_id="bay", block_id=row) for row in range(NAMED + 2)]
    for _ in range(3):
        time.sleep(0.1)
        watch.finished()
        watch.check(lambda: flights)
    assert lines == []
    for _ in range(2):
        time.sleep(0.21)
        watch.check(lambda: flights)
        watch.check(lambda: flights)
    assert len(lines) == metrics.numbers.counts["stuck"] == 2
    assert "block 0 of bay (4 tiles from r0c0) looking on 10.0.0.2 pid 1 for 9 s, silent for 8 s; block 1" in lines[0]
    assert lines[0].endswith("; and 2 more")
