"""Several scenes at once on a real Ray cluster: the same bytes as one after another, and faults stay at home."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.reporting.journal import Journal
from pipeline.runs.report import RunReport
from tests.support.several import BROKEN, DAMAGED, SAME_BYTES, SCENES, config_of, run, write_scenes

pytestmark = pytest.mark.ray

GOOD = tuple(name for name in SCENES if name != BROKEN)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return write_scenes(tmp_path_factory.mktemp("several") / "scenes")


def published(out: Path) -> dict[str, bytes]:
    return {f"{name}/{file}": (out / name / file).read_bytes() for name in GOOD for file in SAME_BYTES}


def record(out: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / name / "run.json").read_text())
    return content


@pytest.fixture(scope="module")
def alone(scenes: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory, ray_ends: None) -> tuple[Path, RunReport]:
    """The results and the report of the scenes done one after another."""
    from tests.support.clusters import join_cluster

    join_cluster()
    out = tmp_path_factory.mktemp("alone")
    report = run(config_of(scenes, out, scenes=1), journal=Journal(lambda _: None))
    assert [scene.status for scene in report.scenes].count("PUBLISHED") == 4
    return out, report


def ends(report: RunReport) -> list[tuple[object, ...]]:
    return [
        (one.scene_id, one.status, one.exit_code, one.detections, one.tiles_done, one.tiles_failed, one.run_id)
        for one in report.scenes
    ]


def test_scenes_at_once_are_the_scenes_alone(
    scenes: tuple[str, ...], alone: tuple[Path, RunReport], ray_cluster: None, tmp_path: Path
) -> None:
    """Bytes, reports in input order, exit code, counts: what is broken or damaged is told of the scene that is."""
    lines: list[str] = []
    report = run(config_of(scenes, tmp_path, scenes=4), delay_s=0.05, journal=Journal(lines.append, "json"))
    assert published(tmp_path) == published(alone[0])
    assert [one.scene_id for one in report.scenes] == list(SCENES)
    assert report.exit_code == alone[1].exit_code == 3
    assert ends(report) == ends(alone[1])
    by_name = {one.scene_id: one for one in report.scenes}
    assert (by_name[BROKEN].status, by_name[DAMAGED].status) == ("INVALID", "PARTIAL")
    assert (by_name[DAMAGED].tiles_failed, record(tmp_path, DAMAGED)["metrics"]["tiles_failed"]) == (1, 1)
    for name in GOOD:
        counts, others = record(tmp_path, name)["metrics"], record(alone[0], name)["metrics"]
        for count in ("tiles_done", "tiles_failed", "bytes_read", "blocks_bisected"):
            assert counts[count] == others[count], (name, count)
    events = [json.loads(line) for line in lines]
    first = next(event["scene_id"] for event in events if event["event"] == "scene_ended" and event["exit_code"] == 0)
    planned = [event["scene_id"] for event in events if event["event"] in ("scene_planned", "scene_ended")]
    assert len(set(planned[: planned.index(first, planned.index(first) + 1)]) - {BROKEN}) > 1, "nothing was at once"
    summary = json.loads(next((tmp_path / "_runs").iterdir()).read_text())
    assert [one["scene_id"] for one in summary["scenes"]] == list(SCENES)


def test_a_driver_that_is_killed_loses_no_block_of_any_scene(
    scenes: tuple[str, ...], alone: tuple[Path, RunReport], ray_cluster: None, tmp_path: Path
) -> None:
    """SIGKILL with four scenes in flight; the next run goes on from the parts of each."""
    import ray

    address = ray.get_runtime_context().gcs_address
    command = [sys.executable, "-m", "tests.support.several", str(Path(scenes[0]).parent), str(tmp_path), address]
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}) as driver:
        until = time.monotonic() + 120
        while len({path.parent.parent.name for path in tmp_path.glob("*/_work/*.parquet")}) < 2:
            assert driver.poll() is None, "it was to be killed before it ended"
            assert time.monotonic() < until
            time.sleep(0.01)
        driver.kill()
    report = run(config_of(scenes, tmp_path, scenes=4), journal=Journal(lambda _: None))
    assert report.exit_code == 3
    assert published(tmp_path) == published(alone[0])
    before = {name: record(tmp_path, name)["tiles"]["done_before"] for name in GOOD}
    assert sum(before.values()) >= 4, before
    assert sorted(path.name for path in tmp_path.glob(".*")) == [], "leases and staging"


def test_what_ends_the_work_ends_it_for_every_scene(scenes: tuple[str, ...], ray_cluster: None, tmp_path: Path) -> None:
    """No room for a worker: one sentence, not one a scene, and every lease is given back."""
    from pipeline.errors import ClusterError

    config = config_of(scenes, tmp_path, scenes=4, threads=64, wait_s=2.0)
    with pytest.raises(ClusterError, match="no room for a worker"):
        run(config, journal=Journal(lambda _: None))
    assert not list(tmp_path.glob(".*"))
    (summary,) = (json.loads(path.read_text()) for path in (tmp_path / "_runs").iterdir())
    assert set(summary["counts"]) <= {"NOT_REACHED", "INVALID"}
