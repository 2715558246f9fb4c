"""A raster of classes beside the scene says which pixels are holes, at any resolution, from any window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from pipeline.config import RasterConfig
from pipeline.errors import SceneError
from pipeline.raster import open_scene
from pipeline.raster.overview import read_coverage
from pipeline.types import Window
from tests.support.reading import native, read, resampled

PX = 192
RNG = np.random.default_rng(3)


def write(path: Path, pixels: np.ndarray, gsd_m: float, *, overviews: bool = False, epsg: int = 32631) -> str:
    """(H, W) as a GeoTIFF whose corner never moves."""
    grid = Affine(gsd_m, 0, 600_000, 0, -gsd_m, 5_600_000)
    height, width = pixels.shape
    how = {"crs": f"EPSG:{epsg}", "transform": grid, "tiled": True, "blockxsize": 64, "blockysize": 64}
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=1, dtype=pixels.dtype, **how
    ) as file:
        file.write(pixels, 1)
        if overviews:
            file.build_overviews([2, 4], rasterio.enums.Resampling.nearest)
    return str(path)


@pytest.fixture
def scene(tmp_path: Path) -> str:
    return write(tmp_path / "scene.tif", RNG.integers(1, 255, (PX, PX), np.uint8), 10.0, overviews=True)


@pytest.fixture
def classes(tmp_path: Path) -> np.ndarray:
    """Of 20 m, as Sentinel-2's are, with a block of clouds in it."""
    found = RNG.integers(4, 8, (PX // 2, PX // 2), np.uint8)
    found[10:41, 20:77] = 9
    found[60:, :30] = 3
    write(tmp_path / "scl.tif", found, 20.0)
    return found


def config(tmp_path: Path, **more: object) -> RasterConfig:
    return RasterConfig(**{"mask_file": str(tmp_path / "scl.tif"), "mask_values": (3, 9), **more})  # type: ignore[arg-type]


@pytest.mark.parametrize("window", [(0, 0, PX, PX), (19, 37, 101, 83), (41, 20, 1, 1), (150, 11, 42, 181)])
def test_holes_are_where_the_classes_say(
    scene: str, classes: np.ndarray, tmp_path: Path, window: tuple[int, ...]
) -> None:
    x, y, width, height = window
    masked = open_scene(scene, config(tmp_path))
    assert masked.has_mask
    where = Window(x=x, y=y, width=width, height=height)
    pixels, valid = read(masked, native(masked), where, config=config(tmp_path))[0]
    truth = ~np.isin(classes, (3, 9)).repeat(2, 0).repeat(2, 1)[y : y + height, x : x + width]
    np.testing.assert_array_equal(valid, truth)
    assert not pixels[~truth].any()


def test_the_overview_and_another_lattice_see_the_same_holes(scene: str, classes: np.ndarray, tmp_path: Path) -> None:
    masked = open_scene(scene, config(tmp_path))
    lattice = resampled(masked, 4.0, 4.0)
    side = PX // 4
    _, valid = read(masked, lattice, Window(x=0, y=0, width=side, height=side), config=config(tmp_path))[0]
    assert not valid[6:20, 11:38].any()
    assert valid[22:28, :].all()
    cells = read_coverage(masked, native(masked), config(tmp_path), max_side_px=24)
    assert not cells[4:9, 6:18].any()
    assert cells[12:14].all()


def test_what_does_not_lie_over_the_scene_is_refused_in_one_sentence(scene: str, tmp_path: Path) -> None:
    write(tmp_path / "scl.tif", np.zeros((PX // 2, PX // 3), np.uint8), 20.0)
    with pytest.raises(SceneError, match="does not cover what the scene covers"):
        open_scene(scene, config(tmp_path))
    write(tmp_path / "scl.tif", np.zeros((PX // 2, PX // 2), np.uint8), 20.0, epsg=32632)
    with pytest.raises(SceneError, match="another CRS"):
        open_scene(scene, config(tmp_path))
    with pytest.raises(SceneError):
        open_scene(scene, config(tmp_path, mask_file=str(tmp_path / "none.tif")))
    with pytest.raises(ValueError, match=r"raster\.mask_file needs"):
        config(tmp_path, mask_values=())
