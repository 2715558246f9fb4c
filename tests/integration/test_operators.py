"""What operators see of a run on a real Ray cluster: hangs that end, jobs that stand still, counters, and the log."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs import detect_scene
from pipeline.config import ClusterConfig, RunConfig, TilingConfig
from pipeline.detectors.weights import load
from pipeline.engine.ledger import account
from pipeline.engine.local import LocalExecutor
from pipeline.planning.plan import ScenePlan, WorkOrder, plan_scene, screen
from pipeline.reporting.journal import Journal
from pipeline.runs.context import SILENT
from pipeline.runs.run import detect
from tests.conftest import ROOT
from tests.support.faults import DiesOnce, Faulty, Hangs, Refuses, Sleepy, TorchOutOfMemory
from tests.support.harbours import HarbourCase, small_harbour
from tests.support.servers import http_server

pytestmark = pytest.mark.ray

TILING = TilingConfig(tile_px=112, halo_px=48, block_mpx=0.05, gsd="native")
"""For the oracle, which costs nothing: 25 tiles in blocks of up to four."""


@pytest.fixture(scope="module")
def harbour(tmp_path_factory: pytest.TempPathFactory) -> HarbourCase:
    return small_harbour(tmp_path_factory.mktemp("harbour") / "harbour.tif")


@pytest.fixture
def config(harbour: HarbourCase, tmp_path: Path) -> RunConfig:
    return RunConfig(scene=(str(harbour.path),), out=str(tmp_path / "out"), tiling=TILING)


def screened_scene(config: RunConfig, harbour: HarbourCase) -> tuple[ScenePlan, WorkOrder]:
    return screen(plan_scene(config.scene[0], config, harbour.card, None), config, harbour.card)


def pool(load_detector: Any, journal: Journal = SILENT, **settings: Any) -> Any:
    from pipeline.cluster.executor import RayExecutor

    patient = {"workers": 2, "start_s": 240.0} | settings
    return RayExecutor(load_detector, ClusterConfig(device="cpu", **patient), journal)


def read_log(lines: list[str]) -> list[dict[str, Any]]:
    """Every line is one JSON object with a name and a time in UTC."""
    events = [json.loads(line) for line in lines]
    assert all(event["event"] and event["time"].endswith("+00:00") for event in events)
    return events


def named(events: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == name]


def test_tile_on_which_the_detector_hangs_is_found_and_the_job_says_where_it_stood(
    harbour: HarbourCase, config: RunConfig, ray_cluster: None
) -> None:
    """The tile fails for its deadline, its neighbours are done; meanwhile the log names block, node and process."""
    plan, order = screened_scene(replace(config, tiling=replace(TILING, block_mpx=0.03)), harbour)
    poison = max(plan.blocks, key=lambda block: len(block.tiles)).tiles[1]
    lines: list[str] = []
    faulty = Faulty(harbour.load_oracle, Hangs, (("window", poison.window),))
    with pool(faulty, Journal(lines.append, "json"), deadline_s=5.0, stuck_s=2.0, max_attempts=1) as executor:
        results = account(plan.tiles, executor.map(order, plan.blocks))
        record = executor.record()
    assert [(failed.tile_id, failed.error) for failed in results.failures] == [(poison.tile_id, "DeadlineExceeded")]
    assert results.tiles_done == len(plan.tiles) - 1
    assert record["deadlines_exceeded"] == record["worker_deaths"] >= 2
    events = read_log(lines)
    assert {event["error"] for event in named(events, "worker_died")} == {"DeadlineExceeded"}
    looking = [
        flight for event in named(events, "stuck") for flight in event["in_flight"] if flight["phase"] == "looking"
    ]
    assert looking
    of_poison = {block.block_id for block in plan.blocks if poison in block.tiles}
    assert {flight["block_id"] for flight in looking} == of_poison
    assert all(re.fullmatch(r"[\d.]+", flight["node"]) and flight["pid"] > 0 for flight in looking)
    assert max(flight["silent_s"] for flight in looking) >= 2.0
    assert record["stuck"] == len(named(events, "stuck"))


def test_slow_but_living_looks_are_not_ended(harbour: HarbourCase, config: RunConfig, ray_cluster: None) -> None:
    """A block may take much longer than the deadline, as long as each of its batches does not."""
    one = replace(config, tiling=replace(TILING, block_mpx=1.0), detector=replace(config.detector, batch=1))
    plan, order = screened_scene(one, harbour)
    assert len(plan.blocks) == 1
    with pool(Faulty(harbour.load_oracle, Sleepy, (("delay_s", 0.4),)), deadline_s=6.0) as executor:
        results = account(plan.tiles, executor.map(order, plan.blocks))
        assert executor.record()["deadlines_exceeded"] == 0
    assert not results.failures
    assert results.cost.detect_s > 6.0


def test_read_that_hangs_is_given_up(harbour: HarbourCase, config: RunConfig, ray_cluster: None) -> None:
    """A server that stops answering for one part of the file costs the tiles that need that part."""
    with http_server(harbour.path.parent) as traffic:
        remote = replace(config, scene=(f"{traffic.url}/harbour.tif",))
        plan, order = screened_scene(remote, harbour)
        size = harbour.path.stat().st_size
        traffic.silent_from = size - 20_000
        with pool(harbour.load_oracle, deadline_s=4.0, max_attempts=1, in_flight=4) as executor:
            results = account(plan.tiles, executor.map(order, plan.blocks))
            assert executor.record()["worker_deaths"] == 0
    assert {failed.error for failed in results.failures} == {"DeadlineExceeded"}
    assert 0 < len(results.failures) < len(plan.tiles) / 2
    assert "read" in results.failures[0].reason


@pytest.mark.slow
def test_torch_out_of_memory_on_the_cluster_halves_the_batch(
    harbour: HarbourCase, config: RunConfig, ray_cluster: None
) -> None:
    """The embedded network, with torch's own exception."""
    from functools import partial

    loader = partial(load, "builtin:ships-s2", "cpu", "float32", 1)
    plan, order = screened_scene(config, harbour)
    with pool(Faulty(loader, TorchOutOfMemory, (("most", 2),)), workers=1) as executor:
        results = account(plan.tiles, executor.map(order, plan.blocks))
    assert not results.failures
    assert [note.partition(" after")[0] for note in results.notes] == ["batch halved to 2"]


