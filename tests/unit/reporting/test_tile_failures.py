"""Who is told of which failed tiles."""

from __future__ import annotations

import json

from pipeline.reporting.journal import Journal
from pipeline.reporting.tile_failures import TOLD, TileFailures
from tests.support.outcomes import outcome


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
