"""Rasters that others wrote, through the whole job: published as they are, noted, or refused in a sentence."""

from __future__ import annotations

import json
import struct
import warnings
from pathlib import Path
from typing import Any

import pytest
import rasterio
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning

from jobs import detect_scene
from tests.support.scenes import picture, write_geotiff

LOCAL = ("--executor", "local", "--output.preview_px", "0")


def detect(scene: Path, *more: str) -> int:
    return detect_scene.main(["--scene", str(scene), "--out", str(scene.parent / "out"), *LOCAL, *more])


def record(scene: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((scene.parent / "out" / scene.stem / "run.json").read_text())
    return content


def patch_tag(path: Path, tag: int, change: Any) -> None:
    """Have ``change`` make another value of a tag of one SHORT or LONG in the first directory of a little TIFF."""
    data = bytearray(path.read_bytes())
    start = struct.unpack_from("<I", data, 4)[0]
    for entry in range(struct.unpack_from("<H", data, start)[0]):
        at = start + 2 + 12 * entry
        name, kind, count, value = struct.unpack_from("<HHII", data, at)
        if name == tag:
            assert count == 1
            struct.pack_into("<H" if kind == 3 else "<I", data, at + 8, change(value))
    path.write_bytes(data)


def test_a_greyscale_tiff_of_pillow_is_published(tmp_path: Path) -> None:
    path = tmp_path / "grey.tif"
    Image.fromarray(picture(300, 300, 1)[..., 0]).save(path)
    assert detect(path) == 0
    assert record(path)["status"] == "PUBLISHED"


@pytest.mark.parametrize("size", [lambda value: value + 5000, lambda value: value * 20], ids=["longer", "much longer"])
@pytest.mark.parametrize("compress", [None, "lzw", "deflate"])
def test_strips_longer_than_they_are_do_not_keep_a_scene_from_being_published(
    tmp_path: Path, compress: str | None, size: Any
) -> None:
    path = write_geotiff(tmp_path / "strip.tif", picture(200, 200), tiled=False, block_px=200, compress=compress)
    data = path.read_bytes()
    path.write_bytes(data + bytes(len(data) * 20))
    patch_tag(path, 279, size)
    assert detect(path) == 0


def test_a_fax_with_short_lines_is_published_and_noted(tmp_path: Path) -> None:
    path = tmp_path / "fax.tif"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", width=200, height=200, count=1, dtype="uint8", nbits=1,
                           compress="ccittrle", blockysize=200) as file:  # fmt: skip
            file.write(picture(200, 200, 1).transpose(2, 0, 1) >> 7)
        with rasterio.open(path) as file:
            at, size = (int(file.get_tag_item(f"BLOCK_{what}_0_0", "TIFF", bidx=1)) for what in ("OFFSET", "SIZE"))
    data = bytearray(path.read_bytes())
    data[at + size - 20 : at + size] = bytes(20)
    path.write_bytes(data)
    assert detect(path) == 0
    notes = record(path)["notes"]
    assert any("GDAL remarks on fax" in note and "expected N" in note for note in notes), notes


def test_a_jpeg_2000_that_was_cut_is_never_published(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cut.jp2"
    with warnings.catch_warnings(), rasterio.Env(GDAL_PAM_ENABLED="NO"):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="JP2OpenJPEG", width=2048, height=2048, count=3, dtype="uint8",
                           QUALITY=100, REVERSIBLE="YES") as file:  # fmt: skip
            file.write(picture(2048, 2048).transpose(2, 0, 1))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.6)])
    assert detect(path) in (3, 7)
    assert "ERROR 1" not in capfd.readouterr().err


def test_a_scene_that_cannot_be_planned_in_time_is_invalid_and_the_next_is_done(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "slow.tif", picture(200, 200))
    assert detect(path, "--cluster.deadline_s", "0.00001") == 3
    assert detect(path) == 0