@pytest.fixture
def observed_cluster() -> Iterator[str]:
    """A cluster of its own whose metrics are served at a known address, renewed every second."""
    import ray

    if ray.is_initialized():
        ray.shutdown()
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=200_000_000,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
        _metrics_export_port=port,
        _system_config={"metrics_report_interval_ms": 1000},
    )
    yield f"http://127.0.0.1:{port}/metrics"
    ray.shutdown()


def scraped(address: str) -> dict[str, float]:
    """Our samples in Prometheus' text format: name with our own labels → value."""
    with urllib.request.urlopen(address, timeout=10) as answer:
        text = answer.read().decode()
    samples: dict[str, float] = {}
    for name, labels, value in re.findall(r"^ray_(kestrel_\w+)\{(.*)\} (\S+)$", text, re.MULTILINE):
        ours = re.findall(r'\b((?:stage|status|phase|le)="[^"]*")', labels)
        key = name + (f"{{{','.join(sorted(ours))}}}" if ours else "")
        samples[key] = samples.get(key, 0.0) + float(value)
    return samples


def test_prometheus_sees_the_numbers_of_the_run_record(
    harbour: HarbourCase, config: RunConfig, observed_cluster: str, tmp_path: Path
) -> None:
    """Scraped over HTTP from the node's own agent: every counter equals the one in run.json."""
    bad = screened_scene(config, harbour)[0].tiles[3]
    lenient = replace(config, output=replace(config.output, max_failed_tiles=1, preview_px=0))

    def faulty() -> Any:
        return DiesOnce(Refuses(harbour.load_oracle(), bad.window), tmp_path / "died")

    with pool(faulty, workers=1) as executor:
        report = detect(lenient, harbour.card, executor, SILENT)
        (scene,) = report.scenes
        assert (scene.status, scene.tiles_failed) == ("PARTIAL", 1)
        deadline = time.monotonic() + 60
        while (seen := scraped(observed_cluster)).get('kestrel_scenes_total{status="PARTIAL"}') != 1.0:
            assert time.monotonic() < deadline, seen
            time.sleep(0.5)
    record = json.loads((Path(str(scene.folder)) / "run.json").read_text())
    metrics = record["metrics"]
    assert metrics["tiles_done"] == record["tiles"]["done"] == scene.tiles_done > 0
    assert metrics["tiles_failed"] == metrics["worker_deaths"] == metrics["blocks_recomputed"] == 1
    assert metrics["bytes_read"] >= 360 * 360 * 3 * 2, "every pixel of three bands of uint16 at least once"
    for name in ("tiles_done", "tiles_failed", "bytes_read", "worker_deaths", "blocks_recomputed"):
        assert seen[f"kestrel_{name}_total"] == metrics[name], name
    for stage, timing in metrics["stage_seconds"].items():
        assert seen[f'kestrel_stage_seconds_count{{stage="{stage}"}}'] == timing["count"] > 0
        assert seen[f'kestrel_stage_seconds_bucket{{le="+Inf",stage="{stage}"}}'] == timing["count"]
        assert seen[f'kestrel_stage_seconds_sum{{stage="{stage}"}}'] == pytest.approx(
            timing["sum"], rel=0.3, abs=0.02
        ), stage
        assert seen[f'kestrel_seconds_total{{stage="{stage}"}}'] == pytest.approx(timing["sum"], abs=2e-6), stage
    assert seen['kestrel_blocks{phase="todo"}'] == 0
    assert metrics["most_blocks"]["todo"] >= 1


