"""What is a fact of one band is kept of one band: nodata values and masks that the bands of a scene do not share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from pipeline.config import RasterConfig
from pipeline.raster.overview import measure_stretch, read_coverage
from pipeline.raster.scene import open_scene
from tests.support.reading import CONFIG, native, read
from tests.support.scenes import NORTH_UP, UTM, picture, write_geotiff

SIDE = 96


def one_band(path: Path, pixels: np.ndarray, nodata: float | None) -> Path:
    return write_geotiff(path, pixels[..., None], nodata=nodata)


@pytest.mark.parametrize(("dtype", "nodata"), [("float32", -9999.0), ("int16", -9999.0), ("uint16", 65535.0)])
@pytest.mark.parametrize("stretch", ["percentile", "minmax"])
def test_fill_in_one_band_alone_does_not_reach_its_stretch(
    dtype: str, nodata: float, stretch: str, tmp_path: Path
) -> None:
    """The band's swath ends earlier: 5 of a hundred columns of it are fill, and no pixel is a hole."""
    pixels = (1000 + 3000 * picture(SIDE, 100, dtype="float64")).astype(dtype)
    whole = write_geotiff(tmp_path / "whole.tif", pixels[:, 5:])
    holed = pixels.copy()
    holed[:, :5, 2] = nodata
    path = write_geotiff(tmp_path / "holed.tif", holed, nodata=nodata)
    config = RasterConfig(stretch=stretch)
    expected = measure_stretch(open_scene(str(whole), config), config)
    measured = measure_stretch(scene := open_scene(str(path), config), config)
    assert measured.low[2] == pytest.approx(expected.low[2])
    assert measured.high[2] == pytest.approx(expected.high[2])
    ((shown, valid),) = read(scene, native(scene), native(scene).window)
    assert valid.all()
    assert not shown[:, :5, 2].any(), "where a band has no data it is dark, also where its fill is beyond its values"


def test_files_of_one_scene_may_declare_different_nodata_values(tmp_path: Path) -> None:
    pixels = 1000 + (picture(SIDE, SIDE, dtype="float64") * 3000).astype(np.int16)
    fills = (0, -9999, 32000)
    for band, fill in enumerate(fills):
        pixels[:10, :, band] = fill
    pixels[10:20, :, 1] = -9999
    paths = [one_band(tmp_path / f"B{n}.tif", pixels[..., n], fills[n]) for n in range(3)]
    scene = open_scene(",".join(map(str, paths)), CONFIG)
    assert (scene.nodata, scene.band_nodata) == (None, (0.0, -9999.0, 32000.0))
    stretch = measure_stretch(scene, CONFIG)
    assert min(stretch.low) >= 1000
    assert max(stretch.high) <= 4000
    ((_, valid),) = read(scene, native(scene), native(scene).window)
    assert not valid[:10].any()
    assert valid[10:].all()
    assert open_scene(scene.uris[0], RasterConfig(nodata=5.0)).nodata == 5.0
    assert open_scene(",".join(map(str, paths)), RasterConfig(nodata=5.0)).band_nodata == ()


@pytest.mark.parametrize("declaring", [0, 1, 2])
def test_a_value_that_one_file_of_a_scene_declares_holds_for_those_that_declare_none(
    declaring: int, tmp_path: Path
) -> None:
    pixels = 1000 + (picture(SIDE, SIDE, dtype="float64") * 3000).astype(np.int16)
    pixels[:10] = -9999
    names = [f"B{n}.tif" for n in range(3)]
    paths = [one_band(tmp_path / names[n], pixels[..., n], -9999 if n == declaring else None) for n in range(3)]
    scene = open_scene(",".join(map(str, paths)), CONFIG)
    assert (scene.nodata, scene.band_nodata) == (-9999.0, ())
    assert min(measure_stretch(scene, CONFIG).low) >= 1000


