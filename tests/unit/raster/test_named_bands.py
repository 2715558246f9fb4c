"""Scenes for models of other bands than red, green and blue: found by name, or refused with what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import rasterio

from pipeline.config import RasterConfig
from pipeline.errors import ConfigError
from pipeline.raster import open_scene
from tests.support.reading import CONFIG
from tests.support.scenes import NORTH_UP, UTM

NIR = ("nir",)


def file_of(path: Path, names: Sequence[str], *, alpha: bool = False) -> str:
    """A file whose bands are described so; the last is alpha where asked."""
    count = len(names)
    with rasterio.open(
        path, "w", driver="GTiff", width=16, height=16, crs=UTM, transform=NORTH_UP, count=count, dtype="uint16",
        photometric="MINISBLACK", alpha="YES" if alpha else "UNSPECIFIED",
    ) as file:  # fmt: skip
        file.write(np.full((count, 16, 16), 9, np.uint16))
        file.descriptions = tuple(names)
    return str(path)


@pytest.mark.parametrize(
    ("names", "bands"),
    [
        (["Blue", "Green", "Red", "NIR"], (4,)),
        (["B08", "B04", "B03"], (1,)),
        (["red", "near infrared", "swir 1"], (2,)),
        (["B08"], (1,)),
        ([""], (1,)),
        (["red", "Near Infra-Red", "blue"], (2,)),
    ],
)
def test_near_infrared_is_found_by_its_name_and_a_file_of_one_band_is_it(
    names: list[str], bands: tuple[int, ...], tmp_path: Path
) -> None:
    assert open_scene(file_of(tmp_path / "a.tif", names), CONFIG, model_bands=NIR).bands == bands


def test_which_of_several_is_read_is_said(tmp_path: Path) -> None:
    scene = open_scene(file_of(tmp_path / "a.tif", ["red", "green", "blue", "nir"]), CONFIG, model_bands=NIR)
    assert scene.band_names == ("red", "green", "blue", "nir")
    assert any("band 4 is read, which the file calls nir" in said for said in scene.warnings)


@pytest.mark.parametrize("names", [["red", "green", "blue"], ["", "", ""], ["swir1", "swir2"], ["nir", "nir", "red"]])
def test_a_file_that_does_not_say_where_it_is_is_refused_with_the_remedy(names: list[str], tmp_path: Path) -> None:
    path = file_of(tmp_path / "a.tif", names)
    with pytest.raises(ConfigError, match=r"looks at nir, .* which of its \d bands that is: .* --raster.bands, .*"):
        open_scene(path, CONFIG, model_bands=NIR)
    assert open_scene(path, RasterConfig(bands=(2,)), model_bands=NIR).bands == (2,)


def test_a_file_of_another_single_band_is_read_with_a_warning(tmp_path: Path) -> None:
    scene = open_scene(file_of(tmp_path / "a.tif", ["red"]), CONFIG, model_bands=NIR)
    assert scene.bands == (1,)
    assert any("the file holds red" in said and "--weights" in said for said in scene.warnings)


def test_files_of_one_band_are_told_apart_by_their_names(tmp_path: Path) -> None:
    files = [file_of(tmp_path / f"T33_{code}_10m.tif", [""]) for code in ("B04", "B08", "B02")]
    assert open_scene(",".join(files), CONFIG, model_bands=NIR).bands == (2,)


def test_a_model_of_as_many_nameless_bands_as_the_file_gets_them_in_order(tmp_path: Path) -> None:
    path = file_of(tmp_path / "a.tif", ["a", "b", "c", "d", "e"])
    assert open_scene(path, CONFIG, model_bands=("b1", "b2", "b3", "b4", "b5")).bands == (1, 2, 3, 4, 5)


def test_three_other_bands_are_found_by_name_else_chosen_as_colours_are(tmp_path: Path) -> None:
    false_colour = ("nir", "red", "green")
    named = file_of(tmp_path / "a.tif", ["blue", "green", "red", "nir"])
    assert open_scene(named, CONFIG, model_bands=false_colour).bands == (4, 3, 2)
    nameless = file_of(tmp_path / "b.tif", ["", "", "", ""])
    assert open_scene(nameless, CONFIG, model_bands=false_colour).bands == (1, 2, 3)


def test_alpha_is_no_band_to_look_at(tmp_path: Path) -> None:
    scene = open_scene(file_of(tmp_path / "a.tif", ["", ""], alpha=True), CONFIG, model_bands=NIR)
    assert scene.bands == (1,)
