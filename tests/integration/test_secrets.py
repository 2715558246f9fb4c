"""A planted secret is used, and appears nowhere: not on the screen, not in a result, not in Ray's logs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio.shutil

from jobs import detect_scene
from pipeline.errors import StorageError
from tests.conftest import ROOT
from tests.support.harbours import small_harbour
from tests.support.scenes import write_geotiff
from tests.support.servers import BUCKET, fill_bucket, http_server, s3_process

KEY = "planted-key-5e1f"
PASSWORD = "planted-password-77a0"
SIGNATURE = "planted-signature-c3d9"
SECRETS = (KEY, PASSWORD, SIGNATURE)
SETTINGS = (
    "--tiling.gsd=native", "--tiling.tile_px=1100", "--tiling.global_factor=4", "--refine.selector=none",
    "--output.preview_px=0",
)  # fmt: skip
"""One cheap tile for a whole scene."""
START = (
    "import runpy, sys, pipeline.retrying as r; r.PATIENCE = r.Patience(pauses_s=(0.01, 0.01)); "
    "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)
"""The job as it is, but for pauses of seconds between its attempts."""


@dataclass(frozen=True)
class Place:
    """Where scenes come from and results go to, and the environment that opens both."""

    url: str
    folder: Path
    environment: dict[str, str]

    def scene(self, name: str) -> str:
        """An address with all that an address can give away."""
        return f"{self.url.replace('://', f'://somebody:{PASSWORD}@')}/{name}?X-Amz-Signature={SIGNATURE}&X-Amz-Date=1"


def write_scene_without_its_end(path: Path) -> None:
    """A COG whose overviews are there and whose last blocks are not: it is planned, and its only tile fails."""
    pixels = np.random.default_rng(0).integers(0, 256, (1100, 1100, 3), dtype=np.uint8)
    whole = write_geotiff(path.with_suffix(".whole"), pixels, block_px=128)
    rasterio.shutil.copy(whole, path, driver="COG", blocksize=128, compress="deflate")
    path.write_bytes(path.read_bytes()[:-100_000])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    pytest.importorskip("moto.server", reason="moto is not installed: no S3 server here")
    folder = tmp_path_factory.mktemp("served")
    small_harbour(folder / "harbour.tif")
    (folder / "text.tif").write_text("no raster")
    write_scene_without_its_end(folder / "cut.tif")
    statuses = {"/private.tif": 403, "/failing.tif": 501, "/busy.tif": 503}
    with s3_process() as store, http_server(folder, statuses=statuses) as server:
        fill_bucket(store, folder)
        environment = {
            "PYTHONPATH": str(ROOT), "AWS_ENDPOINT_URL": store, "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": KEY, "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip
        yield Place(server.url, folder, environment)


def assert_clean(what: str, text: str | bytes) -> None:
    found = [secret for secret in SECRETS if secret.encode() in (text.encode() if isinstance(text, str) else text)]
    assert not found, f"{found} in {what}"


def assert_folder_clean(folder: Path, least: int) -> None:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(files) >= least, files
    for path in files:
        assert_clean(str(path), path.read_bytes())


def run(place: Place, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The job as a process of its own."""
    command = [sys.executable, "-c", START, str(ROOT / "jobs/detect_scene.py"), *SETTINGS, *arguments]
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=240, env=os.environ | place.environment
    )
    assert_clean("stdout", done.stdout)
    assert_clean("stderr", done.stderr)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_nothing_that_a_local_run_writes_holds_a_secret(place: Place, tmp_path: Path) -> None:
    """One that works, one with missing blocks, and four that fail in four ways."""
    names = ("harbour.tif", "cut.tif", "text.tif", "none.tif", "private.tif", "failing.tif")
    out = tmp_path / "out"
    done = run(place, tmp_path, "--executor=local", f"--out={out}", "--scene", *map(place.scene, names))
    assert "harbour: PUBLISHED" in done.stderr, done.stderr
    assert "ERROR 1" not in done.stderr, "GDAL spoke for itself"
    assert "cut: FAILED" in done.stderr, done.stderr
    assert done.stderr.count(": INVALID: ") == 4, done.stderr
    assert (out / "cut/failures.parquet").exists()
    assert_folder_clean(tmp_path, least=7)


@pytest.mark.slow
def test_nothing_that_a_run_on_ray_writes_holds_a_secret(place: Place, tmp_path: Path) -> None:
    """Ray's own folder included: logs of the driver, the workers and the machinery between them."""
    session = Path(tempfile.mkdtemp(prefix="kr", dir="/tmp"))  # a socket's path may have 107 characters
    try:
        environment = place.environment | {"RAY_TMPDIR": str(session)}
        names = ("harbour.tif", "cut.tif", "none.tif")
        done = run(
            Place(place.url, place.folder, environment), tmp_path, f"--out=s3://{BUCKET}/{uuid.uuid4().hex}",
            "--cluster.workers=1", "--cluster.max_attempts=1", "--cluster.start_s=200",
            "--scene", *map(place.scene, names),
        )  # fmt: skip
        assert "harbour: PUBLISHED" in done.stderr, done.stderr
        assert "cut: FAILED" in done.stderr, done.stderr
        assert "none: INVALID" in done.stderr, done.stderr
        assert_folder_clean(session, least=5)
    finally:
        shutil.rmtree(session, ignore_errors=True)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--scene", "SCENE", "--print_config"], 0),
        (["--scene", "SCENE", "--out", "OUT", "--dry-run"], 0),
        (["--scene", "MISSING", "--out", "OUT", "--dry-run"], 3),
        (["--scene", "BUSY", "--out", "OUT", "--dry-run"], 5),
        (["--scene", "SCENE", "SCENE", "--out", "OUT"], 2),
        (["--scene", "SCENE", "--out", "s3://nobody/out"], 5),
        (["--scene", "SCENE", "--out", f"s3://key:{PASSWORD}@nobody/out"], 5),
        (["--scene", "SCENE", "--out", "OUT", "--weights", "WEIGHTS"], 5),
        (["--scene", "SCENE", "--out", "OUT", "--aoi", "MISSING"], 2),
        (["--scene", "SCENE", "--out", "OUT", "--nonsense", "SCENE"], 2),
    ],
)
def test_no_sentence_holds_a_secret(
    arguments: list[str], code: int, place: Place, tmp_path: Path,
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Each way in which a run says no, and the texts it prints instead of running; logs at their most talkative."""
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(time, "sleep", lambda _: None)  # a whole job has the patience of pipeline.retrying
    words = {
        "SCENE": place.scene("harbour.tif"), "MISSING": place.scene("none.tif"), "OUT": str(tmp_path / "out"),
        "WEIGHTS": place.scene("weights"), "BUSY": place.scene("busy.tif"),
    }  # fmt: skip
    with caplog.at_level("INFO"):
        ended = detect_scene.main(["--executor=local", *SETTINGS, *(words.get(one, one) for one in arguments)])
    said = capfd.readouterr()
    assert ended == code, said.err
    for what, text in (("stdout", said.out), ("stderr", said.err), ("log", caplog.text)):
        assert_clean(what, text)


def test_an_error_carries_no_secret_even_when_it_is_made_with_one() -> None:
    error = StorageError(f"cannot read https://me:{PASSWORD}@host/x.tif?X-Amz-Signature={SIGNATURE} now")
    assert str(error) == "cannot read https://host/x.tif now"
