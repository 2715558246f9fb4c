"""A job that was killed goes on where it was: same bytes, nothing done twice, nothing of other settings mixed in."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import ExportConfig, MergeConfig, RunConfig, TilingConfig
from pipeline.detectors.weights import model_card
from pipeline.planning.plan import WorkOrder
from pipeline.reporting.journal import Journal
from pipeline.runs.run import detect
from pipeline.types import Block, BlockOutcome
from tests.support.harbours import HarbourCase
from tests.support.jobs import BUILTIN, Job, Mortal, fresh, one_look


def test_a_job_that_died_goes_on_where_it_was(job: Job, tmp_path: Path) -> None:
    """After each death only blocks that were not done are done; in the end the bytes are those of one quiet run."""
    expected = fresh(job, tmp_path / "quiet")
    done: list[int] = []
    for _ in range(3):
        report, blocks = job.run(blocks=2)
        assert report is None
        assert not (job.folder / "manifest.json").exists(), "a reader must find no result yet"
        done += blocks
    report, blocks = job.run()
    done += blocks
    assert report is not None
    assert report.exit_code == 0
    assert len(done) == len(set(done)) == expected.record()["blocks"], "no block twice, none left out"
    assert job.bytes() == expected.bytes()
    tiles = job.record()["tiles"]
    assert 0 < tiles["done_before"] < tiles["done"] == expected.record()["tiles"]["done"]
    assert job.record()["second_look"] == expected.record()["second_look"]
    assert any("done before" in line for line in job.said)


@one_look
def test_the_same_run_again_does_nothing(job: Job) -> None:
    job.run()
    stamp = (job.folder / "run.json").stat().st_mtime_ns
    report, blocks = job.run()
    assert report is not None
    assert (report.exit_code, blocks) == (0, [])
    assert (job.folder / "run.json").stat().st_mtime_ns == stamp
    assert "nothing to do" in job.said[-1]
    report, blocks = job.run(force=True)
    assert len(blocks) == job.record()["blocks"]


@one_look
def test_the_record_tells_what_this_job_did_from_what_the_result_took(job: Job) -> None:
    """Seconds stand twice in a record and are the same; those of earlier jobs have a key of their own."""

    def seconds() -> tuple[dict[str, float], dict[str, float]]:
        record = job.record()
        of_metrics = {stage: record["metrics"]["stage_seconds"][stage]["sum"] for stage in ("read", "detect")}
        assert record["worker_seconds"] == of_metrics
        return record["worker_seconds"], record["worker_seconds_all_jobs"]

    assert job.run(blocks=2)[0] is None
    job.run()
    this, every = seconds()
    assert 0 < this["detect"] < every["detect"]
    job.run(start_from="merge", merge=MergeConfig(iou_threshold=0.1))
    assert seconds() == ({"read": 0.0, "detect": 0.0}, pytest.approx(every, abs=0.002))
    assert job.record()["peak_rss_mb"]["worker"] == 0, "no worker, no memory of one"
    job.run(force=True)
    this, every = seconds()
    assert this == pytest.approx(every, abs=0.002)
    assert job.record()["peak_rss_mb"]["worker"] > 0


@one_look
def test_a_result_that_lost_a_file_is_made_again_from_the_parts(job: Job) -> None:
    job.run()
    before = job.bytes()
    (job.folder / "detections.gpkg").unlink()
    _, blocks = job.run()
    assert blocks == []
    assert job.bytes() == before


LATER: list[tuple[str, Callable[[RunConfig], dict[str, Any]]]] = [
    ("score threshold", lambda c: {"detector": replace(c.detector, score_threshold=0.2)}),
    ("nms", lambda _: {"merge": MergeConfig(iou_threshold=0.1)}),
    ("preview", lambda c: {"output": replace(c.output, preview_px=0)}),
    ("cluster", lambda c: {"cluster": replace(c.cluster, workers=3)}),
]


@pytest.mark.parametrize(("name", "change"), LATER, ids=[name for name, _ in LATER])
def test_what_matters_after_detection_needs_no_detector(
    name: str, change: Callable[[RunConfig], dict[str, Any]], job: Job, tmp_path: Path
) -> None:
    """``--from merge`` with other thresholds gives the bytes that a whole new run with them gives."""
    job.run()
    changes = change(job.config)
    report, blocks = job.run(start_from="merge", **changes)
    assert report is not None
    assert (report.exit_code, blocks) == (0, [])
    assert job.bytes() == fresh(job, tmp_path / "fresh", **changes).bytes()


@one_look
@pytest.mark.parametrize(
    "changes",
    [
        {"tiling": TilingConfig(tile_px=240, halo_px=48, block_mpx=0.1)},
        {"detector": replace(RunConfig().detector, batch=2)},
        {"raster": replace(RunConfig().raster, stretch_high_percent=98.0)},
        {"cluster": replace(RunConfig().cluster, threads=2)},
        {"export": ExportConfig(attention=True)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_matters_before_detection_does_all_again(job: Job, changes: dict[str, Any]) -> None:
    job.run()
    refused, none = job.run(start_from="merge", **changes)
    assert refused is not None
    assert (refused.exit_code, none) == (2, [])
    _, blocks = job.run(**changes)
    assert len(blocks) == job.record()["blocks"]


@one_look
def test_a_scene_that_changed_is_another_scene(job: Job, harbour: HarbourCase, tmp_path: Path) -> None:
    scene = tmp_path / "harbour.tif"
    scene.write_bytes(harbour.path.read_bytes())
    job.run(scene=(str(scene),))
    later = time.time_ns() + 5_000_000_000
    os.utime(scene, ns=(later, later))
    _, blocks = job.run(scene=(str(scene),))
    assert len(blocks) == job.record()["blocks"]


@one_look
def test_attention_is_kept_too_and_parts_with_it_serve_without(job: Job, tmp_path: Path) -> None:
    job.run(blocks=3, export=ExportConfig(attention=True))
    _, blocks = job.run(export=ExportConfig(attention=True))
    assert len(blocks) == job.record()["blocks"] - 3
    expected = fresh(job, tmp_path / "quiet", export=ExportConfig(attention=True))
    assert (job.folder / "attention.tif").read_bytes() == (expected.folder / "attention.tif").read_bytes()
    _, blocks = job.run()
    assert blocks == []
    assert not (job.folder / "attention.tif").exists()


@one_look
def test_clean_removes_what_no_longer_serves(job: Job) -> None:
    job.run(merge=MergeConfig(iou_threshold=0.2))
    job.run(tiling=replace(job.config.tiling, tile_px=240))
    both = {path.name for path in (job.folder / "_work").iterdir()}
    job.run(clean=True)
    left = {path.name for path in (job.folder / "_work").iterdir()}
    assert left < both
    assert len(left) == job.record()["blocks"]
    _, blocks = job.run(merge=MergeConfig(iou_threshold=0.25))
    assert blocks == []


@one_look
@pytest.mark.parametrize("damage", ["truncated", "empty", "another block's metadata"])
def test_a_damaged_part_is_done_again(job: Job, damage: str) -> None:
    job.run()
    before = job.bytes()
    part, other = sorted((job.folder / "_work").iterdir())[:2]
    part.write_bytes(
        {"truncated": part.read_bytes()[:-9], "empty": b""}.get(damage, b"PAR1" + other.read_bytes()[4:99])
    )
    (job.folder / "detections.gpkg").unlink()
    _, blocks = job.run()
    assert len(blocks) == 1
    assert job.bytes() == before


@one_look
def test_scratch_that_cannot_be_removed_is_said_and_the_scene_stays_published(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of a job's temporary files turns busy, as on network file systems."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    busy: list[Path] = []

    @dataclass
    class Busy(Mortal):
        def map(self, order: WorkOrder, blocks: Sequence[Block], *more: Any) -> Iterator[BlockOutcome]:
            (folder,) = (tmp_path / "scratch").iterdir()
            command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
            if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
                pytest.skip("mounting a tmpfs is not permitted here: a busy folder cannot be made")
            busy.append(folder)
            yield from super().map(order, blocks, *more)

    try:
        report = detect(job.config, model_card(BUILTIN), Busy(), Journal(job.said.append))
    finally:
        for folder in busy:
            subprocess.run(["umount", str(folder)], check=True)
    assert (report.exit_code, report.scenes[0].status) == (0, "PUBLISHED")
    assert any(str(busy[0]) in line for line in job.said)
