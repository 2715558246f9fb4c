"""Which bands are red, green and blue, and what a file's numbers mean: for every type of pixel alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from pipeline.config import RasterConfig
from pipeline.errors import SceneUnreadable
from pipeline.raster import measure_stretch, open_scene, read_thumbnail
from pipeline.raster.colours import named_colours
from tests.support.reading import CONFIG, native, read
from tests.support.scenes import NORTH_UP, UTM, picture, write_geotiff

SIDE = 64
GRID = {"driver": "GTiff", "width": SIDE, "height": SIDE, "crs": UTM, "transform": NORTH_UP}
TYPES = ("uint8", "uint16", "int16", "float32")


def declared(
    path: Path, kinds: Sequence[str] | None, names: Sequence[str] = (), *, dtype: str = "uint8", count: int = 4
) -> Path:
    """A file whose bands are declared; band n holds n * 20 everywhere."""
    pixels = np.broadcast_to(np.arange(1, count + 1) * 20, (SIDE, SIDE, count)).astype(dtype)
    with rasterio.open(path, "w", count=count, dtype=dtype, photometric="MINISBLACK", **GRID) as file:
        file.write(pixels.transpose(2, 0, 1))
        if kinds is not None:
            file.colorinterp = [ColorInterp[kind] for kind in kinds]
        if names:
            file.descriptions = tuple(names)
    return path


def bands_of(path: Path, config: RasterConfig = CONFIG) -> tuple[tuple[int, ...], str]:
    scene = open_scene(str(path), config)
    return scene.bands, " | ".join(scene.warnings)


@pytest.mark.parametrize("dtype", TYPES)
def test_bands_that_are_declared_blue_green_red_are_read_as_such(dtype: str, tmp_path: Path) -> None:
    path = declared(tmp_path / "a.tif", ["blue", "green", "red", "undefined"], dtype=dtype)
    bands, said = bands_of(path)
    assert bands == (3, 2, 1)
    assert "3, 2 and 1" in said
    assert "--raster.bands" in said
    config = RasterConfig(stretch="none")
    scene = open_scene(str(path), config)
    shown, _ = read_thumbnail(scene, measure_stretch(scene, config), config, SIDE)
    assert shown[0, 0].tolist() == [60, 40, 20]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["B02", "B03", "B04", "B08"], (3, 2, 1)),
        (["B2", "B3", "B4", "B8"], (3, 2, 1)),
        (["SR_B2", "SR_B3", "SR_B4", "SR_B5"], (3, 2, 1)),
        (["Blue", "Green", "Red", "NIR"], (3, 2, 1)),
        (["near infrared", "red", "green", "blue"], (2, 3, 4)),
        (["coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir"], (6, 4, 2)),
        (["Band 1: blue", "Band 2: green", "Band 3: red", "Band 4: red edge"], (3, 2, 1)),
        (["b", "g", "r", "n"], (3, 2, 1)),
        (["B01", "B02", "B03", "B04", "B05"], (4, 3, 2)),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_descriptions_of_bands_say_which_is_which(
    names: list[str], expected: tuple[int, ...], dtype: str, tmp_path: Path
) -> None:
    path = declared(tmp_path / "a.tif", None, names, dtype=dtype, count=len(names))
    assert bands_of(path)[0] == expected


@pytest.mark.parametrize("names", [["B1", "B2", "B3", "B4"], ["pc1", "pc2", "pc3", "pc4"], []])
def test_a_file_of_more_than_three_bands_that_does_not_say_which_they_are_is_told_of(
    names: list[str], tmp_path: Path
) -> None:
    bands, said = bands_of(declared(tmp_path / "a.tif", ["gray", *["undefined"] * 3], names))
    assert bands == (1, 2, 3)
    assert "does not say which of its 4 bands" in said
    assert "--raster.bands" in said


def test_colour_infrared_is_no_red_green_blue_and_said_to_be_none(tmp_path: Path) -> None:
    bands, said = bands_of(declared(tmp_path / "a.tif", None, ["NIR", "Red", "Green"], dtype="uint16", count=3))
    assert bands == (1, 2, 3)
    assert "declares no blue" in said


def test_a_file_that_contradicts_itself_is_read_by_its_descriptions_with_a_warning(tmp_path: Path) -> None:
    path = declared(tmp_path / "a.tif", ["red", "green", "blue"], ["B02", "B03", "B04"], count=3)
    bands, said = bands_of(path)
    assert bands == (3, 2, 1)
    assert "contradicts itself" in said
    assert "--raster.bands 1 2 3" in said
    assert bands_of(path, RasterConfig(bands=(1, 2, 3))) == ((1, 2, 3), "")


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("count", [1, 3])
def test_an_ordinary_file_gives_no_warning(dtype: str, count: int, tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", picture(SIDE, SIDE, count, dtype))
    assert bands_of(path) == ((1, 2, 3) if count == 3 else (1, 1, 1), "")


def test_files_that_are_joined_in_another_order_than_their_names_say_are_told_of(tmp_path: Path) -> None:
    names = ["T33_B02_10m", "T33_B03_10m", "T33_B04_10m"]
    paths = [str(write_geotiff(tmp_path / f"{name}.tif", picture(SIDE, SIDE, 1))) for name in names]
    (said,) = open_scene(",".join(paths), CONFIG).warnings
    assert "blue, green and red" in said
    assert "--raster.bands 3 2 1" in said
    assert open_scene(",".join(reversed(paths)), CONFIG).warnings == ()


def test_words_with_a_colour_in_them_are_not_that_colour() -> None:
    texts = {1: "red edge", 2: "coastal blue", 3: "infrared", 4: "near infra-red", 5: "redsea", 6: "evergreen"}
    assert named_colours(texts) == {}


def write_palette(path: Path, dtype: str, colours: int) -> tuple[Path, np.ndarray, dict[int, tuple[int, ...]]]:
    numbers = (np.arange(SIDE * SIDE).reshape(SIDE, SIDE) * 7 % colours).astype(dtype)
    table = {n: (n * 5 % 256, n * 11 % 256, n % 256, 255) for n in range(colours)}
    with rasterio.open(path, "w", count=1, dtype=dtype, photometric="PALETTE", **GRID) as file:
        file.write(numbers, 1)
        file.write_colormap(1, table)
    return path, numbers, table


@pytest.mark.parametrize(("dtype", "colours"), [("uint8", 200), ("uint16", 200), ("uint16", 1000)])
def test_a_palette_of_any_type_is_shown_in_its_colours_with_a_warning(dtype: str, colours: int, tmp_path: Path) -> None:
    path, numbers, table = write_palette(tmp_path / "a.tif", dtype, colours)
    scene = open_scene(str(path), CONFIG)
    assert (scene.dtype, scene.palette) == ("uint8", True)
    assert "palette" in scene.warnings[0]
    ((shown, valid),) = read(scene, native(scene), native(scene).window)
    expected = np.array([table[n][:3] for n in range(colours)])[numbers]
    assert np.array_equal(shown, expected)
    assert valid.all()


@pytest.mark.parametrize("nodata", [7, 700])
def test_of_a_palette_of_16_bits_the_number_is_compared_with_nodata(nodata: int, tmp_path: Path) -> None:
    path, numbers, _ = write_palette(tmp_path / "a.tif", "uint16", 1000)
    scene = open_scene(str(path), RasterConfig(nodata=nodata))
    ((_, valid),) = read(scene, native(scene), native(scene).window, config=RasterConfig(nodata=nodata))
    assert np.array_equal(valid, numbers != nodata)


def test_numbers_of_colours_without_a_table_are_grey_with_a_warning(tmp_path: Path) -> None:
    """As VRTs and some drivers have them."""
    write_geotiff(tmp_path / "a.tif", picture(SIDE, SIDE, 1))
    with rasterio.open(tmp_path / "a.tif", "r+") as file:
        file.colorinterp = [ColorInterp.palette]
    scene = open_scene(str(tmp_path / "a.tif"), CONFIG)
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.colorinterp == (ColorInterp.palette,)
    assert not scene.palette
    assert "no table" in scene.warnings[0]
    ((shown, _),) = read(scene, native(scene), native(scene).window)
    assert np.array_equal(shown[..., 0], picture(SIDE, SIDE, 1)[..., 0])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_a_negative_is_turned_over_whatever_its_type(dtype: str, tmp_path: Path) -> None:
    """White stored as 0: the brightest stored value is shown darkest."""
    stored = np.linspace(0, 250, SIDE * SIDE).reshape(SIDE, SIDE).astype(dtype)
    with rasterio.open(tmp_path / "a.tif", "w", count=1, dtype=dtype, photometric="MINISWHITE", **GRID) as file:
        file.write(stored, 1)
    scene = open_scene(str(tmp_path / "a.tif"), CONFIG)
    assert scene.negative
    ((shown, _),) = read(scene, native(scene), native(scene).window)
    assert shown[0, 0, 0] == 255
    assert shown[-1, -1, 0] <= 5
    assert (np.diff(shown[..., 0].reshape(-1).astype(int)) <= 0).all()
    if dtype == "uint8":
        assert np.array_equal(shown[..., 0], 255 - stored)
    fixed = RasterConfig(stretch="fixed", stretch_range=(0.0, 250.0))
    scene = open_scene(str(tmp_path / "a.tif"), fixed)
    ((shown, _),) = read(scene, native(scene), native(scene).window, config=fixed)
    assert shown[-1, -1, 0] == 255, "what a user names is taken by the word"


@pytest.mark.parametrize(
    ("photometric", "dtype", "count", "extra"),
    [
        ("CMYK", "uint16", 4, {}),
        ("CIELAB", "uint16", 3, {}),
        ("ICCLAB", "uint8", 3, {}),
        ("ITULAB", "uint16", 3, {"BIGTIFF": "YES"}),
        ("CIELAB", "uint16", 3, {"ENDIANNESS": "BIG"}),
    ],
)
def test_colours_that_nothing_turns_into_red_green_and_blue_are_refused(
    photometric: str, dtype: str, count: int, extra: dict[str, Any], tmp_path: Path
) -> None:
    pixels = picture(SIDE, SIDE, count, dtype).transpose(2, 0, 1)
    with rasterio.open(
        tmp_path / "a.tif", "w", count=count, dtype=dtype, photometric=photometric, **GRID, **extra
    ) as file:
        file.write(pixels)
    with pytest.raises(SceneUnreadable, match=r"stores its colours as .* convert it to RGB first"):
        open_scene(str(tmp_path / "a.tif"), CONFIG)
    assert open_scene(str(tmp_path / "a.tif"), RasterConfig(bands=(1, 2, 3))).bands == (1, 2, 3)


@pytest.mark.parametrize("photometric", ["CMYK", "CIELAB"])
def test_colours_that_gdal_turns_into_red_green_and_blue_are_read(photometric: str, tmp_path: Path) -> None:
    count = 4 if photometric == "CMYK" else 3
    with rasterio.open(tmp_path / "a.tif", "w", count=count, dtype="uint8", photometric=photometric, **GRID) as file:
        file.write(np.zeros((count, SIDE, SIDE), np.uint8))
    assert open_scene(str(tmp_path / "a.tif"), CONFIG).bands == (1, 2, 3)


def test_an_alpha_band_that_is_described_as_infrared_is_a_contradiction(tmp_path: Path) -> None:
    path = declared(tmp_path / "a.tif", ["red", "green", "blue", "alpha"], ["Red", "Green", "Blue", "NIR"])
    _, said = bands_of(path)
    assert "band 4 is flagged as alpha" in said
    assert "--raster.mask none" in said
    assert bands_of(path, RasterConfig(mask="none")) == ((1, 2, 3), "")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_alpha_hides_where_it_is_zero_whatever_its_type_and_not_with_mask_none(dtype: str, tmp_path: Path) -> None:
    """Any alpha above 0 shows something, be the most opaque 1, 255 or 65535."""
    alpha = np.zeros((SIDE, SIDE))
    alpha[16:32], alpha[32:] = 1, 65535 if dtype == "uint16" else 127
    pixels = np.dstack([np.full((SIDE, SIDE, 3), 90), alpha]).astype(dtype)
    path = write_geotiff(tmp_path / "a.tif", pixels, alpha=True)
    scene = open_scene(str(path), CONFIG)
    ((_, valid),) = read(scene, native(scene), native(scene).window)
    assert np.array_equal(valid, alpha > 0)
    config = RasterConfig(mask="none")
    scene = open_scene(str(path), config)
    assert not scene.has_mask
    ((_, valid),) = read(scene, native(scene), native(scene).window, config=config)
    assert valid.all()
