"""The heat map of a scene: a valid COG in the right place, whatever order the tiles come in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import RPCTransformer

from pipeline.config import RasterConfig
from pipeline.errors import StorageError
from pipeline.georeference.rational import rational_map
from pipeline.raster.heat_map import DIFFERENCE, heat, write_heat_map
from pipeline.raster.scene import open_scene
from pipeline.types import AttentionMap, DifferenceMap, FloatArray, Lattice, Scene, Window
from tests.support.rpcs import as_gdal, rational_polynomials
from tests.support.scenes import GEOREFERENCES, UTM, ground_control_points, picture, write_geotiff


def lattice_of(scene: Scene, scale_x: float = 1.0, scale_y: float = 1.0) -> Lattice:
    size = {"width": round(scene.width / scale_x), "height": round(scene.height / scale_y)}
    return Lattice(**size, scale_x=scale_x, scale_y=scale_y, gsd_m=None)


def peak(rows: int, columns: int, row: int, column: int) -> AttentionMap:
    mass = np.full((rows, columns), 1e-4)
    mass[row, column] = 0.5
    return AttentionMap(mass)


def scene_at(folder: Path, width: int, height: int, **layout: Any) -> Scene:
    path = write_geotiff(folder / "scene.tif", picture(height, width), **layout)
    return open_scene(str(path), RasterConfig())


def written(path: Path) -> FloatArray:
    with rasterio.open(path) as file:
        return np.asarray(file.read(1))


@pytest.mark.parametrize("name", GEOREFERENCES)
def test_a_peak_lies_at_its_place_in_the_world(name: str, tmp_path: Path) -> None:
    """Every kind of affine, a lattice that is no whole multiple of the scene: the hottest pixel is where we put it."""
    crs, transform = GEOREFERENCES[name]
    scene = scene_at(tmp_path, 400, 300, crs=crs, transform=transform)
    lattice = lattice_of(scene, 0.8, 1.25)
    write_heat_map(tmp_path / "heat.tif", [(Window(x=160, y=40, width=160, height=160), peak(20, 20, 13, 3))],
                    lattice, scene)  # fmt: skip
    with rasterio.open(tmp_path / "heat.tif") as file:
        values = file.read(1)
        row, column = np.unravel_index(np.nanargmax(values), values.shape)
        x, y = file.transform @ (column + 0.5, row + 0.5)
        assert file.crs == rasterio.CRS.from_user_input(crs)
    lattice_x, lattice_y = 160 + 3.5 * 8, 40 + 13.5 * 8
    expected = transform @ (lattice_x * 0.8, lattice_y * 1.25)
    np.testing.assert_allclose((x, y), expected, rtol=1e-9)


def test_the_file_is_a_cloud_optimised_geotiff(tmp_path: Path) -> None:
    """Layout, tiles, overviews, type, nodata: what makes it one; and nothing else is left in the folder."""
    scene = scene_at(tmp_path, 640, 480)
    lattice = Lattice(width=8000, height=6001, scale_x=0.08, scale_y=480 / 6001, gsd_m=None)
    write_heat_map(tmp_path / "heat.tif", [(Window(x=0, y=0, width=512, height=512), peak(64, 64, 1, 2))],
                    lattice, scene)  # fmt: skip
    with rasterio.open(tmp_path / "heat.tif") as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.shape == (751, 1000)
        assert file.block_shapes == [(256, 256)]
        assert file.overviews(1)
        assert file.dtypes == ("float32",)
        assert np.isnan(file.nodata)
        assert "spread evenly" in file.descriptions[0]
        assert np.isnan(file.read(1)[:, 64:]).all(), "nobody looked there"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["heat.tif", "scene.tif"]


def test_even_attention_is_one_everywhere(tmp_path: Path) -> None:
    """Whatever the tile's size and the map's cells: 1 in every pixel it covers, wholly or in part."""
    for window, cells in (
        (Window(x=3, y=5, width=100, height=61), (8, 13)),
        (Window(x=0, y=0, width=512, height=512), (16, 16)),
        (Window(x=7, y=7, width=1, height=1), (1, 1)),
    ):
        values, column, row = heat(window, AttentionMap(np.full(cells, 1 / np.prod(cells))))
        np.testing.assert_allclose(values, 1, rtol=1e-6)
        assert (column, row) == (window.x // 8, window.y // 8)
        assert values.shape == (-(-window.y1 // 8) - row, -(-window.x1 // 8) - column)


def test_a_shrunken_tile_keeps_its_attention(tmp_path: Path) -> None:
    """A tile looked at through a fourth of its pixels: 16 x 16 cells of 32; their values reach 4 x 4 pixels each."""
    mass = np.random.default_rng(0).random((16, 16))
    values, _, _ = heat(Window(x=0, y=0, width=512, height=512), AttentionMap(mass / mass.sum()))
    np.testing.assert_allclose(values, (mass / mass.mean()).repeat(4, 0).repeat(4, 1), rtol=1e-5)


def test_a_difference_map_is_written_as_it_is(tmp_path: Path) -> None:
    """A tile on the grid of 8 pixels: pixel for cell, the same values; and the file says what they are."""
    values = np.random.default_rng(0).random((16, 20))
    tile = Window(x=64, y=32, width=160, height=128)
    scene = scene_at(tmp_path, 400, 300)
    write_heat_map(tmp_path / "heat.tif", [(tile, DifferenceMap(values))], lattice_of(scene), scene, DIFFERENCE)
    found = written(tmp_path / "heat.tif")
    np.testing.assert_allclose(found[4:20, 8:28], values, rtol=1e-6)
    assert np.isnan(found).sum() == found.size - values.size
    with rasterio.open(tmp_path / "heat.tif") as file:
        assert "reconstruction" in file.descriptions[0]


def test_a_pixel_that_a_tile_covers_in_part_has_the_mean_difference_over_that_part() -> None:
    """12 px from 4 on, two cells of 6 px: half of the first pixel is covered (0.1), the second by 2 px and 6 px."""
    values, column, row = heat(Window(x=4, y=8, width=12, height=8), DifferenceMap(np.array([[0.1, 0.3]])))
    np.testing.assert_allclose(values, [[0.1, (2 * 0.1 + 6 * 0.3) / 8]], rtol=1e-6)
    assert (column, row) == (0, 1)


def test_overlapping_tiles_combine_by_maximum_in_any_order(tmp_path: Path) -> None:
    scene = scene_at(tmp_path, 300, 200)
    rng = np.random.default_rng(1)
    tiles = [
        (Window(x=x, y=y, width=128, height=128), AttentionMap(rng.dirichlet(np.ones(256)).reshape(16, 16)))
        for y in (0, 72) for x in (0, 91, 172)
    ]  # fmt: skip
    expected = np.full((25, 38), np.nan)
    for window, attention in tiles:
        values, column, row = heat(window, attention)
        part = expected[row : row + values.shape[0], column : column + values.shape[1]]
        part[:] = np.fmax(part, values)
    for number, order in enumerate(([0, 1, 2, 3, 4, 5], [5, 3, 1, 4, 2, 0])):
        write_heat_map(tmp_path / f"{number}.tif", (tiles[i] for i in order), lattice_of(scene), scene)
    np.testing.assert_array_equal(written(tmp_path / "0.tif"), expected.astype(np.float32))
    assert (tmp_path / "0.tif").read_bytes() == (tmp_path / "1.tif").read_bytes()


def test_ground_control_points_are_carried_over(tmp_path: Path) -> None:
    """The points of the scene, at their place in the heat map: together they map its pixels as the scene's own do."""
    points = ground_control_points(400, 300)
    scene = scene_at(tmp_path, 400, 300, crs=UTM, transform=None, gcps=points)
    assert scene.transform is None
    write_heat_map(tmp_path / "heat.tif", [], lattice_of(scene, 0.5, 0.5), scene)
    with rasterio.open(tmp_path / "heat.tif") as file:
        found, crs = file.gcps
    assert crs == rasterio.CRS.from_user_input(UTM)
    assert [(p.col * 4, p.row * 4, p.x, p.y) for p in found] == [(p.col, p.row, p.x, p.y) for p in points]


