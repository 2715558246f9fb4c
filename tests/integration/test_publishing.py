"""Publishing under real conditions: an S3 server, a disk that fills up, a process killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from pipeline.errors import StorageError
from pipeline.georeference.area_files import read_aoi
from pipeline.outputs.geojson import write_geojson
from pipeline.outputs.geopackage import write_gpkg
from pipeline.outputs.geoparquet import write_geoparquet
from pipeline.storage.fetching import fetch_folder, read_text
from pipeline.storage.folders import MANIFEST, check_writable, publish_folder, staging_folder
from tests.support.outputs import sample, utm_to_lonlat
from tests.support.patience import QUICK
from tests.support.servers import fill_bucket, s3_process

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A real S3 server (moto's) on loopback."""
    pytest.importorskip("moto.server", reason="moto is not installed: no S3 server here")
    pytest.importorskip("s3fs", reason="s3fs is not installed: no client for S3 here")
    with s3_process() as address:
        yield address


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket, found the way users' own are: by AWS variables."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-to-be-shown")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    name = f"results-{uuid.uuid4().hex[:8]}"
    fill_bucket(server, name=name)
    return f"s3://{name}/runs"


def test_results_go_to_s3_and_replace_each_other(bucket: str) -> None:
    check_writable(bucket)
    for text, extra in (("old", "stale.txt"), ("new", "a.txt")):
        with staging_folder(bucket, "scene") as staged:
            (staged / "a.txt").write_text(text)
            (staged / extra).write_text(text)
            assert publish_folder(staged, bucket, "scene") == f"{bucket}/scene"
    assert read_text(f"{bucket}/scene/a.txt") == "new"
    manifest = json.loads(read_text(f"{bucket}/scene/{MANIFEST}"))
    assert manifest == {"files": {"a.txt": {"bytes": 3, "sha256": sha256(b"new").hexdigest()}}}
    with pytest.raises(StorageError):
        read_text(f"{bucket}/scene/stale.txt")


def test_weights_and_areas_come_from_s3(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KESTREL_CACHE", str(tmp_path / "cache"))
    polygon = '{"type":"Polygon","coordinates":[[[9,50],[10,50],[10,51],[9,50]]]}'
    with staging_folder(bucket, "w") as staged:
        (staged / "model.safetensors").write_bytes(b"weights")
        (staged / "config.json").write_text("{}")
        (staged / "area.geojson").write_text(polygon)
        publish_folder(staged, bucket, "w")
    assert (fetch_folder(f"{bucket}/w") / "model.safetensors").read_bytes() == b"weights"
    area, crs = read_aoi(f"{bucket}/w/area.geojson")
    assert (area.area, crs) == (pytest.approx(0.5), "EPSG:4326")


def test_a_bucket_that_is_not_there_is_one_sentence_without_secrets(bucket: str) -> None:
    with pytest.raises(StorageError, match="cannot write to s3://nowhere") as caught:
        check_writable("s3://nowhere/runs", QUICK)
    assert "not-to-be-shown" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a tmpfs is not permitted here: a full disk cannot be simulated")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("kind", ["parquet", "geojson", "gpkg", "plain"])
def test_a_full_disk_is_one_sentence_and_the_old_result_stays(kind: str, small_disk: Path) -> None:
    """Whatever format hits the end of the disk."""
    with staging_folder(str(small_disk), "scene") as staged:
        (staged / "run.json").write_text("old")
        publish_folder(staged, str(small_disk), "scene")
    table = sample(30_000).table()

    def fill() -> None:
        with staging_folder(str(small_disk), "scene") as staged:
            if kind == "parquet":
                write_geoparquet(table, staged / "d.parquet", crs_projjson=None, metadata={})
            elif kind == "geojson":
                write_geojson(table, staged / "d.geojson", utm_to_lonlat)
            elif kind == "gpkg":
                write_gpkg(table, staged / "d.gpkg", None)
            else:
                (staged / "d.bin").write_bytes(b"0" * 2_000_000)
            publish_folder(staged, str(small_disk), "scene")

    with pytest.raises(StorageError) as caught:
        fill()
    assert "\n" not in str(caught.value)
    assert ("MB free on its disk" if kind == "gpkg" else "No space left on device; free some space") in str(
        caught.value
    )
    assert [path.name for path in small_disk.iterdir()] == ["scene"]
    assert (small_disk / "scene/run.json").read_text() == "old"


def test_a_geopackage_that_lost_its_end_to_a_full_disk_is_not_taken_for_whole(small_disk: Path, tmp_path: Path) -> None:
    """GDAL builds the spatial index while closing, and keeps silent when that fails: written means complete."""
    table, ends = sample(2700).table(), set()
    for rows in range(2100, 2700, 40):
        write_gpkg(table.slice(0, rows), tmp_path / "roomy.gpkg", None)
        try:
            write_gpkg(table.slice(0, rows), small_disk / "full.gpkg", None)
        except StorageError as error:
            ends.add("incomplete" if "incomplete" in str(error) else "refused")
        else:
            ends.add("complete")
            assert (small_disk / "full.gpkg").read_bytes() == (tmp_path / "roomy.gpkg").read_bytes()
        for file in [*small_disk.iterdir(), tmp_path / "roomy.gpkg"]:
            file.unlink()
    assert {"complete", "incomplete"} <= ends


@pytest.mark.parametrize("moment", ["while writing", "before the swap", "after the swap"])
def test_a_kill_at_any_moment_leaves_one_whole_result(moment: str, tmp_path: Path) -> None:
    """kill -9 runs no clean-up. The old result stays whole until the swap, the new one is whole after it, and the
    next run sweeps what is left."""
    with staging_folder(str(tmp_path), "scene") as staged:
        (staged / "a").write_text("old")
        (staged / "b").write_text("old")
        publish_folder(staged, str(tmp_path), "scene")
    program = f"""
        import os, signal
        from pathlib import Path
        from pipeline.storage.folders import publish_folder, staging_folder

        out, moment, fsync = Path({str(tmp_path)!r}), {moment!r}, os.fsync

        def die():
            os.kill(os.getpid(), signal.SIGKILL)

        def sync_or_die(handle):
            '''The staged folder is synced last before the swap, and the folder it lies in after it.'''
            place = Path(os.readlink(f"/proc/self/fd/{{handle}}"))
            if moment == ("after the swap" if place == out else "before the swap" if place.parent == out else None):
                die()
            fsync(handle)

        os.fsync = sync_or_die
        with staging_folder(str(out), "scene") as staged:
            (staged / "a").write_text("new")
            if moment == "while writing":
                die()
            (staged / "b").write_text("new")
            publish_folder(staged, str(out), "scene")
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, check=False, capture_output=True)
    assert run.returncode == -signal.SIGKILL, run.stderr.decode()
    expected = "new" if moment == "after the swap" else "old"
    assert {name: (tmp_path / "scene" / name).read_text() for name in "ab"} == {"a": expected, "b": expected}
    assert sorted(path.name for path in (tmp_path / "scene").iterdir()) == ["a", "b", MANIFEST]
    assert len(list(tmp_path.iterdir())) == 2, "the killed run could not clean up"
    with staging_folder(str(tmp_path), "scene"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["scene"]
