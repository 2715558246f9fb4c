"""What headers say of a scene: its place, blocks and facts; and which files are refused."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import rasterio

from pipeline.config import RasterConfig
from pipeline.errors import ConfigError, SceneNotFound, SceneNotGeoreferenced, SceneUnreadable
from pipeline.pixels.decoding import decode_window
from pipeline.raster.scene import iso_time, open_scene, scene_facts
from pipeline.types import Window
from tests.support.reading import CONFIG, native, read
from tests.support.scenes import (
    GEOREFERENCES,
    HEIGHT,
    KINDS,
    NORTH_UP,
    UTM,
    WIDTH,
    ground_control_points,
    picture,
    write_geotiff,
)


@pytest.mark.parametrize("name", GEOREFERENCES)
def test_transforms_arrive_as_they_are(name: str, tmp_path: Path) -> None:
    crs, transform = GEOREFERENCES[name]
    scene = open_scene(str(KINDS[name](tmp_path)), CONFIG)
    assert scene.georeferenced
    assert scene.transform == pytest.approx(tuple(transform)[:6])
    assert rasterio.CRS.from_wkt(scene.crs_wkt) == rasterio.CRS.from_string(crs)


def test_ground_control_points_arrive_with_their_crs(tmp_path: Path) -> None:
    scene = open_scene(str(KINDS["gcps"](tmp_path)), CONFIG)
    assert scene.transform is None
    assert scene.georeferenced
    assert len(scene.gcps) == 9
    corner = scene.gcps[-1]
    assert (corner.column, corner.row) == (WIDTH, HEIGHT)
    assert (corner.x, corner.y) == pytest.approx(NORTH_UP @ (WIDTH, HEIGHT))


def test_the_block_is_what_the_file_decodes_at_once(tmp_path: Path) -> None:
    tiled = open_scene(str(KINDS["tiled_uint8"](tmp_path)), CONFIG)
    strips = open_scene(str(KINDS["strip_uint8"](tmp_path)), CONFIG)
    assert (tiled.block_width, tiled.block_height, tiled.tiled) == (64, 64, True)
    assert (strips.block_width, strips.block_height, strips.tiled) == (WIDTH, 16, False)
    window = Window(x=70, y=60, width=10, height=10)
    assert decode_window(tiled, window) == Window(x=64, y=0, width=64, height=128)
    assert decode_window(strips, window) == Window(x=0, y=48, width=WIDTH, height=32)
    assert decode_window(tiled, Window(x=200, y=140, width=10, height=10)) == Window(x=192, y=128, width=18, height=22)


def refused(uri: str, error: type[Exception], *words: str, config: RasterConfig = CONFIG) -> None:
    with pytest.raises(error) as caught:
        open_scene(uri, config)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    for word in words:
        assert word in message, message


def test_missing_empty_and_foreign_files(tmp_path: Path) -> None:
    refused(str(tmp_path / "no.tif"), SceneNotFound, "no.tif", "no such file")
    refused(str(tmp_path), SceneUnreadable, "is a folder")
    (tmp_path / "empty.tif").write_bytes(b"")
    refused(str(tmp_path / "empty.tif"), SceneUnreadable, "0 bytes")
    (tmp_path / "text.tif").write_text("this is no raster\n" * 50)
    refused(str(tmp_path / "text.tif"), SceneUnreadable, "GTiff", "900 bytes")
    refused(" , ", SceneNotFound, "empty")
    refused("ftp://host/scene.tif", SceneUnreadable, "ftp://", "s3://")
    refused("a\0b.tif", SceneUnreadable, "U+0000")


def test_formats_outside_the_list_are_refused(tmp_path: Path) -> None:
    """Also when GDAL could read them: here an ENVI raster and an ASCII grid that name no other file."""
    raster = write_geotiff(tmp_path / "scene.img", picture(20, 30, 1), driver="ENVI")
    refused(str(raster), SceneUnreadable, "GTiff", "gdal_translate")
    (tmp_path / "grid.asc").write_text("ncols 2\nnrows 1\nxllcorner 0\nyllcorner 0\ncellsize 1\n1 2\n")
    refused(str(tmp_path / "grid.asc"), SceneUnreadable, "GTiff")


def vrt(folder: Path, bands: str) -> Path:
    path = folder / "scene.vrt"
    path.write_text(f'<VRTDataset rasterXSize="{WIDTH}" rasterYSize="{HEIGHT}">{bands}</VRTDataset>')
    return path


def test_a_vrt_is_read_only_when_it_is_allowed(tmp_path: Path) -> None:
    KINDS["grey_uint8"](tmp_path)
    path = vrt(tmp_path, '<VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
               '<SourceFilename relativeToVRT="1">scene.tif</SourceFilename><SourceBand>1</SourceBand>'
               '</SimpleSource></VRTRasterBand>')  # fmt: skip
    refused(str(path), SceneUnreadable, "VRT", "--raster.allow_vrt")
    config = RasterConfig(allow_vrt=True)
    scene = open_scene(str(path), config)
    [(pixels, _)] = read(scene, native(scene), native(scene).window, config=config)
    assert (pixels[..., 0] == picture(HEIGHT, WIDTH, 1)[..., 0]).all()


def test_a_raster_without_bands_is_refused(tmp_path: Path) -> None:
    """GDAL opens no VRT without a band, so what a user meets is the sentence about a damaged file."""
    refused(str(vrt(tmp_path, "")), SceneUnreadable, "damaged", config=RasterConfig(allow_vrt=True))


@pytest.mark.parametrize("tiled", [True, False])
@pytest.mark.parametrize("kept", [0.03, 0.5, 0.9])
def test_truncated_files_are_found_before_the_run(tiled: bool, kept: float, tmp_path: Path) -> None:
    """A broken download: the header is there, the pixels are not."""
    path = write_geotiff(tmp_path / "scene.tif", picture(HEIGHT, WIDTH), tiled=tiled, block_px=16)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    refused(str(path), SceneUnreadable, "scene.tif")


def write_tiff_by_hand(path: Path, **replaced: int) -> Path:
    """A minimal little-endian TIFF of one strip, with any of its tags replaced."""
    tags = {"width": (256, 8), "height": (257, 8), "bits": (258, 8), "compression": (259, 1), "photometric": (262, 1),
            "offset": (273, 8), "samples": (277, 1), "rows": (278, 8), "size": (279, 64)}  # fmt: skip
    extra = {"tile_width": 322, "tile_height": 323, "tile_offset": 324, "tile_size": 325}
    entries = {tag: replaced.get(name, value) for name, (tag, value) in tags.items()}
    entries |= {extra[name]: value for name, value in replaced.items() if name in extra}
    if "tile_width" in replaced:
        entries = {tag: value for tag, value in entries.items() if tag not in (273, 278, 279)}
    data = struct.pack("<2sHI", b"II", 42, 72) + bytes(64) + struct.pack("<H", len(entries))
    for tag, value in sorted(entries.items()):
        data += struct.pack("<HHII", tag, 4, 1, value)
    path.write_bytes(data + bytes(4))
    return path


def test_zero_bands_and_absurd_sizes_in_a_tiff(tmp_path: Path) -> None:
    good = write_tiff_by_hand(tmp_path / "good.tif")
    assert open_scene(str(good), CONFIG).width == 8
    refused(str(write_tiff_by_hand(tmp_path / "zero.tif", samples=0)), SceneUnreadable, "zero.tif")
    refused(str(write_tiff_by_hand(tmp_path / "flat.tif", width=0)), SceneUnreadable, "flat.tif")
    huge = write_tiff_by_hand(tmp_path / "huge.tif", width=40_000, height=40_000, tile_width=32_768,
                              tile_height=32_768, tile_offset=8, tile_size=64)  # fmt: skip
    refused(str(huge), SceneUnreadable, "huge.tif")


def test_blocks_too_large_to_decode_are_refused(tmp_path: Path) -> None:
    pixels = np.zeros((2000, 2001, 1), np.uint8)
    path = write_geotiff(tmp_path / "scene.tif", pixels, tiled=False, block_px=2000)
    refused(str(path), SceneUnreadable, "2001 x 2000", "max_block_mb is 4", config=RasterConfig(max_block_mb=4))
    open_scene(str(path), RasterConfig(max_block_mb=5))


@pytest.mark.parametrize("dtype", ["complex64", "complex_int16"])
def test_complex_pixels_are_refused(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    with rasterio.open(path, "w", driver="GTiff", width=20, height=20, count=1, dtype=dtype, crs=UTM,
                       transform=NORTH_UP):  # fmt: skip
        pass
    refused(str(path), SceneUnreadable, "complex")


def test_half_a_georeference_is_refused(tmp_path: Path) -> None:
    pixels = picture(20, 30)
    points = ground_control_points(30, 20)
    no_crs = write_geotiff(tmp_path / "a.tif", pixels, crs=None)
    no_transform = write_geotiff(tmp_path / "b.tif", pixels, transform=None)
    two_points = write_geotiff(tmp_path / "c.tif", pixels, gcps=points[:2])
    refused(str(no_crs), SceneNotGeoreferenced, "transform but no CRS", "--raster.crs EPSG:", "gdal_edit")
    refused(str(no_transform), SceneNotGeoreferenced, "a CRS but no transform", "gdal_edit")
    refused(str(two_points), SceneNotGeoreferenced, "2 ground control points")


def test_a_world_file_without_a_crs_is_half_a_georeference(tmp_path: Path) -> None:
    path = KINDS["png"](tmp_path)
    assert not open_scene(str(path), CONFIG).georeferenced
    path.with_suffix(".pgw").write_text("10\n0\n0\n-10\n500000\n5000000\n")
    refused(str(path), SceneNotGeoreferenced, "no CRS", "--raster.crs")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2023:07:14 10:20:30", "2023-07-14T10:20:30"),
        ("20230714T102030", "2023-07-14T10:20:30"),
        ("2023-07-14T10:20:30.123Z", "2023-07-14T10:20:30Z"),
        ("2023-07-14", "2023-07-14"),
        ("2023-07-14 10:20:30+02:00", "2023-07-14T10:20:30+02:00"),
        ("yesterday", None),
        ("2023-13-45", None),
    ],
)
def test_times_become_iso_8601(text: str, expected: str | None) -> None:
    assert iso_time(text) == expected


def test_facts_come_from_the_tags(tmp_path: Path) -> None:
    tags = {
        "ACQUISITION_DATETIME": "2023-07-14 10:20:30",
        "TIFFTAG_COPYRIGHT": "Someone 2023",
        "platform": "Sentinel-2A",
    }
    scene = open_scene(str(write_geotiff(tmp_path / "a.tif", picture(20, 20), tags=tags)), CONFIG)
    assert (scene.acquired, scene.sensor, scene.attribution) == ("2023-07-14T10:20:30", "Sentinel-2A", "Someone 2023")
    assert scene_facts({"ACQUISITIONDATETIME": "2020-01-01 00:00:00", "TIFFTAG_DATETIME": "2023:07:14 10:20:30"})[
        "acquired"
    ] == "2020-01-01T00:00:00"  # fmt: skip
    for made in ("TIFFTAG_DATETIME", "EXIF_DateTime", "EXIF_DateTimeDigitized", "CREATION_DATE"):
        assert scene_facts({made: "2023:07:14 10:20:30"})["acquired"] is None, "the file's making is no acquisition"
    assert scene_facts({"EXIF_DateTimeOriginal": "2023:07:14 10:20:30"})["acquired"] == "2023-07-14T10:20:30"
    assert scene_facts({}) == {"acquired": None, "sensor": None, "attribution": None}


def test_files_of_different_grids_are_no_scene(tmp_path: Path) -> None:
    first = write_geotiff(tmp_path / "a.tif", picture(40, 50, 1))
    smaller = write_geotiff(tmp_path / "b.tif", picture(40, 49, 1))
    moved = write_geotiff(tmp_path / "c.tif", picture(40, 50, 1), transform=NORTH_UP @ NORTH_UP.translation(1, 0))
    colour = write_geotiff(tmp_path / "d.tif", picture(40, 50, 3))
    with pytest.raises(SceneUnreadable, match=r"49 x 40 pixels and .* 50 x 40"):
        open_scene(f"{first},{smaller}", CONFIG)
    with pytest.raises(SceneUnreadable, match="differ in CRS, transform or pixel type"):
        open_scene(f"{first},{moved}", CONFIG)
    with pytest.raises(SceneUnreadable, match="3 bands; only files of one band"):
        open_scene(f"{first},{colour}", CONFIG)


def test_a_band_the_file_has_not_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"band 4, but .* has 3 bands"):
        open_scene(str(KINDS["tiled_uint8"](tmp_path)), RasterConfig(bands=(1, 4)))
