"""What the report of a scene makes of its claim, by what its result says."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.command_line import run_from
from pipeline.ingest.claims import Claims
from pipeline.ingest.decisions import Candidate, decide
from pipeline.ingest.entry import State
from pipeline.ingest.feed_file import feed_of
from pipeline.ingest.ledger import Ledger
from pipeline.ingest.scene_to_do import SceneToDo
from pipeline.reporting.journal import Journal
from pipeline.runs.report import SceneReport


def test_a_scene_that_kills_workers_twice_is_poison(tmp_path: Path) -> None:
    """Its tiles failed (exit 7), and the record of its result says that workers died."""
    said: list[str] = []
    feed = feed_of({"name": "feed", "source": {"kind": "folder", "address": str(tmp_path)}})
    scene = SceneToDo(key="feed/c/a", scene_id="a-1", uri=str(tmp_path / "a.tif"), hint="h")
    ledger = Ledger(str(tmp_path / "out"), said.append)
    ledger.load()
    result = tmp_path / "out" / "a-1"
    result.mkdir(parents=True)
    report = SceneReport(uri=scene.uri, scene_id="a-1", status="FAILED", exit_code=7, message="1 of 4 tiles failed",
                         folder=str(result))  # fmt: skip
    states = []
    for deaths in (0, 3, 3):
        (result / "run.json").write_text(json.dumps({"metrics": {"worker_deaths": deaths}}))
        base = run_from({"out": str(tmp_path / "out")})
        with Claims(ledger, "t", feed, base, Journal(said.append)) as claims:
            record = ledger.get(scene.key)
            one = Candidate(scene=scene, record=record, decision=decide(scene, record, ledger.now()))
            assert claims.claim(one, alone=False) is not None
            states.append(claims.ended(report))
    assert states == [State.FAILED, State.FAILED, State.POISON]
    assert said[-1] == "a-1: POISON: 1 of 4 tiles failed"
