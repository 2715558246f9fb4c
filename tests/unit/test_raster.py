"""Reading scenes: equal to rasterio's own whole-scene read for every kind of file, and clear about what is wrong."""

from __future__ import annotations

import struct
import threading
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from pipeline.config import RasterConfig
from pipeline.errors import ConfigError, SceneNotFound, SceneNotGeoreferenced, SceneUnreadable, StorageError
from pipeline.names import public_uri
from pipeline.raster import (
    SceneReader,
    _decimated,
    decode_window,
    measure_stretch,
    open_scene,
    read_coverage,
    read_thumbnail,
    write_scene,
)
from pipeline.raster_files import Pixels
from pipeline.raster_scene import iso_time, scene_facts, scene_id_of
from pipeline.types import Lattice, Scene, Window
from tests.scenes import (
    GEOREFERENCES,
    HEIGHT,
    KINDS,
    NORTH_UP,
    UTM,
    WIDTH,
    damage_block,
    disc,
    ground_control_points,
    picture,
    write_geotiff,
)

CONFIG = RasterConfig()


def native(scene: Scene) -> Lattice:
    return Lattice(width=scene.width, height=scene.height, scale_x=1.0, scale_y=1.0, gsd_m=None)


def resampled(scene: Scene, scale_x: float, scale_y: float) -> Lattice:
    width, height = int(np.ceil(scene.width / scale_x)), int(np.ceil(scene.height / scale_y))
    return Lattice(width=width, height=height, scale_x=scale_x, scale_y=scale_y, gsd_m=None)


def read(scene: Scene, lattice: Lattice, *windows: Window, config: RasterConfig = CONFIG) -> list[tuple[Any, Any]]:
    with SceneReader(scene, lattice, measure_stretch(scene, config), config) as reader:
        return [reader.read(window) for window in windows]


