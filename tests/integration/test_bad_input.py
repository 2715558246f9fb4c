"""Whatever a file or a flag can cause ends in one clear sentence, the right exit code, and no partial output."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine

from jobs import detect_scene
from tests.conftest import ROOT

BUILTIN = ROOT / "pipeline" / "detectors" / "weights" / "ships-s2"
UTM = {"crs": "EPSG:32633", "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000)}


def write(path: Path, pixels: np.ndarray, **profile: object) -> Path:
    """A GeoTIFF of (bands, rows, columns) pixels."""
    bands, height, width = pixels.shape
    settings = {**UTM, **profile}
    with rasterio.open(
        path, "w", driver="GTiff", count=bands, height=height, width=width, dtype=pixels.dtype, **settings
    ) as file:
        file.write(pixels)
    return path


def noise(size: int = 96, dtype: str = "uint16", bands: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(200, 3000, (bands, size, size)).astype(dtype)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write(tmp_path / "scene.tif", noise())


def outcome(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    """Exit code and what was said to people."""
    code = detect_scene.main(["--executor", "local", *argv])
    return code, capsys.readouterr().err


def assert_ends_cleanly(code: int, said: str, expected: int, hint: str, out: Path) -> None:
    """The code, a sentence with the hint, no traceback, and nothing left behind."""
    assert code == expected, said
    assert hint.lower() in said.lower(), said
    assert "Traceback" not in said
    assert f"exit code {expected}" in said.splitlines()[-1]
    assert not out.exists() or not any(out.iterdir()), sorted(out.rglob("*"))


def truncated(folder: Path) -> Path:
    whole = write(folder / "whole.tif", noise(512), tiled=True, blockxsize=128, blockysize=128)
    path = folder / "truncated.tif"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    return path


def text_called_tif(folder: Path) -> Path:
    path = folder / "text.tif"
    path.write_text("this is no raster\n")
    return path


def empty_file(folder: Path) -> Path:
    path = folder / "empty.tif"
    path.touch()
    return path


def crs_without_transform(folder: Path) -> Path:
    with pytest.warns(NotGeoreferencedWarning):
        return write(folder / "half.tif", noise(), transform=Affine.identity())


def virtual_raster(folder: Path) -> Path:
    source = write(folder / "source.tif", noise())
    path = folder / "virtual.vrt"
    path.write_text(
        f'<VRTDataset rasterXSize="96" rasterYSize="96"><VRTRasterBand dataType="UInt16" band="1"><SimpleSource>'
        f"<SourceFilename>{source}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    return path


def complex_pixels(folder: Path) -> Path:
    return write(folder / "complex.tif", noise().astype("complex64"))


SCENES: list[tuple[Callable[[Path], Path], str]] = [
    (lambda folder: folder / "missing.tif", "missing.tif"),
    (truncated, "truncated"),
    (text_called_tif, "text.tif"),
    (empty_file, "empty.tif"),
    (crs_without_transform, "transform"),
    (virtual_raster, "allow_vrt"),
    (complex_pixels, "complex"),
]


@pytest.mark.parametrize(("make", "hint"), SCENES, ids=lambda value: getattr(value, "__name__", None))
def test_scene_that_can_never_work(
    make: Callable[[Path], Path], hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = outcome(capsys, "--scene", str(make(tmp_path)), "--out", str(tmp_path / "out"))
    assert_ends_cleanly(code, said, 3, hint, tmp_path / "out")


def test_zero_bands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No library writes a raster without bands, so the header of a real one is changed: SamplesPerPixel becomes 0."""
    path = write(tmp_path / "zero.tif", noise(bands=1))
    raw = bytearray(path.read_bytes())
    entry = raw.index(bytes([0x15, 0x01, 0x03, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x00]))
    raw[entry + 8] = 0
    path.write_bytes(bytes(raw))
    code, said = outcome(capsys, "--scene", str(path), "--out", str(tmp_path / "out"))
    assert_ends_cleanly(code, said, 3, "zero.tif", tmp_path / "out")


def test_absurd_block_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One strip of gigabytes cannot be read in bounded memory; a sparse file makes one without writing it."""
    path = tmp_path / "absurd.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=1, width=40_000, height=40_000, dtype="uint16", blockysize=40_000,
        compress="deflate", sparse_ok=True, **UTM,
    ):  # fmt: skip
        pass
    code, said = outcome(capsys, "--scene", str(path), "--out", str(tmp_path / "out"))
    assert_ends_cleanly(code, said, 3, "block", tmp_path / "out")


@pytest.mark.parametrize("kind", ["nodata", "nan"])
def test_scene_without_a_valid_pixel_is_published_empty(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Looked everywhere, found nothing: that is a result, with zero rows and every tile skipped."""
    pixels = np.zeros((3, 96, 96), np.uint16) if kind == "nodata" else np.full((3, 96, 96), np.nan, np.float32)
    path = write(tmp_path / "blank.tif", pixels, **({"nodata": 0} if kind == "nodata" else {}))
    code, said = outcome(capsys, "--scene", str(path), "--out", str(tmp_path / "out"))
    assert code == 0, said
    assert "blank: PUBLISHED: NOTHING WAS LOOKED AT: skipped 1 without a valid pixel" in said
    assert "warning: blank: not one valid pixel" in said
    record = json.loads((tmp_path / "out" / "blank" / "run.json").read_text())
    assert record["detections"] == 0
    assert any("not one valid pixel" in sentence for sentence in record["warnings"])
    assert record["tiles"]["skipped_empty"] == record["tiles"]["planned"] > 0