def test_the_same_numbers_without_ray(harbour: HarbourCase, config: RunConfig) -> None:
    bad = screened_scene(config, harbour)[0].tiles[3]
    executor = LocalExecutor(lambda: Refuses(harbour.load_oracle(), bad.window))
    lenient = replace(config, output=replace(config.output, max_failed_tiles=1))
    (scene,) = detect(lenient, harbour.card, executor, SILENT).scenes
    metrics = json.loads((Path(str(scene.folder)) / "run.json").read_text())["metrics"]
    assert (metrics["tiles_done"], metrics["tiles_failed"]) == (scene.tiles_done, 1)
    assert all(timing["count"] > 0 for timing in metrics["stage_seconds"].values())


def test_json_log_of_a_whole_job(harbour: HarbourCase, tmp_path: Path) -> None:
    """Every line on stderr of the real job is JSON, the good scene and the missing one can be searched for."""
    missing = "https://user:secret@127.0.0.1:9/gone.tif?X-Amz-Signature=secret"
    argv = ["--scene", str(harbour.path), missing, "--out", str(tmp_path / "out"), "--log", "json"]
    argv += ["--tiling.gsd", "native", "--cluster.workers", "1", "--cluster.start_s", "240"]
    command = [sys.executable, str(ROOT / "jobs" / "detect_scene.py"), *argv]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=tmp_path, env=environment)
    events = read_log(done.stderr.splitlines())
    assert "secret" not in done.stderr + done.stdout
    assert events[0]["event"] == "run_started"
    assert (events[-1]["event"], events[-1]["exit_code"]) == ("run_ended", done.returncode)
    good, bad = sorted(named(events, "scene_ended"), key=lambda event: event["exit_code"])  # in order of ending
    record = json.loads((tmp_path / "out" / "harbour" / "run.json").read_text())
    assert (good["scene_id"], good["status"], good["run_id"]) == ("harbour", "PUBLISHED", record["run_id"])
    assert good["tiles_done"] == record["tiles"]["done"]
    assert (bad["scene_id"], bad["status"], bad["exit_code"]) == ("gone", "INVALID", done.returncode)
    assert named(events, "scene_planned")[0]["tiles"] == good["tiles_done"]
    assert named(events, "progress")[-1]["tiles_done"] == good["tiles_done"]


@pytest.mark.parametrize("argv", [["--log", "json", "--tiling.tile", "5"], ["--log=json", "--scene", "/nowhere.tif"]])
def test_errors_are_json_too(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert detect_scene.main(argv) == 2
    error, ended = read_log(capsys.readouterr().err.splitlines())
    assert (error["event"], error["error"], error["exit_code"]) == ("error", "ConfigError", 2)
    assert (ended["event"], ended["exit_code"]) == ("run_ended", 2)


class TellsItsNames:
    """A detector that notes what Ray calls the actor and the task it works in."""

    def __init__(self, detector: Any, file: Path) -> None:
        self._detector, self._file = detector, file
        self.card = detector.card

    def detect(self, chips: Any, **asked: Any) -> Any:
        import ray

        context = ray.get_runtime_context()
        with self._file.open("a") as file:
            file.write(f"{context.get_actor_name()}|{context.get_task_name()}\n")
        return self._detector.detect(chips, **asked)


def test_actors_and_tasks_say_what_they_work_on(
    harbour: HarbourCase, config: RunConfig, ray_cluster: None, tmp_path: Path
) -> None:
    """As ``ray list actors`` and ``ray list tasks`` show them: the scene, the block, the job."""
    plan, order = screened_scene(config, harbour)
    with pool(lambda: TellsItsNames(harbour.load_oracle(), tmp_path / "names"), workers=2) as executor:
        account(plan.tiles, executor.map(order, plan.blocks))
    actors, tasks = zip(*(line.split("|") for line in (tmp_path / "names").read_text().splitlines()), strict=True)
    assert all(re.fullmatch(r"detector \d+ of job \d+-\w{8}", name) for name in actors)
    assert len(set(actors)) <= 2
    expected = {f"look harbour block {block.block_id} ({block.tiles[0].tile_id})" for block in plan.blocks}
    assert set(tasks) == expected
