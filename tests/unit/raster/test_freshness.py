"""Overviews that are older than the pixels: found out, and not believed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling

from pipeline.planning.emptiness import without_empty
from pipeline.planning.tiles import plan_tiles
from pipeline.raster import freshness
from pipeline.raster.freshness import hold_valid_pixels, overview_is_older, with_sound_overviews
from pipeline.raster.limits import LIMITS
from pipeline.raster.overview import decimated, measure_stretch, read_thumbnail
from pipeline.raster.scene import open_scene
from pipeline.raster.source import Pixels
from pipeline.types import Lattice, Scene, Tile, Window
from tests.support.reading import CONFIG, native
from tests.support.scenes import NORTH_UP, UTM, damage_block, picture, write_geotiff

WIDTH, HEIGHT = 4320, 256
FEW = LIMITS.__class__(sample_px=20_000)
"""By these a stretch is taken from an overview."""


def mosaic(
    path: Path, resampling: Resampling, *, stale: bool, dtype: str = "uint16", tiled: bool = True, **options: object
) -> Scene:
    """West and east alike; where ``stale``, the east came after the overviews were made."""
    west = np.maximum(picture(HEIGHT, WIDTH // 2, dtype=dtype).transpose(2, 0, 1) // 8, 1)
    east = west[..., ::-1]
    layout = {"tiled": True, "blockxsize": 128, "blockysize": 128} if tiled else {"tiled": False, "blockysize": 32}
    with rasterio.open(
        path, "w", driver="GTiff", width=WIDTH, height=HEIGHT, count=3, dtype=dtype, crs=UTM, transform=NORTH_UP,
        nodata=0, **layout, **options,
    ) as file:  # fmt: skip
        file.write(west, window=((0, HEIGHT), (0, WIDTH // 2)))
        if not stale:
            file.write(east, window=((0, HEIGHT), (WIDTH // 2, WIDTH)))
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4, 8], resampling)
    if stale:
        with rasterio.open(path, "r+") as file:
            file.write(east, window=((0, HEIGHT), (WIDTH // 2, WIDTH)))
    return open_scene(str(path), CONFIG)


def tiles_of(lattice: Lattice) -> tuple[Tile, ...]:
    return plan_tiles(lattice, 256, 32)


RESAMPLINGS = ("nearest", "bilinear", "cubic", "cubic_spline", "lanczos", "average", "mode", "gauss", "rms")


@pytest.mark.parametrize("resampling", RESAMPLINGS)
@pytest.mark.parametrize("options", [{"dtype": "uint16"}, {"dtype": "uint8"}, {"dtype": "uint8", "compress": "JPEG"}])
def test_overviews_of_the_same_pixels_are_believed(resampling: str, options: dict[str, str], tmp_path: Path) -> None:
    scene = mosaic(tmp_path / "a.tif", Resampling[resampling], stale=False, **options)
    assert not any(overview_is_older(scene, level, CONFIG) for level in range(3))
    assert with_sound_overviews(scene, CONFIG) is scene


@pytest.mark.parametrize("resampling", ["nearest", "average", "mode"])
def test_overviews_of_a_map_of_few_values_are_believed(resampling: str, tmp_path: Path) -> None:
    """Of a class that covers a third in specks, the commonest value of a cell says nothing; and it may be 0."""
    specks = (np.random.default_rng(0).random((1, 512, 512)) < 0.35).astype(np.uint8)
    path = write_geotiff(tmp_path / "map.tif", specks.transpose(1, 2, 0))
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4, 8], Resampling[resampling])
    scene = open_scene(str(path), CONFIG)
    assert not any(overview_is_older(scene, level, CONFIG) for level in range(3))


@pytest.mark.parametrize("change", ["blank", "dim", "moved"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_overviews_of_other_pixels_are_found_out_where_every_pixel_is_valid(
    change: str, dtype: str, tmp_path: Path
) -> None:
    """Of the same range of values, too: what counts is the place."""
    rows, columns = np.mgrid[0:512, 0:768]
    smooth = 100 + 90 * np.sin(columns / 60) * np.cos(rows / 70) + np.random.default_rng(0).normal(0, 3, (512, 768))
    pixels = np.stack([smooth, smooth + 20, smooth + 40], axis=-1).astype(dtype)
    old = {"blank": np.zeros_like(pixels), "dim": pixels // 3, "moved": np.roll(pixels, 188, axis=1)}[change]
    path = write_geotiff(tmp_path / "a.tif", old)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4, 8], Resampling.average)
    with rasterio.open(path, "r+") as file:
        file.write(pixels.transpose(2, 0, 1))
    scene = open_scene(str(path), CONFIG)
    assert all(overview_is_older(scene, level, CONFIG) for level in range(3))
    sound = with_sound_overviews(scene, CONFIG)
    assert sound == replace(scene, overviews=())
    write_geotiff(tmp_path / "b.tif", pixels)
    alone = open_scene(str(tmp_path / "b.tif"), CONFIG)
    assert decimated(sound, CONFIG, limits=FEW)[2] == decimated(alone, CONFIG, limits=FEW)[2] == "decimated read 1/5"
    np.testing.assert_array_equal(decimated(sound, CONFIG, limits=FEW)[0], decimated(alone, CONFIG, limits=FEW)[0])
    stretch = measure_stretch(scene, CONFIG, limits=FEW)
    assert stretch == measure_stretch(alone, CONFIG, limits=FEW)
    pictures = [read_thumbnail(one, stretch, CONFIG, 100)[0] for one in (sound, alone)]
    np.testing.assert_array_equal(*pictures)


def test_the_stretch_is_not_taken_from_an_overview_that_is_older(tmp_path: Path) -> None:
    """Worst where the overview is blank throughout: pixels of 16 bits would be cut off at 255."""
    scene = mosaic(tmp_path / "a.tif", Resampling.nearest, stale=True)
    assert overview_is_older(scene, 0, CONFIG)
    stretch = measure_stretch(scene, CONFIG, limits=FEW)
    assert "overview" not in stretch.source
    fresh = mosaic(tmp_path / "b.tif", Resampling.nearest, stale=False)
    assert stretch.high == pytest.approx(measure_stretch(fresh, CONFIG, limits=FEW).high, rel=0.1)


@pytest.mark.parametrize("tiled", [True, False])
def test_tiles_that_an_older_overview_calls_empty_are_looked_at(tiled: bool, tmp_path: Path) -> None:
    scene = mosaic(tmp_path / "a.tif", Resampling.nearest, stale=True, tiled=tiled)
    tiles = tiles_of(native(scene))
    kept, said, wrong = without_empty(tiles, scene, native(scene), CONFIG)
    assert kept == tiles
    assert "that an overview calls empty hold pixels" in said[0]
    assert wrong


@pytest.mark.parametrize("sparse", [True, False])
def test_tiles_that_are_empty_stay_skipped_and_missing_blocks_are_not_read(
    sparse: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The eastern half was never written; but for one pixel that no overview shows."""
    path = tmp_path / "a.tif"
    west = np.maximum(picture(HEIGHT, WIDTH // 2, dtype="uint16").transpose(2, 0, 1), 1)
    with rasterio.open(
        path, "w", driver="GTiff", width=WIDTH, height=HEIGHT, count=3, dtype="uint16", crs=UTM, transform=NORTH_UP,
        nodata=0, tiled=True, blockxsize=128, blockysize=128, sparse_ok=sparse,
    ) as file:  # fmt: skip
        file.write(west, window=((0, HEIGHT), (0, WIDTH // 2)))
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4, 8], Resampling.nearest)
        file.write(np.full((3, 1, 1), 9, np.uint16), window=((201, 202), (4001, 4002)))
    scene = open_scene(str(path), CONFIG)
    tiles = tiles_of(native(scene))
    read: list[Window] = []
    plain = Pixels.read
    monkeypatch.setattr(Pixels, "read", lambda self, window, *rest, **how: (
        read.append(window), plain(self, window, *rest, **how))[1])  # fmt: skip
    holds = hold_valid_pixels(
        empty := [tile for tile in tiles if tile.window.x > WIDTH // 2], scene, native(scene), CONFIG
    )
    assert [tile for tile, one in zip(empty, holds, strict=True) if one] == [
        tile for tile in empty if tile.window.x <= 4001 < tile.window.x1
    ]
    if sparse:
        assert read == [Window(x=3968, y=128, width=128, height=128)]


def test_of_too_many_blocks_few_tiles_stand_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = mosaic(tmp_path / "a.tif", Resampling.nearest, stale=True)
    east = [tile for tile in tiles_of(native(scene)) if tile.window.x > WIDTH // 2]
    for name in ("CONFIRM_PX", "CONFIRM_BLOCKS"):
        monkeypatch.setattr(freshness, name, 1)
        monkeypatch.setattr(freshness, "FEW_TILES", 2)
        assert hold_valid_pixels(east, scene, native(scene), CONFIG).all()
        monkeypatch.undo()
    empty = open_scene(str(write_geotiff(tmp_path / "b.tif", np.zeros((256, 256, 1), np.uint8), nodata=0)), CONFIG)
    monkeypatch.setattr(freshness, "CONFIRM_PX", 1)
    assert not hold_valid_pixels(plan_tiles(native(empty), 64, 8), empty, native(empty), CONFIG).any()


def test_a_block_that_cannot_be_read_is_not_called_empty(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", np.zeros((256, 256, 1), np.uint8), nodata=0)
    damage_block(path, column=2, row=1)
    scene = open_scene(str(path), CONFIG)
    tiles = plan_tiles(native(scene), 64, 0)
    holds = hold_valid_pixels(tiles, scene, native(scene), CONFIG)
    assert [tile.tile_id for tile, one in zip(tiles, holds, strict=True) if one] == ["r0001c0002"]


@pytest.mark.parametrize(
    ("options", "remedy"), [({"nodata": 0}, "--raster.nodata"), ({"mask": np.zeros((64, 64))}, "--raster.mask none")]
)
def test_a_scene_without_one_valid_pixel_is_said_to_be_that(
    options: dict[str, object], remedy: str, tmp_path: Path
) -> None:
    scene = open_scene(str(write_geotiff(tmp_path / "a.tif", np.zeros((64, 64, 3), np.uint8), **options)), CONFIG)
    kept, (said,), _ = without_empty(tiles_of(native(scene)), scene, native(scene), CONFIG)
    assert kept == ()
    assert "not one valid pixel" in said
    assert remedy in said


@pytest.mark.parametrize("layout", ["full", "sparse"])
def test_a_scene_too_large_to_be_looked_at_is_judged_in_a_few_places(layout: str, tmp_path: Path) -> None:
    """As those beyond a gigapixel without overviews are; nothing is skipped on that word."""
    huge = replace(LIMITS, full_pass_px=1000)
    pixels, path = np.zeros((3, 3000, 3000), np.uint8), tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=3000, height=3000, count=3, dtype="uint8", crs=UTM, transform=NORTH_UP,
        nodata=0, tiled=True, blockxsize=128, blockysize=128, compress="deflate", sparse_ok=layout == "sparse",
    ) as file:  # fmt: skip
        file.write(pixels)
    scene = open_scene(str(path), CONFIG)
    tiles = tiles_of(native(scene))
    kept, (said,), wrong = without_empty(tiles, scene, native(scene), CONFIG, huge)
    assert (kept, wrong) == (tiles, False)
    assert "not one valid pixel in any of 64 windows of 256 px" in said
    assert "--raster.nodata" in said
    with rasterio.open(path, "r+") as file:
        file.write(np.full((3, 9, 9), 7, np.uint8), window=((2900, 2909), (2900, 2909)))
    assert without_empty(tiles, scene, native(scene), CONFIG, huge) == (tiles, (), False)
    anything = replace(CONFIG, nodata=float("nan"))
    scene = open_scene(str(path), anything)
    path.unlink()
    assert without_empty(tiles, scene, native(scene), anything, huge) == (tiles, (), False), "it cannot have holes"
