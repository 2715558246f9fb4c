"""Whatever fails, at whatever moment: no tile lost, none twice, and the bytes of an undisturbed run."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pipeline.types import Window
from tests.chaos.conftest import Nodes
from tests.chaos.drill import FULL, SAME_BYTES, Drill, fault, workers
from tests.support.fault_proxy import fault_proxy
from tests.support.proxy_faults import Fault, Faults
from tests.support.scenes import damage_block
from tests.support.servers import BUCKET, fill_bucket, s3_client, s3_process

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1200)]
KEYS = {"AWS_ACCESS_KEY_ID": "drill", "AWS_SECRET_ACCESS_KEY": "drill", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1"}  # fmt: skip
whole_only = pytest.mark.parametrize(
    "drill", [pytest.param(FULL, marks=pytest.mark.chaos)], indirect=True, ids=["full"]
)
"""For what CI shows on fewer tiles in tests/integration: test_cluster.py, test_operators.py, object_store."""
HOLES = ("--output.max_failed_tiles", "9")


def test_the_driver_is_killed_again_and_again(drill: Drill, nodes: Nodes) -> None:
    """SIGKILL at random moments of the work, and of merging and publishing; each time the same command goes on."""
    kills = drill.size.driver_kills
    late = max(1, kills // 6)
    first = None
    for turn in range(kills):
        job = drill.job("driver", address=nodes.address)
        first = first or job.started
        if turn < kills - late:
            enough = min(job.parts() + drill.random.randint(1, 2), len(drill.blocks) - 1)
            pause_s = drill.random.uniform(0, 0.3)
        else:
            enough, pause_s = len(drill.blocks), drill.random.uniform(0, 0.6)
        job.until(lambda enough=enough, job=job: job.parts() >= enough)  # type: ignore[misc]
        time.sleep(pause_s)
        job.process.send_signal(signal.SIGKILL)
        job.process.wait()
    job = drill.job("driver", address=nodes.address).ended(0)
    job.started = first or job.started
    row = drill.note("kill -9 of the driver", kills, job)
    assert row.recomputed < row.tiles, "only what was in flight is done again"
    assert sorted(path.name for path in job.out.iterdir()) == ["harbour"], "nothing hidden is left"


@whole_only
def test_detector_actors_are_killed(drill: Drill, nodes: Nodes) -> None:
    job = drill.job("actor", address=nodes.address)
    killed: set[int] = set()
    for turn in range(drill.size.kills):
        due = turn * len(drill.blocks) // (drill.size.kills + 1)

        def busy(due: int = due) -> tuple[str, int] | None:
            last = job.last()
            return last if last and last[1] not in killed and job.parts() >= due else None

        seen = job.until(busy)
        assert seen, f"the job ended before it was disturbed: {job.tail()}"
        os.kill(seen[1], signal.SIGKILL)
        killed.add(seen[1])
    drill.note("kill -9 of a detector actor", len(killed), job.ended(0))


@whole_only
def test_reading_workers_are_killed(drill: Drill, nodes: Nodes) -> None:
    job = drill.job("reader", address=nodes.address)
    killed: set[int] = set()
    while len(killed) < drill.size.kills:
        seen = job.until(lambda: set(workers(nodes.raylets, "ray::read ")) - killed)
        assert seen, f"the job ended before it was disturbed: {job.tail()}"
        killed.add(pid := seen.pop())
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    drill.note("kill -9 of a reading worker", len(killed), job.ended(0))


@whole_only
def test_a_node_goes_away_while_it_holds_work(drill: Drill, nodes: Nodes) -> None:
    doomed = nodes.cluster.add_node(num_cpus=2, object_store_memory=150_000_000)
    job = drill.job("node", "--cluster.workers", "3", address=nodes.address)
    held = job.until(lambda: (job.last() or ("",))[0] == doomed.node_id)
    assert held, f"nothing was ever done on the doomed node: {job.tail()}"
    nodes.cluster.remove_node(doomed, allow_graceful=False)
    drill.note("a node is removed with work on it", 1, job.ended(0))


@whole_only
@pytest.mark.parametrize("kind", ["Refuses", "Hangs", "Poisoned"])
def test_a_tile_that_cannot_be_done_is_told_of(drill: Drill, nodes: Nodes, kind: str) -> None:
    """The detector raises on it, never answers, or its process dies: it is in failures.parquet, the others are done."""
    tile = drill.tile_with_ships()
    job = drill.job(
        kind.lower(), *HOLES, "--cluster.deadline_s", "6", "--cluster.max_attempts", "1", address=nodes.address,
        faults=[fault(kind, window=tile.window)],
    )  # fmt: skip
    names = {"Refuses": "the detector raises on a tile", "Hangs": "the detector hangs on a tile (deadline)",
             "Poisoned": "a tile kills its worker"}  # fmt: skip
    drill.note(names[kind], 1, job.ended(0), hurt=[tile])


@whole_only
def test_device_memory_runs_out(drill: Drill, nodes: Nodes) -> None:
    """torch's own error on every batch of more than two: halved, remembered, told, and nothing lost.

    In torch, for the network's module is where the error is raised: ONNX Runtime, the default here, never calls it.
    """
    torch = ("--detector.runtime", "torch")
    quiet = drill.job("quiet-torch", *torch, executor="local").ended(0)
    job = drill.job("memory", *torch, address=nodes.address, faults=[fault("TorchOutOfMemory", most=2)]).ended(0)
    drill.note("torch runs out of memory", 1, job, quiet=quiet.out / "harbour")
    assert "batch halved" in (job.out / "harbour" / "run.json").read_text()


def test_a_block_of_the_file_is_damaged(drill: Drill, nodes: Nodes) -> None:
    """A bad sector: the tiles that need it fail with its place, and all others are as they were."""
    folder = drill.folder / "damaged-scene"
    folder.mkdir()
    scene = Path(shutil.copy2(drill.scene, folder / "harbour.tif"))
    damage_block(scene, 1, 1)
    scale = drill.plan.lattice.scale_x
    low, high = int(128 / scale), int(256 / scale)
    bad = Window(x=low, y=low, width=high - low + 1, height=high - low + 1)
    hurt = [tile for tile in drill.tiles if tile.window.intersect(bad)]
    job = drill.job("damaged", "--output.max_failed_tiles", "99", address=nodes.address, scene=str(scene)).ended(0)
    drill.note("a block of the file is damaged", 1, job, hurt=hurt)


@whole_only
def test_the_store_fails_now_and_then(drill: Drill) -> None:
    """Scene and results on S3; some requests are refused or cut all the time, all of them while a storm lasts."""
    weather = Faults(shares={Fault.BUSY: 0.03, Fault.CUT_ANSWER: 0.01, Fault.LOST_ANSWER: 0.01}, seed=5)
    scenes = drill.folder / "bucket"
    scenes.mkdir()
    shutil.copy2(drill.scene, scenes / "harbour.tif")
    with (
        s3_process() as store,
        fault_proxy(store, weather) as proxy,
        contextlib.closing(s3_client(store)) as client,
    ):
        fill_bucket(store, scenes)

        def parts() -> int:
            listed = client.list_objects_v2(Bucket=BUCKET, Prefix="out/harbour/_work/")
            return int(listed.get("KeyCount", 0))

        job = drill.job(
            "store", executor="local", out=f"s3://{BUCKET}/out", scene=f"s3://{BUCKET}/harbour.tif",
            environment={**KEYS, "AWS_ENDPOINT_URL": proxy.url},
        )  # fmt: skip
        for turn in range(drill.size.kills):
            due = 1 + turn * len(drill.blocks) // (drill.size.kills + 1)
            assert job.until(lambda due=due: parts() >= due), job.tail()  # type: ignore[misc]
            proxy.faults = Faults.storm()
            time.sleep(1.5)
            proxy.faults = weather
        job.ended(0)
        failed = sum(proxy.traffic.faults().values())
        published = drill.folder / "from-store"
        published.mkdir()
        for name in (*SAME_BYTES, "run.json", "manifest.json"):
            client.download_file(BUCKET, f"out/harbour/{name}", str(published / name))
    drill.note(f"S3: {drill.size.kills} storms of 503, cut and lost answers", failed, job, folder=published)


def test_the_disk_fills_up(drill: Drill, tmp_path: Path) -> None:
    """The job ends with code 5 and keeps what it has; with more room the same command ends well."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("mounting a tmpfs is not permitted here: a full disk cannot be simulated")
    try:
        job = drill.job("disk", executor="local", out=str(disk / "out")).ended(5)
        assert "free" in job.tail(), "the sentence says what is wrong"
        assert not (disk / "out" / "harbour" / "manifest.json").exists()
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        again = drill.job("disk", executor="local", out=str(disk / "out")).ended(0)
        again.started = job.started
        drill.note("the disk is full", 1, again)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
