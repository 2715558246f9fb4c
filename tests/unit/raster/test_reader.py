"""Reading scenes: equal to rasterio's own whole-scene read for every kind of file, on any lattice."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from pipeline.config import RasterConfig
from pipeline.raster.overview import measure_stretch, read_coverage, read_thumbnail
from pipeline.raster.reader import SceneReader
from pipeline.raster.scene import open_scene
from pipeline.types import Window
from tests.support.reading import CONFIG, native, read, reference, resampled
from tests.support.scenes import HEIGHT, KINDS, WIDTH, disc, picture, write_geotiff


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
def test_overlapping_windows_are_equal_when_resampled(kind: str, scales: tuple[float, float], tmp_path: Path) -> None:
    """The lattice is one grid: also when strips of a few rows force the reader to carry source rows over."""
    scene = open_scene(str(KINDS[kind](tmp_path)), CONFIG)
    lattice = resampled(scene, *scales)
    part = Window(x=11, y=7, width=lattice.width - 20, height=lattice.height - 13)
    [(whole, whole_valid)] = read(scene, lattice, lattice.window)
    [(pixels, valid)] = read(scene, lattice, part, strip_px=5 * WIDTH)
    area = (slice(part.y, part.y1), slice(part.x, part.x1))
    assert pixels.tobytes() == whole[area].tobytes()
    assert (valid == whole_valid[area]).all()
    assert whole_valid.any()


def test_resampling_decodes_every_source_row_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strips of lattice rows share source rows: those are kept, not read again."""
    scene = open_scene(str(KINDS["strip_uint8"](tmp_path)), CONFIG)
    lattice = resampled(scene, 1.5, 1.5)
    rows: list[int] = []
    with SceneReader(scene, lattice, measure_stretch(scene, CONFIG), CONFIG, strip_px=5 * WIDTH) as reader:
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


@pytest.mark.parametrize("bands", [(3, 1, 2), (5,), (2, 2, 2), (1, 2, 3, 4)])
def test_bands_are_delivered_in_the_order_asked_for(bands: tuple[int, ...], tmp_path: Path) -> None:
    full = picture(HEIGHT, WIDTH, 5)
    config = RasterConfig(bands=bands)
    scene = open_scene(str(write_geotiff(tmp_path / "five.tif", full)), config)
    [(pixels, _)] = read(scene, native(scene), native(scene).window, config=config)
    assert (pixels == full[..., [band - 1 for band in bands]]).all()


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
    assert read_coverage(scene, native(scene), CONFIG).all()


def test_an_all_nodata_scene_is_read_as_nothing(tmp_path: Path) -> None:
    scene = open_scene(str(KINDS["all_nodata"](tmp_path)), CONFIG)
    stretch = measure_stretch(scene, CONFIG)
    assert stretch.kind == "none"
    assert "no valid pixel" in stretch.source
    [(pixels, valid)] = read(scene, resampled(scene, 1.5, 1.5), Window(x=0, y=0, width=90, height=80))
    assert not pixels.any()
    assert not valid.any()
    assert not read_coverage(scene, native(scene), CONFIG).any()
    assert not read_thumbnail(scene, stretch, CONFIG, 64)[1].any()


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
