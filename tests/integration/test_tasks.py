"""Pure functions as tasks of a real local Ray cluster: the merge in parts, order, deaths, errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import ClusterConfig, RunConfig, TilingConfig
from pipeline.engine.local import LocalExecutor
from pipeline.errors import ClusterError
from pipeline.geometry.nms import merge
from pipeline.geometry.partitions import merge_in_parts
from pipeline.planning.plan import plan_scene, screen
from pipeline.runs.context import SILENT
from pipeline.runs.run import detect
from pipeline.types import Detections, Frame
from tests.benchmarks.bench_nms import crowd
from tests.support.clusters import have_all_up
from tests.support.faults import always_dies, dies_once, refuses, slow_square
from tests.support.harbours import small_harbour

pytestmark = pytest.mark.ray


def test_a_run_that_merges_in_tasks_publishes_the_same_bytes(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the actors of the pool, as many as the cluster has CPUs, are still alive."""
    from pipeline.cluster.executor import RayExecutor

    harbour = small_harbour(tmp_path / "harbour.tif")
    tiling = TilingConfig(tile_px=112, halo_px=48, block_mpx=0.05, gsd="native")
    config = RunConfig(scene=(str(harbour.path),), out=str(tmp_path / "one"), tiling=tiling)
    detect(config, harbour.card, LocalExecutor(harbour.load_oracle), SILENT)
    monkeypatch.setattr("pipeline.runs.scene.PARTITION_BOXES", 20)
    cluster = ClusterConfig(workers=4, device="cpu")
    plan, order = screen(plan_scene(config.scene[0], config, harbour.card, None), config, harbour.card)
    with RayExecutor(harbour.load_oracle, cluster, SILENT) as executor:
        have_all_up(executor, 4, order, plan.blocks)
        detect(replace(config, out=str(tmp_path / "parts")), harbour.card, executor, SILENT)
        assert executor.record()["workers"] == 4
    for name in ("detections.parquet", "detections.gpkg", "detections.geojson"):
        (one,), (parts,) = (list(tmp_path.glob(f"{folder}/*/{name}")) for folder in ("one", "parts"))
        assert one.read_bytes() == parts.read_bytes()


def test_a_crowd_merged_in_tasks(ray_cluster: None) -> None:
    from pipeline.cluster.tasks import run_tasks

    boxes, scores, class_ids = crowd(30_000, 14.0)
    d = Detections(boxes, scores, class_ids, Frame.LATTICE, edge=np.arange(len(boxes)) % 9 == 0)
    expected = merge(d, iou_threshold=0.3)
    got = merge_in_parts(d, run_tasks, iou_threshold=0.3, partition_boxes=3_000)
    assert got.boxes.tobytes() == expected.boxes.tobytes()
    assert got.n_merged.tobytes() == expected.n_merged.tobytes()


def test_answers_come_in_order_and_parts_are_drawn_as_work_goes_on(ray_cluster: None) -> None:
    from pipeline.cluster.tasks import run_tasks

    drawn: list[int] = []

    def parts() -> object:
        for number in range(12):
            drawn.append(number)
            yield number

    answers = run_tasks(slow_square, parts())  # type: ignore[arg-type]
    assert next(answers) == 0
    assert len(drawn) <= 5  # four CPUs, and the one that waits
    assert list(answers) == [number * number for number in range(1, 12)]


def test_a_task_whose_process_dies_is_run_again(ray_cluster: None, tmp_path: Path) -> None:
    from pipeline.cluster.tasks import run_tasks

    assert list(run_tasks(dies_once, [tmp_path / "a", tmp_path / "b"])) == ["done", "done"]


def test_a_task_that_always_dies_is_a_cluster_error(ray_cluster: None, tmp_path: Path) -> None:
    from pipeline.cluster.tasks import run_tasks

    with pytest.raises(ClusterError, match="came to nothing"):
        list(run_tasks(always_dies, [tmp_path]))


def test_what_the_function_raises_is_raised_here(ray_cluster: None, tmp_path: Path) -> None:
    from pipeline.cluster.tasks import run_tasks

    with pytest.raises(ValueError, match="finite"):
        list(run_tasks(refuses, [tmp_path]))