def test_nan_pixels_are_no_pixels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = noise().astype(np.float32)
    pixels[:, :40] = np.nan
    code, said = outcome(
        capsys, "--scene", str(write(tmp_path / "nan.tif", pixels)), "--out", str(tmp_path / "out"),
        "--detector.score_threshold", "0.0",
    )  # fmt: skip
    assert code == 0, said
    import pyarrow.parquet as pq

    rows = pq.read_table(tmp_path / "out" / "nan" / "detections.parquet")
    assert len(rows), "at threshold 0 the network answers something"
    assert min(rows.column("px_cy").to_pylist()) >= 39


def test_area_of_interest_outside_the_scene(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    aoi = tmp_path / "aoi.geojson"
    ring = [[-70, -30], [-69, -30], [-69, -29], [-70, -29], [-70, -30]]
    aoi.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    code, said = outcome(capsys, "--scene", str(scene), "--out", str(tmp_path / "out"), "--aoi", str(aoi))
    assert_ends_cleanly(code, said, 2, "area of interest", tmp_path / "out")


def weights_of_another_architecture(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 8}))


def weights_with_nan(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    name = next(name for name, tensor in tensors.items() if tensor.dtype == np.float16)
    tensors[name] = np.full_like(tensors[name], np.nan)
    save_file(tensors, folder / "model.safetensors")
    import hashlib

    card = json.loads((folder / "card.json").read_text())
    card["sha256"] = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))


def weights_cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize(
    ("damage", "hint"),
    [
        (weights_of_another_architecture, "bert"),
        (weights_with_nan, "nan"),
        (weights_cut_short, "sha256"),
        (no_weights, "model.safetensors"),
    ],
)
def test_weights_that_do_not_fit(
    damage: Callable[[Path], None], hint: str, scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(BUILTIN, folder)
    damage(folder)
    out = tmp_path / "out"
    code, said = outcome(capsys, "--scene", str(scene), "--out", str(out), "--weights", str(folder))
    assert_ends_cleanly(code, said, 4, hint, out)


def test_no_such_weights(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    code, said = outcome(capsys, "--scene", str(scene), "--out", str(out), "--weights", "builtin:cats")
    assert_ends_cleanly(code, said, 2, "ships-s2", out)


def test_output_folder_that_is_a_file(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """(root may write anywhere, so a missing permission is shown by something nobody may write into: a file)"""
    out = tmp_path / "out"
    out.write_text("in the way")
    code, said = outcome(capsys, "--scene", str(scene), "--out", str(out / "results"))
    assert code == 5, said
    assert out.read_text() == "in the way"


def test_disk_full_while_publishing(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A tmpfs too small for the results: exit code 5, and no result of the scene is left on it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a tmpfs needs root")
    try:
        code, said = outcome(capsys, "--scene", str(scene), "--out", str(disk / "out"))
        assert code == 5, said
        assert "space" in said.lower()
        left = [path for path in disk.rglob("*") if path.is_file()]
        assert all(path.parent.name == "_work" for path in left), "what was done is kept, and nothing else"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_relative_path_inside_a_submitted_job(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable is the one Ray sets for a submitted job's driver (shown with a real one by .ci/submit_job)."""
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    code, said = outcome(capsys, "--scene", "scene.tif", "--out", str(tmp_path / "out"))
    assert_ends_cleanly(code, said, 2, "relative path", tmp_path / "out")
    code, said = outcome(capsys, "--scene", str(scene), "--weights", "models/best.onnx", "--out", str(tmp_path / "out"))
    assert_ends_cleanly(code, said, 2, "--weights models/best.onnx is a relative path", tmp_path / "out")


def test_one_invalid_scene_does_not_stop_the_others(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The good scenes on both sides are published; the exit code is that of the first that was not."""
    last = write(tmp_path / "last.tif", noise())
    code, said = outcome(
        capsys, "--scene", str(scene), str(tmp_path / "missing.tif"), str(text_called_tif(tmp_path)), str(last),
        "--out", str(tmp_path / "out"),
    )  # fmt: skip
    assert code == 3, said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["_runs", "last", "scene"]


def test_two_scenes_of_one_name_would_overwrite_each_other(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").mkdir()
    twin = write(tmp_path / "other" / "scene.tif", noise())
    code, said = outcome(capsys, "--scene", str(scene), str(twin), "--out", str(tmp_path / "out"))
    assert_ends_cleanly(code, said, 2, "two runs", tmp_path / "out")


def test_no_traceback_from_the_command_itself(tmp_path: Path) -> None:
    """The real process, as a user starts it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "jobs/detect_scene.py", "--scene", "no.tif", "--out", str(tmp_path), "--tiling.tile", "5"],
        cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "did you mean tiling.tile_px" in done.stderr
    assert "Traceback" not in done.stderr
