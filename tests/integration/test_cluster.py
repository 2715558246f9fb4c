"""The engine on a real local Ray cluster with real faults: whatever dies, every tile is accounted for.

Everything is shown with the embedded detector, the real network; that order leaves no trace also with the oracle, whose
boxes at tile edges are the hardest to merge.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.config import ClusterConfig, DetectorConfig, RefineConfig, RunConfig, TilingConfig
from pipeline.detectors.protocol import Detector
from pipeline.detectors.weights import load, model_card
from pipeline.engine.executor import Executor
from pipeline.engine.ledger import account
from pipeline.engine.local import LocalExecutor
from pipeline.errors import ClusterError, ModelError
from pipeline.planning.plan import ScenePlan, WorkOrder, plan_scene, screen
from pipeline.reporting.journal import Journal
from pipeline.runs.context import SILENT
from pipeline.runs.report import RunReport
from pipeline.runs.run import detect
from pipeline.types import ModelCard
from tests.support.clusters import have_all_up
from tests.support.faults import DiesOnce, Faulty, Jittery, Poisoned, Refuses, Slow, SmallMemory, dies_while_loading
from tests.support.harbours import HarbourCase, small_harbour

pytestmark = pytest.mark.ray

BUILTIN = "builtin:ships-s2"
SAME_BYTES = ("detections.parquet", "detections.geojson", "detections.gpkg", "failures.parquet")
TILING = TilingConfig(tile_px=224, halo_px=48, block_mpx=0.2)
SMALL_TILING = TilingConfig(tile_px=112, halo_px=48, block_mpx=0.05, gsd="native")
"""For the oracle, which costs nothing: many tiles and blocks, and cut boxes everywhere."""


@dataclass(frozen=True)
class Case:
    """One scene and one detector."""

    config: RunConfig
    card: ModelCard
    load: Callable[[], Detector]

    def screened(self) -> tuple[ScenePlan, WorkOrder]:
        return screen(plan_scene(self.config.scene[0], self.config, self.card, None), self.config, self.card)

    def run(self, executor: Executor, out: Path) -> RunReport:
        return detect(replace(self.config, out=str(out)), self.card, executor, SILENT)


@pytest.fixture(scope="module")
def harbour(tmp_path_factory: pytest.TempPathFactory) -> HarbourCase:
    return small_harbour(tmp_path_factory.mktemp("harbour") / "harbour.tif")


@pytest.fixture(params=["embedded"])
def case(request: pytest.FixtureRequest, harbour: HarbourCase) -> Case:
    config = RunConfig(scene=(str(harbour.path),), out="unused", tiling=TILING, detector=DetectorConfig(batch=2))
    if request.param == "oracle":
        return Case(replace(config, tiling=SMALL_TILING), harbour.card, harbour.load_oracle)
    if request.param == "second look":
        config = replace(
            config, tiling=replace(TILING, global_factor=2.0, tile_px=384),
            refine=RefineConfig(selector="ours", budget=0.5, candidate_score=0.02),
        )  # fmt: skip
    return Case(config, model_card(BUILTIN), partial(load, BUILTIN, "cpu", "float32", 1))


def pool(load_detector: Callable[[], Detector], workers: int = 2, **settings: float) -> Executor:
    from pipeline.cluster.executor import RayExecutor

    patient = {"start_s": 240.0} | settings  # the machine may be busy with other tests
    config = ClusterConfig(workers=workers, device="cpu", **patient)  # type: ignore[arg-type]
    return RayExecutor(load_detector, config, SILENT)


def published(out: Path) -> dict[str, bytes]:
    (folder,) = [path for path in out.iterdir() if path.is_dir()]
    return {name: (folder / name).read_bytes() for name in SAME_BYTES}


@pytest.fixture
def expected(case: Case, tmp_path: Path) -> dict[str, bytes]:
    """What one process, without Ray, publishes."""
    report = case.run(LocalExecutor(case.load), tmp_path / "local")
    assert report.exit_code == 0
    assert report.scenes[0].detections > 0, "a comparison of empty results proves nothing"
    return published(tmp_path / "local")


@pytest.mark.parametrize("case", ["oracle", "embedded", "second look"], indirect=True)
def test_same_bytes_from_one_process_one_actor_and_three_in_shuffled_order(
    case: Case, expected: dict[str, bytes], ray_cluster: None, tmp_path: Path
) -> None:
    """Who did the work, and in which order it ended, leaves no trace in the results."""
    with pool(case.load, workers=1) as executor:
        case.run(executor, tmp_path / "one")
    plan, order = case.screened()
    with pool(Faulty(case.load, Jittery), workers=3) as executor:
        have_all_up(executor, 3, order, plan.blocks)
        case.run(executor, tmp_path / "three")
        assert executor.record()["workers"] == 3
    assert published(tmp_path / "one") == expected
    assert published(tmp_path / "three") == expected


@pytest.mark.parametrize("case", ["embedded", "second look"], indirect=True)
def test_killed_actor_is_replaced_and_its_block_redone(
    case: Case, expected: dict[str, bytes], ray_cluster: None, tmp_path: Path
) -> None:
    faulty = Faulty(case.load, DiesOnce, (("marker", tmp_path / "died"),))
    with pool(faulty) as executor:
        report = case.run(executor, tmp_path / "killed")
        record = executor.record()
    assert report.exit_code == 0
    assert record["worker_deaths"] == 1
    assert record["blocks_recomputed"] == 1
    assert published(tmp_path / "killed") == expected


@pytest.mark.parametrize("case", ["oracle"], indirect=True)
def test_tile_that_always_kills_its_actor_is_found_by_bisection(case: Case, ray_cluster: None, tmp_path: Path) -> None:
    """The poison tile ends as Failed, every other tile as Done."""
    plan, order = case.screened()
    poison = max(plan.blocks, key=lambda block: len(block.tiles)).tiles[1]
    with pool(Faulty(case.load, Poisoned, (("window", poison.window),))) as executor:
        results = account(plan.tiles, executor.map(order, plan.blocks))
    assert [failed.tile_id for failed in results.failures] == [poison.tile_id]
    assert results.tiles_done == len(plan.tiles) - 1
    assert "died" in results.failures[0].reason


@pytest.mark.parametrize("case", ["oracle"], indirect=True)
def test_over_the_allowed_failures_only_the_holes_are_published(case: Case, ray_cluster: None, tmp_path: Path) -> None:
    tile = case.screened()[0].tiles[3]
    with pool(Faulty(case.load, Refuses, (("window", tile.window),))) as executor:
        strict = case.run(executor, tmp_path / "strict")
        lenient_case = replace(
            case, config=replace(case.config, output=replace(case.config.output, max_failed_tiles=1))
        )
        lenient = lenient_case.run(executor, tmp_path / "lenient")
    assert (strict.exit_code, strict.scenes[0].status) == (7, "FAILED")
    assert (lenient.exit_code, lenient.scenes[0].status) == (0, "PARTIAL")
    folder = Path(str(strict.scenes[0].folder))
    assert sorted(path.name for path in folder.iterdir()) == ["_work", "failures.parquet", "run.json"], "no manifest"
    failures = pq.read_table(Path(str(lenient.scenes[0].folder)) / "failures.parquet").to_pylist()
    assert [(row["tile_id"], row["error"]) for row in failures] == [(tile.tile_id, "ModelError")]


def test_out_of_memory_halves_the_batch_and_says_so(case: Case, ray_cluster: None) -> None:
    plan, order = case.screened()
    with pool(Faulty(case.load, SmallMemory, (("most", 1),)), workers=1) as executor:
        results = account(plan.tiles, executor.map(order, plan.blocks))
    assert not results.failures
    assert any("batch halved to 1" in note for note in results.notes)


def test_weights_that_do_not_load_end_the_job_within_a_minute(ray_cluster: None, case: Case, tmp_path: Path) -> None:
    plan, order = case.screened()
    started = time.monotonic()
    missing = partial(load, str(tmp_path / "nothing"), "cpu", "float32", 1)
    with pytest.raises(ModelError) as caught, pool(missing) as executor:
        list(executor.map(order, plan.blocks))
    assert time.monotonic() - started < 60
    assert "\n" not in str(caught.value)


def test_actors_that_die_while_loading_end_the_job_within_a_minute(ray_cluster: None, case: Case) -> None:
    plan, order = case.screened()
    started = time.monotonic()
    with pytest.raises(ClusterError, match="died while loading"), pool(dies_while_loading) as executor:
        list(executor.map(order, plan.blocks))
    assert time.monotonic() - started < 60


def test_more_workers_than_room_is_said_and_does_not_hang(
    case: Case, expected: dict[str, bytes], ray_cluster: None, tmp_path: Path
) -> None:
    """Four logical CPUs, workers of three threads: one fits; the run goes on with it and says so."""
    from pipeline.cluster.executor import RayExecutor

    said: list[str] = []
    config = ClusterConfig(workers=5, threads=3, device="cpu", start_s=240.0)
    slow = Faulty(case.load, Slow, (("diary", tmp_path / "diary"), ("delay_s", 1.0)))
    with RayExecutor(slow, config, Journal(said.append)) as executor:
        report = case.run(executor, tmp_path / "crowded")
    assert report.exit_code == 0
    assert any("room for 1 of the" in line for line in said)


def test_no_room_at_all_ends_in_a_sentence(case: Case, ray_cluster: None) -> None:
    plan, order = case.screened()
    with (
        pytest.raises(ClusterError, match="no room for a worker"),
        pool(case.load, threads=64, wait_s=3.0) as executor,
    ):
        list(executor.map(order, plan.blocks))


@pytest.mark.parametrize("theirs", [False, True], ids=["its own cluster", "a cluster that was there"])
def test_a_pool_that_cannot_start_ends_the_cluster_it_started_and_no_other(
    theirs: bool, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody leaves what nobody entered: what was begun for the pool ends with the error, here of a missing GPU."""
    import ray

    from pipeline.cluster.executor import RayExecutor

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    ray.shutdown()
    if theirs:
        ray.init(address="local", num_cpus=1, include_dashboard=False, logging_level="ERROR")
    try:
        with (
            pytest.raises(ClusterError, match="the cluster has no GPU"),
            RayExecutor(case.load, ClusterConfig(device="cuda", workers=1), SILENT),
        ):
            pass
        assert ray.is_initialized() is theirs
    finally:
        ray.shutdown()