def test_masks_of_single_bands_are_heard(tmp_path: Path) -> None:
    """As rasterio joins them: valid where any band is; and a stretch leaves out what its own band's mask hides."""
    pixels = (1000 + 3000 * picture(SIDE, SIDE, dtype="float64")).astype(np.uint16)
    masks = np.zeros((3, SIDE, SIDE), np.uint8)
    masks[0, :48], masks[1, :, :48], masks[2, :24, :24] = 255, 255, 255
    pixels[..., 1][masks[1] == 0] = 60000
    path = write_geotiff(tmp_path / "a.tif", pixels)
    grid = {"width": SIDE, "height": SIDE, "count": 3, "dtype": "uint8", "crs": UTM, "transform": NORTH_UP}
    with rasterio.open(f"{path}.msk", "w", driver="GTiff", **grid) as file:
        file.write(masks)
        file.update_tags(**{f"INTERNAL_MASK_FLAGS_{band}": "0" for band in (1, 2, 3)})
    with rasterio.open(path) as file:
        assert file.mask_flag_enums == ([], [], [])
        expected = file.dataset_mask() > 0
    scene = open_scene(str(path), CONFIG)
    ((_, valid),) = read(scene, native(scene), native(scene).window)
    assert expected.mean() == 0.75
    assert np.array_equal(valid, expected)
    assert measure_stretch(scene, CONFIG).high[1] <= 4000


@pytest.mark.parametrize(("clear", "holes"), [((0, 2), (0, 2)), ((1,), (1,)), ((), ())])
def test_transparent_colours_of_a_palette_are_holes(
    clear: tuple[int, ...], holes: tuple[int, ...], tmp_path: Path
) -> None:
    """What is half transparent shows something, as in an alpha band. Of a single one GDAL makes a nodata value."""
    numbers = (np.arange(64 * 96).reshape(64, 96) // 7 % 5).astype(np.uint8)
    image = Image.fromarray(numbers, "P")
    image.putpalette([value for k in range(5) for value in (50 * k, 255 - 50 * k, 90)])
    half_transparent = bytes(0 if k in clear else 128 if k == 4 else 255 for k in range(5))
    image.save(tmp_path / "map.png", transparency=half_transparent)
    scene = open_scene(str(tmp_path / "map.png"), CONFIG)
    [(pixels, valid)] = read(scene, native(scene), native(scene).window)
    np.testing.assert_array_equal(valid, ~np.isin(numbers, holes))
    shown = np.stack([50 * numbers, 255 - 50 * numbers, np.full_like(numbers, 90)], axis=-1)
    np.testing.assert_array_equal(pixels, shown * valid[..., None])
    np.testing.assert_array_equal(read_coverage(scene, native(scene), CONFIG), valid)
    ignoring = replace(CONFIG, mask="none", nodata=float("nan"))
    scene = open_scene(str(tmp_path / "map.png"), ignoring)
    assert not scene.has_mask
    [(pixels, valid)] = read(scene, native(scene), native(scene).window, config=ignoring)
    assert valid.all()
    np.testing.assert_array_equal(pixels, shown)


def test_a_number_that_is_nodata_no_more_is_no_hole_for_its_colour(tmp_path: Path) -> None:
    """GDAL calls the colour of a TIFF's nodata transparent; who overrides the one means the other."""
    numbers = (np.arange(64 * 96).reshape(64, 96) % 4).astype(np.uint8)
    path = tmp_path / "map.tif"
    with rasterio.open(path, "w", driver="GTiff", width=96, height=64, count=1, dtype="uint8", photometric="palette",
                       nodata=2, crs=UTM, transform=NORTH_UP) as file:  # fmt: skip
        file.write(numbers, 1)
        file.write_colormap(1, {k: (60 * k, 0, 0, 255) for k in range(4)})
    for config, holes in ((CONFIG, 2), (replace(CONFIG, nodata=float("nan")), 9), (replace(CONFIG, nodata=1.0), 1)):
        scene = open_scene(str(path), config)
        [(_, valid)] = read(scene, native(scene), native(scene).window, config=config)
        np.testing.assert_array_equal(valid, numbers != holes)
