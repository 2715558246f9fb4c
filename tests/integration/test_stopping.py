"""Jobs that are told to stop, as real processes and by real signals: what they say, leave, and end with."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.training.data.scenes import save_scene
from pipeline.training.export import checkpoint_step
from tests.conftest import ROOT
from tests.support.harbours import small_harbour
from tests.support.prepared import scene_with
from tests.support.servers import http_server

PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_harbour(tmp_path_factory.mktemp("harbour") / "harbour.tif").path


@contextlib.contextmanager
def started(script: str, *argv: object, log: Path, ignored: Sequence[int] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """A job of ours as a process of its own session; its stderr goes to ``log``, signals ``ignored`` as by nohup."""

    def ignore() -> None:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)

    command = [sys.executable, str(ROOT / "jobs" / script), *map(str, argv)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, stderr=errors, stdout=subprocess.DEVNULL, env=environment, preexec_fn=ignore,
                         start_new_session=True) as process,
    ):  # fmt: skip
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_for(seen: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while not seen():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.02)


def events(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]


def told(log: Path, name: str) -> Callable[[], bool]:
    return lambda: any(event["event"] == name for event in events(log))


def many_blocks(scene: Path, out: Path, *more: object) -> list[object]:
    """The embedded network on a scene in dozens of blocks: seconds of work."""
    small = ["--tiling.tile_px", 112, "--tiling.halo_px", 48, "--tiling.block_mpx", 0.02, "--output.preview_px", 0]
    return ["--scene", scene, "--out", out, "--log", "json", *small, *more]


def parts_in(out: Path) -> Callable[[], bool]:
    return lambda: len(list(out.glob("*/_work/*.parquet"))) >= 2


@pytest.mark.parametrize(
    ("executor", "number", "scenes"),
    [
        ("local", signal.SIGTERM, 1), ("local", signal.SIGHUP, 1), ("local", signal.SIGINT, 3),
        pytest.param("ray", signal.SIGTERM, 4, marks=pytest.mark.ray),
    ],
)  # fmt: skip
def test_a_signal_ends_a_run_in_order(
    scene: Path, tmp_path: Path, executor: str, number: signal.Signals, scenes: int
) -> None:
    """As Ctrl-C does: it says so, gives the leases back, keeps what is done, and its exit code names the signal."""
    out, log = tmp_path / "out", tmp_path / "log"
    argv = many_blocks(scene, out, "--executor", executor, "--cluster.workers", 1, "--cluster.start_s", 240)
    argv += ["--cluster.scenes", scenes]
    argv[1:2] = [scene, *(shutil.copy(scene, tmp_path / f"{other}.tif") for other in range(1, scenes))]
    with started("detect_scene.py", *argv, log=log) as process:
        wait_for(lambda: len(list(out.glob(".*.lease"))) == scenes, process, log)
        wait_for(parts_in(out), process, log)
        process.send_signal(number)
        assert process.wait(25) == 128 + number
    last = events(log)[-2:]
    assert [event["event"] for event in last] == ["interrupted", "run_ended"], log.read_text()
    assert [event["exit_code"] for event in last] == [128 + number] * 2
    assert not list(out.glob(".*")), "no lease and nothing staged"
    assert not list(out.glob("*/manifest.json"))
    assert parts_in(out)()
    assert "Traceback" not in log.read_text()


@pytest.fixture
def silent_reading(scene: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A run that is inside a library's call: its server tells the header, and answers for no pixel."""
    log = tmp_path / "log"
    with http_server(scene.parent) as traffic:
        traffic.silent_from = 40_000  # past what GDAL reads of a file when it opens it
        fixed = ["--raster.stretch", "fixed", "--raster.stretch_range", "[0, 4000]"]  # the first pixels are a block's
        argv = many_blocks(scene, tmp_path / "out", "--executor", "local", *fixed)
        argv[1] = f"{traffic.url}/harbour.tif"
        with started("detect_scene.py", *argv, log=log) as process:
            wait_for(traffic.silenced.is_set, process, log)
            time.sleep(0.5)
            yield process, log


def test_a_run_inside_a_call_that_does_not_return_ends_within_the_grace_period(
    silent_reading: tuple[subprocess.Popen[bytes], Path], tmp_path: Path
) -> None:
    """Kubernetes kills after 30 s: before that it has said so, and given the lease back."""
    process, log = silent_reading
    process.send_signal(signal.SIGTERM)
    assert process.wait(27) == 143
    assert [event["event"] for event in events(log)[-2:]] == ["interrupted", "run_ended"]
    assert not (tmp_path / "out" / ".harbour.lease").exists()


