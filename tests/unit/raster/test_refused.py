"""What is no scene is named, with the line that makes one of it."""

from __future__ import annotations

import gzip
import sqlite3
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

import pytest
import rasterio
import rasterio.shutil
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning

from pipeline.errors import SceneUnreadable
from pipeline.raster.scene import open_scene
from tests.support.reading import CONFIG
from tests.support.scenes import picture, write_geotiff


def refusal(path: Path) -> str:
    with pytest.raises(SceneUnreadable) as caught:
        open_scene(str(path), CONFIG)
    return str(caught.value)


@pytest.mark.parametrize(
    ("driver", "name"),
    [
        ("HFA", "Erdas Imagine"),
        ("NITF", "NITF"),
        ("BMP", "BMP"),
        ("GIF", "GIF"),
        ("netCDF", "netCDF"),
        ("GPKG", "SQLite"),
    ],
)
def test_a_format_that_gdal_knows_is_named_with_the_line_to_convert_it(driver: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / "strange scene.dat"
    with warnings.catch_warnings(), rasterio.Env():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        write_geotiff(tmp_path / "a.tif", picture(64, 64, 1), crs=None, transform=None)
        try:
            rasterio.shutil.copy(tmp_path / "a.tif", path, driver=driver)
        except (rasterio.errors.RasterioError, rasterio._err.CPLE_BaseError):
            pytest.skip("this build writes none")
    said = refusal(path)
    assert name in said
    assert "gdal_translate -co COMPRESS=DEFLATE 'strange scene.dat' 'strange scene-new.tif'" in said


def test_archives_data_bases_and_pages_are_named(tmp_path: Path) -> None:
    for suffix, name in ((".zip", "ZIP archive"), (".gz", "gzip archive"), (".db", "SQLite"), (".html", "web page")):
        path = tmp_path / f"a{suffix}"
        if suffix == ".zip":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("a.txt", "a")
        elif suffix == ".gz":
            path.write_bytes(gzip.compress(b"a"))
        elif suffix == ".db":
            with sqlite3.connect(path) as base:
                base.execute("create table a (b)")
            base.close()
        else:
            path.write_text("\n<HTML><body>Log in</body>")
        assert name in refusal(path)


@pytest.mark.parametrize("code", [34712, 34934, 50002, 34661, 65000])
def test_a_compression_that_this_build_lacks_is_named(code: int, tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "scene.tif", picture(64, 64))
    data = bytearray(path.read_bytes())
    start = struct.unpack_from("<I", data, 4)[0]
    for entry in range(struct.unpack_from("<H", data, start)[0]):
        at = start + 2 + 12 * entry
        if struct.unpack_from("<H", data, at)[0] == 259:
            struct.pack_into("<H", data, at + 8, code)
    path.write_bytes(data)
    said = refusal(path)
    assert f"TIFF compression {code}" in said
    assert "gdal_translate -co COMPRESS=DEFLATE scene.tif scene-new.tif" in said


def test_a_text_that_begins_like_a_format_is_none(tmp_path: Path) -> None:
    for text in ("FORMAL", "BMX", "P5ycho", "envious"):
        path = tmp_path / "a.tif"
        path.write_text(text * 10)
        assert "damaged or no raster" in refusal(path) or "IFF" in refusal(path)


def test_a_picture_that_promises_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(picture(64, 64, 1)[..., 0]).save(path)
    data = bytearray(path.read_bytes())
    struct.pack_into(">II", data, 16, 40_000, 50_000)
    struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    path.write_bytes(data)
    assert "promises 40000 x 50000 pixels" in refusal(path)


def test_the_same_of_a_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(picture(64, 64, 1)[..., 0]).save(path, progressive=True)
    data = bytearray(path.read_bytes())
    struct.pack_into(">HH", data, data.index(b"\xff\xc2") + 5, 50_000, 40_000)
    path.write_bytes(data)
    assert "promises 40000 x 50000 pixels" in refusal(path)