def reference(path: Path, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """The whole scene by rasterio alone, stretched in float64 by the formula of ``Stretch``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            values = file.read(list(scene.bands)).transpose(1, 2, 0).astype(np.float64)
            valid = (file.dataset_mask() > 0) & np.isfinite(values).all(axis=-1)
            if file.colorinterp[0].name == "palette":
                table = file.colormap(1)
                values = np.array([table[k][:3] for k in range(4)], np.float64)[values[..., 0].astype(int)]
    stretch = measure_stretch(scene, CONFIG)
    low, high = np.array(stretch.low), np.array(stretch.high)
    values = np.where(valid[..., None], values, low)
    return np.clip(np.floor(255 * (values - low) / (high - low) + 0.5), 0, 255) * valid[..., None], valid


@pytest.mark.parametrize("kind", KINDS)
def test_equal_to_rasterio_for_every_kind_of_file(kind: str, tmp_path: Path) -> None:
    """Differential: any window of ours is the same part of rasterio's whole-scene read."""
    path = KINDS[kind](tmp_path)
    scene = open_scene(str(path), CONFIG)
    assert (scene.width, scene.height) == (WIDTH, HEIGHT)
    expected, expected_valid = reference(path, scene)
    windows = [native(scene).window, Window(x=63, y=60, width=80, height=70), Window(x=209, y=0, width=1, height=150)]
    tolerance = 1 if scene.dtype == "float32" else 0
    for window, (pixels, valid) in zip(windows, read(scene, native(scene), *windows), strict=True):
        area = (slice(window.y, window.y1), slice(window.x, window.x1))
        assert pixels.dtype == np.uint8
        assert (valid == expected_valid[area]).all()
        assert np.abs(pixels - expected[area]).max() <= tolerance


@pytest.mark.parametrize("kind", ["uint16", "int16", "float32"])
def test_the_stretch_uses_the_whole_range(kind: str, tmp_path: Path) -> None:
    """16-bit and float scenes come out bright and dark, not black, white or wrapped."""
    scene = open_scene(str(KINDS[kind](tmp_path)), CONFIG)
    stretch = measure_stretch(scene, CONFIG)
    [(pixels, _)] = read(scene, native(scene), native(scene).window)
    assert stretch.kind == "percentile"
    assert 0.005 < (pixels == 0).mean() < 0.03
    assert 0.005 < (pixels == 255).mean() < 0.03
    assert 80 < pixels.mean() < 175


def test_outside_of_the_lattice_is_zero_and_invalid(tmp_path: Path) -> None:
    scene = open_scene(str(KINDS["tiled_uint8"](tmp_path)), CONFIG)
    around = Window(x=-7, y=-5, width=WIDTH + 20, height=HEIGHT + 9)
    away = Window(x=WIDTH + 3, y=0, width=4, height=5)
    (whole, _), (pixels, valid), (nothing, no_valid) = read(scene, native(scene), native(scene).window, around, away)
    assert (pixels[5 : 5 + HEIGHT, 7 : 7 + WIDTH] == whole).all()
    assert valid.sum() == HEIGHT * WIDTH
    assert pixels[~valid].max() == 0
    assert not nothing.any()
    assert not no_valid.any()


@pytest.mark.parametrize("kind", ["tiled_uint8", "strip_uint8", "mask_uint16_overviews", "float32_nan", "nodata_uint8"])
@pytest.mark.parametrize("scales", [(0.5, 0.5), (1.7, 1.7), (2.5, 0.8)])
def test_overlapping_windows_are_equal_when_resampled(
    kind: str, scales: tuple[float, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lattice is one grid: also when strips of a few rows force the reader to carry source rows over."""
    scene = open_scene(str(KINDS[kind](tmp_path)), CONFIG)
    lattice = resampled(scene, *scales)
    part = Window(x=11, y=7, width=lattice.width - 20, height=lattice.height - 13)
    [(whole, whole_valid)] = read(scene, lattice, lattice.window)
    monkeypatch.setattr("pipeline.raster.STRIP_PX", 5 * WIDTH)
    [(pixels, valid)] = read(scene, lattice, part)
    area = (slice(part.y, part.y1), slice(part.x, part.x1))
    assert pixels.tobytes() == whole[area].tobytes()
    assert (valid == whole_valid[area]).all()
    assert whole_valid.any()


def test_resampling_decodes_every_source_row_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strips of lattice rows share source rows: those are kept, not read again."""
    scene = open_scene(str(KINDS["strip_uint8"](tmp_path)), CONFIG)
    lattice = resampled(scene, 1.5, 1.5)
    monkeypatch.setattr("pipeline.raster.STRIP_PX", 5 * WIDTH)
    rows: list[int] = []
    with SceneReader(scene, lattice, measure_stretch(scene, CONFIG), CONFIG) as reader:
        assert reader._pixels is not None
        real = reader._pixels.read

        def count(window: Window, **options: Any) -> Any:
            rows.extend(range(window.y, window.y1))
            return real(window, **options)

        monkeypatch.setattr(reader._pixels, "read", count)
        reader.read(lattice.window)
    assert rows == list(range(HEIGHT))


def test_resampling_keeps_the_mean_and_the_place(tmp_path: Path) -> None:
    """A bright square stays where it is on the ground: columns [40, 80) are [20, 40) at half resolution."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[20:60, 40:80] = 200
    scene = open_scene(str(write_geotiff(tmp_path / "square.tif", pixels)), CONFIG)
    [(half, _)] = read(scene, resampled(scene, 2.0, 2.0), Window(x=0, y=0, width=105, height=75))
    assert (half[11:29, 21:39] == 200).all()
    assert half[:9].max() == 0
    assert half[:, 41:].max() == 0
    assert half.mean() == pytest.approx(pixels.mean(), rel=0.01)


def test_several_files_are_one_scene(tmp_path: Path) -> None:
    """Sentinel-2 as it is delivered: one JPEG 2000 file per band, in the order given."""
    full = picture(HEIGHT, WIDTH, 3, "uint16")
    paths = [tmp_path / f"T33UUP_20230714T102030_B0{band}.jp2" for band in (4, 3, 2)]
    for band, path in enumerate(paths):
        write_geotiff(path, full[..., band : band + 1], driver="JP2OpenJPEG")
    scene = open_scene(",".join(map(str, paths)), CONFIG)
    assert scene.band_count == 3
    assert scene.scene_id == "T33UUP_20230714T102030_B04-B03-B02"
    [(pixels, valid)] = read(scene, native(scene), native(scene).window)
    for band, path in enumerate(paths):
        one = open_scene(str(path), CONFIG)
        [(grey, _)] = read(one, native(one), native(one).window)
        assert (grey[..., 0] == pixels[..., band]).all()
    assert valid.all()
    swapped = open_scene(",".join(map(str, paths)), RasterConfig(bands=(3, 2, 1)))
    [(reverse, _)] = read(swapped, native(swapped), native(swapped).window)
    assert (reverse == pixels[..., ::-1]).all()


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


@pytest.mark.parametrize("bands", [(3, 1, 2), (5,), (2, 2, 2), (1, 2, 3, 4)])
def test_bands_are_delivered_in_the_order_asked_for(bands: tuple[int, ...], tmp_path: Path) -> None:
    full = picture(HEIGHT, WIDTH, 5)
    config = RasterConfig(bands=bands)
    scene = open_scene(str(write_geotiff(tmp_path / "five.tif", full)), config)
    [(pixels, _)] = read(scene, native(scene), native(scene).window, config=config)
    assert (pixels == full[..., [band - 1 for band in bands]]).all()


def test_a_band_the_file_has_not_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"band 4, but .* has 3 bands"):
        open_scene(str(KINDS["tiled_uint8"](tmp_path)), RasterConfig(bands=(1, 4)))


@pytest.mark.parametrize(("count", "bands"), [(2, (1, 1, 1)), (3, (1, 1, 1)), (4, (1, 2, 3)), (5, (1, 2, 3))])
def test_alpha_is_a_mask_and_never_a_colour(count: int, bands: tuple[int, ...], tmp_path: Path) -> None:
    """Also where GDAL itself does not take it for a mask: beside two or four other bands."""
    pixels = picture(HEIGHT, WIDTH, count)
    pixels[..., -1] = np.where(disc(HEIGHT, WIDTH), 200, 0)
    scene = open_scene(str(write_geotiff(tmp_path / "alpha.tif", pixels, alpha=True)), CONFIG)
    assert scene.bands == bands
    assert scene.has_mask
    [(_, valid)] = read(scene, native(scene), native(scene).window)
    assert (valid == disc(HEIGHT, WIDTH)).all()


def test_the_runs_nodata_replaces_the_files_own(tmp_path: Path) -> None:
    pixels = picture(HEIGHT, WIDTH)
    pixels[:20] = 7
    path = write_geotiff(tmp_path / "scene.tif", pixels, nodata=0)
    config = RasterConfig(nodata=7)
    scene = open_scene(str(path), config)
    [(_, valid)] = read(scene, native(scene), native(scene).window, config=config)
    assert not valid[:20].any()
    assert valid[20:].all()


@pytest.mark.parametrize("nodata", [-9999.0, 0.5])
def test_a_nodata_value_the_type_cannot_hold_hides_nothing(nodata: float, tmp_path: Path) -> None:
    """-9999 in a uint8 file must not wrap to a real value."""
    path, config = write_geotiff(tmp_path / "scene.tif", picture(HEIGHT, WIDTH)), RasterConfig(nodata=nodata)
    scene = open_scene(str(path), config)
    [(_, valid)] = read(scene, native(scene), native(scene).window, config=config)
    assert valid.all()
    assert read_coverage(scene, native(scene)).all()


def test_an_all_nodata_scene_is_read_as_nothing(tmp_path: Path) -> None:
    scene = open_scene(str(KINDS["all_nodata"](tmp_path)), CONFIG)
    stretch = measure_stretch(scene, CONFIG)
    assert stretch.kind == "none"
    assert "no valid pixel" in stretch.source
    [(pixels, valid)] = read(scene, resampled(scene, 1.5, 1.5), Window(x=0, y=0, width=90, height=80))
    assert not pixels.any()
    assert not valid.any()
    assert not read_coverage(scene, native(scene)).any()
    assert not read_thumbnail(scene, stretch, CONFIG, 64)[1].any()


@pytest.mark.parametrize("kind", ["mask", "nodata_uint8", "rgba", "float32_nan", "nodata_uint16_strip"])
@pytest.mark.parametrize("side", [1, 7, 33, 2048])
def test_coverage_is_exact_without_overviews(kind: str, side: int, tmp_path: Path) -> None:
    """A cell is True iff some valid pixel touches it; counted from the full validity mask."""
    path = KINDS[kind](tmp_path)
    scene = open_scene(str(path), CONFIG)
    lattice = resampled(scene, 1.3, 1.3)
    cover = read_coverage(scene, lattice, side)
    _, valid = reference(path, scene)
    assert max(cover.shape) <= side
    height, width = lattice.height * 1.3 / cover.shape[0], lattice.width * 1.3 / cover.shape[1]
    for row in range(0, cover.shape[0], 5):
        for column in range(0, cover.shape[1], 5):
            top, left = int(row * height + 1e-6), int(column * width + 1e-6)
            end, right = int(np.ceil((row + 1) * height - 1e-6)), int(np.ceil((column + 1) * width - 1e-6))
            assert cover[row, column] == valid[top:end, left:right].any()


@pytest.mark.parametrize("kind", ["mask", "nodata_uint8", "float32_nan", "nodata_uint16_strip"])
def test_coverage_of_a_wide_scene_is_pieced_together(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Part of a row at a time, where a row holds too many pixels: the same answer."""
    scene = open_scene(str(KINDS[kind](tmp_path)), CONFIG)
    whole = read_coverage(scene, native(scene), 25)
    monkeypatch.setattr("pipeline.raster.COVER_PX", 1)
    assert (read_coverage(scene, native(scene), 25) == whole).all()


def test_coverage_from_overviews_never_hides_a_valid_pixel(tmp_path: Path) -> None:
    """Islands of 6 pixels survive an overview of factor 4; most of the sea is known to be empty."""
    valid = np.zeros((800, 1000), np.bool_)
    for y, x in np.random.default_rng(3).integers(0, 790, (25, 2)):
        valid[y : y + 6, x : x + 6] = True
    path = write_geotiff(tmp_path / "islands.tif", picture(800, 1000), mask=valid, overviews=(2, 4))
    scene = open_scene(str(path), CONFIG)
    assert scene.overviews == (2, 4)
    cover = read_coverage(scene, native(scene), 250)
    assert cover.shape == (200, 250)
    for y, x in np.argwhere(valid):
        assert cover[y // 4, x // 4]
    assert cover.mean() < 0.1


def test_scenes_without_holes_are_covered_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = open_scene(str(KINDS["uint16"](tmp_path)), CONFIG)
    monkeypatch.setattr("pipeline.raster.Pixels", None)
    assert read_coverage(scene, native(scene), 100).shape == (71, 100)
    assert read_coverage(scene, native(scene), 100).all()


def test_the_stretch_says_where_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of a small scene; of a large one an overview, else a decimated read, else (too large for that) windows."""
    (tmp_path / "large").mkdir()
    with_overviews = open_scene(str(KINDS["mask_uint16_overviews"](tmp_path / "large")), CONFIG)
    assert measure_stretch(with_overviews, CONFIG).source == "all pixels"
    plain = open_scene(str(KINDS["uint16"](tmp_path)), CONFIG)
    full = measure_stretch(plain, CONFIG)
    assert full.source == "all pixels"
    monkeypatch.setattr("pipeline.raster.SAMPLE_PX", HEIGHT * WIDTH // 9)
    assert measure_stretch(with_overviews, CONFIG).source == f"overview {with_overviews.overviews[-1]}"
    decimated = measure_stretch(plain, CONFIG)
    assert decimated.source == "decimated read 1/3"
    assert decimated.low == pytest.approx(full.low, rel=0.25)
    assert decimated.high == pytest.approx(full.high, rel=0.05)
    assert measure_stretch(plain, CONFIG) == decimated
    monkeypatch.setattr("pipeline.raster.FULL_PASS_PX", 1000)
    sampled = measure_stretch(plain, CONFIG)
    assert "windows" in sampled.source
    assert sampled.high == pytest.approx(full.high, rel=0.05)


@pytest.mark.parametrize("kind", ["uint16", "grey_uint8", "overviews", "rgba", "png_palette", "five_bands_uint16"])
def test_thumbnails_are_small_pictures_of_the_whole(kind: str, tmp_path: Path) -> None:
    scene = open_scene(str(KINDS[kind](tmp_path)), CONFIG)
    stretch = measure_stretch(scene, CONFIG)
    picture_, valid = read_thumbnail(scene, stretch, CONFIG, 70)
    assert picture_.shape == (50, 70, 3)
    assert picture_.dtype == np.uint8
    [(full, full_valid)] = read(scene, native(scene), native(scene).window)
    assert picture_.mean() == pytest.approx(full.mean(), rel=0.1)
    assert valid.mean() == pytest.approx(full_valid.mean(), abs=0.05)
    assert read_thumbnail(scene, stretch, CONFIG, 4096)[0].shape == (HEIGHT, WIDTH, 3)


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


def test_a_reader_belongs_to_one_thread(tmp_path: Path) -> None:
    """GDAL's handles are not safe to share: sharing one fails at once instead of corrupting pixels."""
    scene = open_scene(str(KINDS["tiled_uint8"](tmp_path)), CONFIG)
    caught: list[BaseException] = []
    with SceneReader(scene, native(scene), measure_stretch(scene, CONFIG), CONFIG) as reader:

        def steal() -> None:
            try:
                reader.read(native(scene).window)
            except AssertionError as error:
                caught.append(error)

        thread = threading.Thread(target=steal)
        thread.start()
        thread.join()
    assert len(caught) == 1


# What is wrong with a scene, in one sentence


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


def test_damage_inside_a_file_is_named_with_its_place(tmp_path: Path) -> None:
    """Headers cannot tell; reading the damaged block does, and the other blocks stay readable."""
    path = write_geotiff(tmp_path / "scene.tif", picture(HEIGHT, WIDTH))
    with rasterio.open(path) as file:
        offset = int(file.get_tag_item("BLOCK_OFFSET_1_1", "TIFF", bidx=1))
    data = bytearray(path.read_bytes())
    data[offset + 2 : offset + 200] = bytes(198)
    path.write_bytes(data)
    scene = open_scene(str(path), CONFIG)
    with SceneReader(scene, native(scene), measure_stretch(scene, CONFIG), CONFIG) as reader:
        with pytest.raises(SceneUnreadable, match=r"damaged: columns 64 to 128, rows 64 to 128"):
            reader.read(Window(x=64, y=64, width=64, height=64))
        assert (reader.read(Window(x=0, y=0, width=64, height=64))[0] == picture(HEIGHT, WIDTH)[:64, :64]).all()


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
    refused(str(no_crs), SceneNotGeoreferenced, "transform but no CRS", "gdal_edit")
    refused(str(no_transform), SceneNotGeoreferenced, "a CRS but no transform", "gdal_edit")
    refused(str(two_points), SceneNotGeoreferenced, "2 ground control points")


def test_a_world_file_without_a_crs_is_half_a_georeference(tmp_path: Path) -> None:
    path = KINDS["png"](tmp_path)
    assert not open_scene(str(path), CONFIG).georeferenced
    path.with_suffix(".pgw").write_text("10\n0\n0\n-10\n500000\n5000000\n")
    refused(str(path), SceneNotGeoreferenced, "no CRS")


# Names and facts


@pytest.mark.parametrize(
    ("uris", "expected"),
    [
        (("/data/port of genoa (1).tif",), "port_of_genoa_1"),
        (("s3://bucket/a/b/scene.v2.tif",), "scene.v2"),
        (("https://host/x/scene.tif?token=secret/../..",), "scene"),
        (("/x/..hidden.tif",), "hidden"),
        (("/x/港.tif",), "scene"),
        (("/x/" + "a" * 300 + ".tif",), "a" * 120),
        (("B04.jp2", "B03.jp2", "B02.jp2"), "B04-B03-B02"),
        (("S2_B04_10m.jp2", "S2_B03_10m.jp2"), "S2_B04_10m-B03_10m"),
        (("a/same.tif", "b/same.tif"), "same"),
    ],
)
def test_scene_ids_are_safe_folder_names(uris: tuple[str, ...], expected: str) -> None:
    assert scene_id_of(uris) == expected


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://me:word@host:8443/a/b.tif?sig=secret#x", "https://host:8443/a/b.tif"),
        ("s3://bucket/key.tif", "s3://bucket/key.tif"),
        ("/local/a?b.tif", "/local/a?b.tif"),
    ],
)
def test_messages_and_records_show_no_credentials(uri: str, shown: str) -> None:
    assert public_uri(uri) == shown


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
    tags = {"TIFFTAG_DATETIME": "2023:07:14 10:20:30", "TIFFTAG_COPYRIGHT": "Someone 2023", "platform": "Sentinel-2A"}
    scene = open_scene(str(write_geotiff(tmp_path / "a.tif", picture(20, 20), tags=tags)), CONFIG)
    assert (scene.acquired, scene.sensor, scene.attribution) == ("2023-07-14T10:20:30", "Sentinel-2A", "Someone 2023")
    assert scene_facts({"ACQUISITIONDATETIME": "2020-01-01 00:00:00", "TIFFTAG_DATETIME": "2023:07:14 10:20:30"})[
        "acquired"
    ] == "2020-01-01T00:00:00"  # fmt: skip
    assert scene_facts({}) == {"acquired": None, "sensor": None, "attribution": None}


# Writing


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """Streamed in windows of whole blocks; none is rendered twice, all are."""
    full = picture(300, 410, 3, "uint16")
    seen = np.zeros((300, 410), int)

    def render(window: Window) -> np.ndarray:
        area = (slice(window.y, window.y1), slice(window.x, window.x1))
        seen[area] += 1
        return full[area]

    for tiled, block_px in ((True, 128), (False, 16)):
        seen[:] = 0
        path = tmp_path / f"{tiled}.tif"
        write_scene(path, width=410, height=300, bands=3, dtype="uint16", crs=UTM, transform=tuple(NORTH_UP)[:6],
                    render=render, tiled=tiled, block_px=block_px, overviews=tiled, tags={"SENSOR": "made"},
                    nodata=0)  # fmt: skip
        assert (seen == 1).all()
        with rasterio.open(path) as file:
            assert (file.read().transpose(1, 2, 0) == full).all()
            assert file.block_shapes[0] == ((128, 128) if tiled else (16, 410))
            assert file.nodata == 0
            assert file.overviews(1) == ([2] if tiled else [])
        assert open_scene(str(path), CONFIG).sensor == "made"


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def fail(window: Window) -> np.ndarray:
        raise RuntimeError(f"no pixels for {window}")

    options: dict[str, Any] = {"width": 64, "height": 64, "bands": 1, "dtype": "uint8", "crs": None, "transform": None}
    with pytest.raises(RuntimeError, match="no pixels"):
        write_scene(tmp_path / "scene.tif", render=fail, **options)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StorageError, match="cannot be written"):
        write_scene(tmp_path / "missing" / "scene.tif", render=fail, **options)


# Real imagery


@pytest.mark.parametrize("name", ["cog.tif", "cog_cmap.tif", "cog_rgb.tif", "5dded5bc0140b80006d2e565_23.tif"])
def test_real_geotiffs_equal_rasterio(name: str, kestrel_data: Path) -> None:
    path = kestrel_data / "large_geotiff" / name
    scene = open_scene(str(path), CONFIG)
    window = Window(x=scene.width // 3, y=scene.height // 3, width=200, height=130).intersect(native(scene).window)
    assert window is not None
    raw = replace(CONFIG, bands=tuple(range(1, scene.band_count + 1)), stretch="none")
    [(pixels, valid)] = read(open_scene(str(path), raw), native(scene), window, config=raw)
    area = rasterio.windows.Window(window.x, window.y, window.width, window.height)
    with rasterio.open(path) as file:
        expected, mask = file.read(window=area).transpose(1, 2, 0), file.dataset_mask(window=area) > 0
    assert (valid == mask).all()
    assert (pixels == np.minimum(expected, 255) * mask[..., None]).all()


def test_a_real_palette_is_shown_in_its_colours(kestrel_data: Path) -> None:
    scene = open_scene(str(kestrel_data / "large_geotiff" / "cog_cmap.tif"), CONFIG)
    pixels, valid = read_thumbnail(scene, measure_stretch(scene, CONFIG), CONFIG, 300)
    with rasterio.open(scene.uris[0]) as file:
        colours = {colour[:3] for colour in file.colormap(1).values()}
    assert {tuple(map(int, colour)) for colour in np.unique(pixels[valid], axis=0)} <= colours
    assert 0.3 < valid.mean() < 0.9


def test_coverage_of_the_real_world_mask(kestrel_data: Path) -> None:
    """36000 x 18000 pixels judged on an overview: about a third is land (the file's nodata is sea)."""
    scene = open_scene(str(kestrel_data / "large_geotiff" / "cog_world.tif"), CONFIG)
    cover = read_coverage(scene, native(scene), 900)
    assert cover.shape == (450, 900)
    assert 0.3 < cover.mean() < 0.5


def test_a_wide_scene_is_sampled_in_pieces_that_fit_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or GDAL would decode each row of blocks again for every line of the sample: minutes for a strip of 22,000 px."""
    width, block, row_bytes = 3000, 64, 50_000
    columns = np.broadcast_to(np.arange(width, dtype=np.uint16)[None, :, None], (200, width, 3))
    scene = open_scene(str(write_geotiff(tmp_path / "wide.tif", columns, block_px=block)), CONFIG)
    whole, _, _ = _decimated(scene, CONFIG, width * 200 // 9)
    windows: list[Window] = []
    read_as_ever = Pixels.read

    def read_and_tell(self: Pixels, window: Window, *args: Any, **how: Any) -> Any:
        windows.append(window)
        return read_as_ever(self, window, *args, **how)

    monkeypatch.setattr("pipeline.raster.ROW_BYTES", row_bytes)
    monkeypatch.setattr(Pixels, "read", read_and_tell)
    sample, valid, source = _decimated(scene, CONFIG, width * 200 // 9)
    assert len(windows) > 20
    assert all((window.width - 2) * block * 2 * 3 <= row_bytes for window in windows)
    assert [window.x for window in windows[1:]] == [window.x1 for window in windows[:-1]]
    assert (windows[0].x, windows[-1].x1) == (0, width)
    assert valid.all()
    assert source == "decimated read 1/4"
    assert np.abs(sample.astype(int) - whole).max() < 4, "the same places, to within a step"


def test_real_sentinel_2_is_stretched(kestrel_data: Path) -> None:
    scene = open_scene(str(kestrel_data / "sen2ships" / "images" / "genoa.tif"), CONFIG)
    [(pixels, valid)] = read(scene, native(scene), native(scene).window)
    assert valid.all()
    assert 20 < pixels.mean() < 200
    assert pixels.std() > 20


def test_one_damaged_block_costs_neither_stretch_nor_picture(tmp_path: Path) -> None:
    """What can be read is as it was; around the damage the picture is blank; a file that was cut off is refused."""
    path = write_geotiff(tmp_path / "a.tif", picture(512, 512, dtype="uint16"), block_px=64)
    scene = open_scene(str(path), RasterConfig())
    sound = read_thumbnail(scene, measure_stretch(scene, RasterConfig()), RasterConfig(), 256)
    damage_block(path, column=5, row=2)
    stretch = measure_stretch(scene, RasterConfig())
    damaged = read_thumbnail(scene, stretch, RasterConfig(), 256)
    assert not damaged[1][2 * 32 : 3 * 32, 5 * 32 : 6 * 32].any()
    assert damaged[1].mean() > 0.9
    assert np.abs(damaged[0][:, :128].astype(int) - sound[0][:, :128]).max() <= 3
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SceneUnreadable):
        measure_stretch(scene, RasterConfig())


def test_the_picture_of_a_scene_too_large_to_decode_is_made_of_a_few_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each quarter of the picture shows its quarter of the scene; holes are holes; few blocks are touched."""
    side = 2048

    def render(window: Window) -> np.ndarray:
        y, x = np.mgrid[window.y : window.y1, window.x : window.x1]
        value = np.where(y < side // 2, np.where(x < side // 2, 0, 90), np.where(x < side // 2, 150, 210))
        return np.repeat(value[..., None], 3, axis=2).astype(np.uint8)

    write_scene(tmp_path / "s.tif", width=side, height=side, bands=3, dtype="uint8", crs=UTM, render=render,
                transform=tuple(NORTH_UP)[:6], block_px=16, nodata=0.0)  # fmt: skip
    scene = open_scene(str(tmp_path / "s.tif"), CONFIG)
    stretch = measure_stretch(scene, CONFIG)
    exact, exact_valid = read_thumbnail(scene, stretch, CONFIG, 256)
    monkeypatch.setattr("pipeline.raster.FULL_PASS_PX", 1000)
    read: list[int] = []
    plain = Pixels.read
    monkeypatch.setattr(Pixels, "read", lambda self, window, *rest, **how: (
        read.append(window.pixels), plain(self, window, *rest, **how))[1])  # fmt: skip
    picture, valid = read_thumbnail(scene, stretch, CONFIG, 256)
    assert sum(read) == 10 * 10 * 16 * 16
    assert np.array_equal(valid, exact_valid)
    assert np.array_equal(picture[valid], exact[valid])
