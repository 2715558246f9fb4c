"""The same numbers for the scene, the run, and whoever exports them."""

from __future__ import annotations

from pipeline.reporting.metrics import COUNTERS, Metrics
from pipeline.types import Cost
from tests.support.outcomes import outcome


def test_numbers_are_counted_for_the_scene_and_for_the_run() -> None:
    seen: dict[str, int] = {}
    shown: list[int] = []

    class Shown:
        def count(self, name: str, amount: int) -> None:
            seen[name] = seen.get(name, 0) + amount

        def observe(self, stage: str, seconds: float) -> None: ...

        def blocks(self, phase: str, count: int) -> None:
            shown.append(count)

        def scene(self, status: str) -> None: ...

    metrics = Metrics(Shown())
    metrics.block(outcome(failed=1, done=3, cost=Cost(read_s=0.5, detect_s=2.0, bytes_read=100)))
    scene, other = metrics.scene(), metrics.scene()
    scene.block(outcome(failed=0, done=2, cost=Cost(read_s=1.0, detect_s=4.0, bytes_read=50)))
    other.count(tiles_done=1)
    scene.blocks(todo=5)
    scene.blocks(todo=2)
    metrics.blocks(todo=7)
    record = scene.numbers.record()
    assert (record["tiles_done"], record["tiles_failed"], record["bytes_read"]) == (2, 0, 50)
    assert record["stage_seconds"]["detect"] == {"count": 1, "sum": 4.0, "most": 4.0}
    assert record["most_blocks"]["todo"] == 5
    assert metrics.numbers.counts == {**dict.fromkeys(COUNTERS, 0), **seen}
    assert (seen["tiles_done"], seen["bytes_read"]) == (6, 150)
    assert shown == [7], "what a scene has in hand is no number of the run's"