@pytest.mark.parametrize("case", ["oracle"], indirect=True)
def test_a_gpu_that_is_not_there_yet_is_waited_for(
    case: Case, expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster that grows has no GPU before anybody wants one: the workers wait, and a node comes for them."""
    import ray
    from ray.cluster_utils import Cluster

    from pipeline.cluster.executor import RayExecutor

    ray.shutdown()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 200_000_000})
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)  # as a submitted job has it

    wanted = threading.Event()

    def said(line: str) -> None:
        if "room for 0 of the 1 workers" in line:
            wanted.set()

    try:
        environment = {"env_vars": {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}}
        ray.init(log_to_driver=False, logging_level="ERROR", runtime_env=environment)
        config = ClusterConfig(device="cuda", workers=1, start_s=240.0, wait_s=240.0)
        with RayExecutor(case.load, config, Journal(said)) as executor, ThreadPoolExecutor(1) as thread:
            report = thread.submit(case.run, executor, tmp_path / "grown")
            assert wanted.wait(120.0)
            cluster.add_node(num_cpus=2, num_gpus=1, object_store_memory=200_000_000)  # in the main thread, Ray wants
            assert report.result().exit_code == 0
        assert published(tmp_path / "grown") == expected
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.mark.parametrize("case", ["oracle"], indirect=True)
def test_node_removed_while_blocks_are_in_flight_on_it(case: Case, expected: dict[str, bytes], tmp_path: Path) -> None:
    """Two nodes, one taken away mid-work: at least one block is recomputed, and the bytes are the same."""
    import ray
    from ray.cluster_utils import Cluster

    if ray.is_initialized():
        ray.shutdown()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 200_000_000})
    try:
        doomed = cluster.add_node(num_cpus=1, object_store_memory=200_000_000)
        cluster.wait_for_nodes()
        environment = {"env_vars": {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}}
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR", runtime_env=environment)
        diary = tmp_path / "diary"
        slow = Faulty(case.load, Slow, (("diary", diary), ("delay_s", 1.0)))
        with pool(slow, workers=2) as executor:
            remover = threading.Thread(target=remove_when_busy, args=(cluster, doomed, diary))
            remover.start()
            report = case.run(executor, tmp_path / "two-nodes")
            remover.join()
            record = executor.record()
        assert report.exit_code == 0
        assert record["blocks_recomputed"] >= 1
        assert published(tmp_path / "two-nodes") == expected
    finally:
        ray.shutdown()
        cluster.shutdown()


def remove_when_busy(cluster: object, node: object, diary: Path) -> None:
    """Wait until a detector on ``node`` has begun a look, then take the node away."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if diary.exists() and node.node_id in diary.read_text():  # type: ignore[attr-defined]
            cluster.remove_node(node, allow_graceful=False)  # type: ignore[attr-defined]
            return
        time.sleep(0.05)
