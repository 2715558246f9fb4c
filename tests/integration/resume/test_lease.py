"""Two jobs on one scene: one at a time, and the scene of a dead one is taken over."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import WorkConfig
from pipeline.detectors.weights import model_card
from pipeline.planning.plan import WorkOrder
from pipeline.reporting.journal import Journal
from pipeline.runs.run import detect
from pipeline.storage.lease import Lease, lease_uri
from pipeline.types import Block, BlockOutcome
from tests.conftest import ROOT
from tests.support.harbours import HarbourCase
from tests.support.jobs import BUILTIN, Job, Mortal, one_look


@one_look
def test_a_lease_that_is_renewed_keeps_others_out(job: Job) -> None:
    """Two jobs on one scene: the second is told who holds it, and writes nothing."""
    lease_s = 1.5
    with Lease(job.config.out, "harbour", lease_s, print) as lease:
        other = WorkConfig(lease_s=lease_s)
        # As seen from another machine: a process that lives here cannot be told from one that lives there.
        report, blocks = job.run(work=other)
        lease.check()
    assert report is not None
    assert (report.exit_code, blocks) == (5, [])
    assert "another job is at work on harbour" in report.scenes[0].message
    assert not job.folder.exists()
    report, _ = job.run(work=other)
    assert report is not None
    assert report.exit_code == 0
    assert not Path(lease_uri(job.config.out, "harbour")).exists()


@one_look
def test_a_lease_of_another_machine_that_is_not_renewed_is_taken_over(job: Job) -> None:
    path = Path(lease_uri(job.config.out, "harbour"))
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"token": "x", "machine": "elsewhere", "pid": 1, "started": 0, "lasts_s": 1.0}))
    started = time.monotonic()
    report, _ = job.run()
    assert report is not None
    assert report.exit_code == 0
    assert time.monotonic() - started > 1.0


@one_look
def test_who_lost_its_lease_publishes_nothing(job: Job) -> None:
    """A job that was suspended, and taken for dead, wakes up to find its scene in other hands."""

    @dataclass
    class Robbed(Mortal):
        def map(self, order: WorkOrder, blocks: Sequence[Block], *more: Any) -> Iterator[BlockOutcome]:
            yield from super().map(order, blocks, *more)
            Path(lease_uri(job.config.out, "harbour")).write_text(json.dumps({"token": "other"}))

    report = detect(job.config, model_card(BUILTIN), Robbed(), Journal(print))
    assert report.exit_code == 5
    assert "lost its lease" in report.scenes[0].message
    assert not (job.folder / "manifest.json").exists()


@one_look
def test_a_killed_process_leaves_nothing_in_the_way(job: Job, harbour: HarbourCase) -> None:
    """SIGKILL of the real command: the next one takes over at once and does the rest."""
    command = [
        sys.executable, str(ROOT / "jobs" / "detect_scene.py"), "--scene", str(harbour.path), "--out", job.config.out,
        "--executor", "local", "--tiling.tile_px", "224", "--tiling.halo_px", "48", "--tiling.block_mpx", "0.1",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    parts = job.folder / "_work"
    while process.poll() is None and not (parts.is_dir() and any(parts.glob("*.parquet"))):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = len(list(parts.glob("*.parquet")))
    assert kept >= 1
    assert Path(lease_uri(job.config.out, "harbour")).exists()
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 30, "a lease of a dead process of this machine is not waited for"
    record = job.record()
    assert record["tiles"]["done_before"] > 0 or kept == record["blocks"]
    assert sorted(path.name for path in Path(job.config.out).iterdir()) == ["harbour"]
