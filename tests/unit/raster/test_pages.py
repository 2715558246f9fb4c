"""Pages of TIFFs: the first is read with a warning, another when it is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import ConfigError
from pipeline.raster.scene import open_scene
from pipeline.types import Window
from tests.support.reading import CONFIG, native, read
from tests.support.scenes import picture, write_geotiff


@pytest.fixture
def pages(tmp_path: Path) -> tuple[Path, list[np.ndarray]]:
    """Three pages of different sizes, with odd names of the file."""
    pictures = [picture(100 + 20 * number, 90, 3, seed=number) for number in range(3)]
    path = tmp_path / "GTIFF_DIR:2:pages.tif"
    first, *others = map(Image.fromarray, pictures)
    first.save(path, save_all=True, append_images=others, compression="tiff_lzw")
    return path, pictures


def test_the_first_of_several_pages_is_read_with_a_warning(pages: tuple[Path, list[np.ndarray]]) -> None:
    path, pictures = pages
    scene = open_scene(str(path), CONFIG)
    assert any("has 3 pages" in said and "--raster.page" in said for said in scene.warnings)
    pixels, _ = read(scene, native(scene), Window(x=0, y=0, width=90, height=100))[0]
    assert np.array_equal(pixels, pictures[0])


@pytest.mark.parametrize("page", [1, 2, 3])
def test_the_page_that_is_asked_for_is_read(page: int, pages: tuple[Path, list[np.ndarray]]) -> None:
    path, pictures = pages
    config = replace(CONFIG, page=page)
    scene = open_scene(str(path), config)
    assert not any("pages" in said for said in scene.warnings)
    assert (scene.height, scene.width) == pictures[page - 1].shape[:2]
    pixels, _ = read(scene, native(scene), Window(x=0, y=0, width=90, height=scene.height), config=config)[0]
    assert np.array_equal(pixels, pictures[page - 1])


def test_a_page_that_is_not_there_is_refused(pages: tuple[Path, list[np.ndarray]], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"page 4, but .* has 3"):
        open_scene(str(pages[0]), replace(CONFIG, page=4))
    Image.fromarray(picture(64, 64)).save(tmp_path / "a.png")
    with pytest.raises(ConfigError, match=r"page 2, but .* has one"):
        open_scene(str(tmp_path / "a.png"), replace(CONFIG, page=2))


def test_overviews_and_masks_are_no_pages(tmp_path: Path) -> None:
    pixels = picture(256, 256)
    path = write_geotiff(tmp_path / "a.tif", pixels, overviews=(2, 4), mask=pixels[..., 0] > 9)
    assert open_scene(str(path), CONFIG).warnings == ()