def test_rpcs_are_carried_over(tmp_path: Path) -> None:
    """A pixel of the heat map lies where the middle of its pixels in the scene does."""
    path = write_geotiff(tmp_path / "level1.tif", picture(300, 400), crs=None, transform=None)
    rpc = rational_polynomials(400, 300)
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(path, "r+") as file:
        file.rpcs = as_gdal(rpc)
    scene = open_scene(str(path), RasterConfig())
    write_heat_map(tmp_path / "heat.tif", [], lattice_of(scene, 2.0, 2.0), scene)
    with rasterio.open(tmp_path / "heat.tif") as file:
        found = file.rpcs
    lonlat = rational_map(scene, "level1.tif").forward(np.array([[160.0, 80.0]]))
    with RPCTransformer(found) as transformer:
        rows, columns = transformer.rowcol(lonlat[:, 0], lonlat[:, 1], zs=[rpc.height_m], op=lambda value: value)
    assert (columns[0], rows[0]) == pytest.approx((10.0, 5.0), abs=1e-3)


def test_a_pixel_scene_gets_a_plain_picture(tmp_path: Path) -> None:
    scene = scene_at(tmp_path, 64, 64, crs=None, transform=None)
    write_heat_map(tmp_path / "heat.tif", [(Window(x=0, y=0, width=64, height=64), peak(8, 8, 2, 5))],
                    lattice_of(scene), scene)  # fmt: skip
    with pytest.warns(NotGeoreferencedWarning):
        values = written(tmp_path / "heat.tif")
    assert values[2, 5] == pytest.approx(32)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    scene = scene_at(tmp_path, 64, 64)
    with pytest.raises(StorageError, match="cannot be written"):
        write_heat_map(tmp_path / "absent" / "heat.tif", [], lattice_of(scene), scene)


def test_a_failure_in_the_maps_leaves_nothing(tmp_path: Path) -> None:
    """An older file stays, no half-written one appears."""

    def broken() -> Any:
        yield Window(x=0, y=0, width=64, height=64), peak(8, 8, 0, 0)
        raise ValueError("the detector broke")

    scene = scene_at(tmp_path, 64, 64)
    (tmp_path / "heat.tif").write_text("older")
    with pytest.raises(ValueError, match="broke"):
        write_heat_map(tmp_path / "heat.tif", broken(), lattice_of(scene), scene)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["heat.tif", "scene.tif"]
    assert (tmp_path / "heat.tif").read_text() == "older"