def test_a_second_signal_ends_a_run_at_once(silent_reading: tuple[subprocess.Popen[bytes], Path]) -> None:
    process, _ = silent_reading
    process.send_signal(signal.SIGTERM)
    time.sleep(1.0)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(2) == 143


def test_two_signals_in_one_breath_are_one(scene: Path, tmp_path: Path) -> None:
    """As ``timeout`` sends them: to the process, and to its group."""
    out, log = tmp_path / "out", tmp_path / "log"
    with started("detect_scene.py", *many_blocks(scene, out, "--executor", "local"), log=log) as process:
        wait_for(parts_in(out), process, log)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(25) == 143
    assert told(log, "run_ended")()
    assert not (out / ".harbour.lease").exists()


def test_a_run_under_nohup_outlives_its_terminal(scene: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    argv = many_blocks(scene, out, "--executor", "local")
    with started("detect_scene.py", *argv, log=log, ignored=[signal.SIGHUP]) as process:
        wait_for(parts_in(out), process, log)
        process.send_signal(signal.SIGHUP)
        assert process.wait(PATIENCE_S) == 0
    assert (out / "harbour" / "manifest.json").exists()


def test_a_scene_that_is_being_made_leaves_nothing_behind(tmp_path: Path) -> None:
    log, folder = tmp_path / "log", tmp_path / "made"
    argv = ["--kind", "field", "--width", 30_000, "--height", 30_000, "--out", folder / "field.tif"]
    with started("make_scene.py", *argv, log=log) as process:
        wait_for(lambda: "Mpx/s" in log.read_text(), process, log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(25) == 143
    assert log.read_text().splitlines()[-1] == "interrupted; nothing was left behind"
    assert list(folder.iterdir()) == []


def test_preparing_for_training_ends_in_one_sentence(tmp_path: Path) -> None:
    log = tmp_path / "log"
    argv = ["harbours", "--count", 400, "--size", 256, "--out", tmp_path / "prepared"]
    with started("train_detector.py", *argv, log=log) as process:
        wait_for(lambda: len(list((tmp_path / "prepared").glob("*.npz"))) > 1, process, log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(25) == 143
    assert log.read_text() == "interrupted; the same command goes on from the last checkpoint\n"


def test_a_run_that_opens_its_scene_ends_too(scene: Path, tmp_path: Path) -> None:
    """Not even the header comes."""
    log = tmp_path / "log"
    with http_server(scene.parent) as traffic:
        traffic.silent_from = 0
        argv = many_blocks(scene, tmp_path / "out", "--executor", "local")
        argv[1] = f"{traffic.url}/harbour.tif"
        with started("detect_scene.py", *argv, log=log) as process:
            wait_for(told(log, "run_started"), process, log)
            time.sleep(2.0)
            process.send_signal(signal.SIGTERM)
            assert process.wait(27) == 143
    assert [event["event"] for event in events(log)[-2:]] == ["interrupted", "run_ended"]


def test_a_training_that_is_told_to_stop_writes_a_checkpoint(tmp_path: Path) -> None:
    """Long before the next one was due; the same command goes on from there."""
    save_scene(tmp_path / "prep" / "a.npz", scene_with(np.array([[60.0, 60, 40, 12, 0.5]])))
    log, run = tmp_path / "log", tmp_path / "run"
    argv = ["fit", "--scenes", tmp_path / "prep", "--out", run, "--tiles", 1, "--sizes", 64, "--threads", 1,
            "--steps", 100_000, "--checkpoint-steps", 100_000]  # fmt: skip
    with started("train_detector.py", *argv, log=log) as process:
        wait_for((run / "metrics.jsonl").exists, process, log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(25) == 143
    assert log.read_text() == "interrupted; the same command goes on from the last checkpoint\n"
    assert checkpoint_step(run) >= 20
    assert not list(run.rglob("*.partial"))


def test_an_evaluation_that_is_told_to_stop_says_so(scene: Path, tmp_path: Path) -> None:
    log, figures = tmp_path / "log", tmp_path / "figures.json"
    truth = {
        "images": [{"id": 1, "file_name": scene.name, "width": 600, "height": 600}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 8], "area": 160, "iscrowd": 0}],
        "categories": [{"id": 1, "name": "ship"}],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    argv = ["--annotations", tmp_path / "truth.json", "--images", scene.parent, "--json", figures]
    with started("evaluate_detector.py", *argv, log=log) as process:
        in_use = Path(f"/proc/{process.pid}/maps")  # torch comes with the detector
        wait_for(lambda: "libtorch_cpu" in in_use.read_text(), process, log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(25) == 143
    assert log.read_text() == "interrupted; no figures were written, and the same command starts anew\n"
    assert not figures.exists()
