"""Coverage, stretches and pictures of whole scenes: from overviews, from decimated reads, from few windows."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from pipeline.config import RasterConfig
from pipeline.errors import SceneUnreadable
from pipeline.raster.limits import LIMITS
from pipeline.raster.overview import HOPELESS, decimated, measure_stretch, read_coverage, read_thumbnail
from pipeline.raster.scene import open_scene
from pipeline.raster.source import Pixels
from pipeline.raster.writer import write_scene
from pipeline.types import Window
from tests.support.reading import CONFIG, native, read, reference, resampled
from tests.support.scenes import HEIGHT, KINDS, NORTH_UP, UTM, WIDTH, damage_block, picture, write_geotiff

GIANT = replace(LIMITS, full_pass_px=1000)
"""By these, test files are too large to be decoded as a whole."""


@pytest.mark.parametrize("kind", ["mask", "nodata_uint8", "rgba", "float32_nan", "nodata_uint16_strip"])
@pytest.mark.parametrize("side", [1, 7, 33, 2048])
def test_coverage_is_exact_without_overviews(kind: str, side: int, tmp_path: Path) -> None:
    """A cell is True iff some valid pixel touches it; counted from the full validity mask."""
    path = KINDS[kind](tmp_path)
    scene = open_scene(str(path), CONFIG)
    lattice = resampled(scene, 1.3, 1.3)
    cover = read_coverage(scene, lattice, CONFIG, side)
    _, valid = reference(path, scene)
    assert max(cover.shape) <= side
    height, width = lattice.height * 1.3 / cover.shape[0], lattice.width * 1.3 / cover.shape[1]
    for row in range(0, cover.shape[0], 5):
        for column in range(0, cover.shape[1], 5):
            top, left = int(row * height + 1e-6), int(column * width + 1e-6)
            end, right = int(np.ceil((row + 1) * height - 1e-6)), int(np.ceil((column + 1) * width - 1e-6))
            assert cover[row, column] == valid[top:end, left:right].any()


@pytest.mark.parametrize("kind", ["mask", "nodata_uint8", "float32_nan", "nodata_uint16_strip"])
def test_coverage_of_a_wide_scene_is_pieced_together(kind: str, tmp_path: Path) -> None:
    """Part of a row at a time, where a row holds too many pixels: the same answer."""
    scene = open_scene(str(KINDS[kind](tmp_path)), CONFIG)
    whole = read_coverage(scene, native(scene), CONFIG, 25)
    pieced = read_coverage(scene, native(scene), CONFIG, 25, limits=replace(LIMITS, cover_px=1))
    assert (pieced == whole).all()


def test_coverage_from_overviews_never_hides_a_valid_pixel(tmp_path: Path) -> None:
    """Islands of 6 pixels survive an overview of factor 4; most of the sea is known to be empty."""
    valid = np.zeros((800, 1000), np.bool_)
    for y, x in np.random.default_rng(3).integers(0, 790, (25, 2)):
        valid[y : y + 6, x : x + 6] = True
    path = write_geotiff(tmp_path / "islands.tif", picture(800, 1000), mask=valid, overviews=(2, 4))
    scene = open_scene(str(path), CONFIG)
    assert scene.overviews == (2, 4)
    cover = read_coverage(scene, native(scene), CONFIG, 250)
    assert cover.shape == (200, 250)
    for y, x in np.argwhere(valid):
        assert cover[y // 4, x // 4]
    assert cover.mean() < 0.1


def test_scenes_without_holes_are_covered_unread(tmp_path: Path) -> None:
    path = KINDS["uint16"](tmp_path)
    scene = open_scene(str(path), CONFIG)
    path.unlink()
    assert read_coverage(scene, native(scene), CONFIG, 100).shape == (71, 100)
    assert read_coverage(scene, native(scene), CONFIG, 100).all()


def test_the_stretch_says_where_it_comes_from(tmp_path: Path) -> None:
    """All of a small scene; of a large one an overview, else a decimated read, else (too large for that) windows."""
    (tmp_path / "large").mkdir()
    with_overviews = open_scene(str(KINDS["mask_uint16_overviews"](tmp_path / "large")), CONFIG)
    assert measure_stretch(with_overviews, CONFIG).source == "all pixels"
    plain = open_scene(str(KINDS["uint16"](tmp_path)), CONFIG)
    full = measure_stretch(plain, CONFIG)
    assert full.source == "all pixels"
    few = replace(LIMITS, sample_px=HEIGHT * WIDTH // 9)
    from_overview = measure_stretch(with_overviews, CONFIG, limits=few)
    assert from_overview.source == f"overview {with_overviews.overviews[-1]}"
    sparse = measure_stretch(plain, CONFIG, limits=few)
    assert sparse.source == "decimated read 1/3"
    assert sparse.low == pytest.approx(full.low, rel=0.25)
    assert sparse.high == pytest.approx(full.high, rel=0.05)
    assert measure_stretch(plain, CONFIG, limits=few) == sparse
    sampled = measure_stretch(plain, CONFIG, limits=replace(few, full_pass_px=1000))
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


def test_coverage_of_the_real_world_mask(kestrel_data: Path) -> None:
    """36000 x 18000 pixels judged on an overview: about a third is land (the file's nodata is sea)."""
    scene = open_scene(str(kestrel_data / "large_geotiff" / "cog_world.tif"), CONFIG)
    cover = read_coverage(scene, native(scene), CONFIG, 900)
    assert cover.shape == (450, 900)
    assert 0.3 < cover.mean() < 0.5


def test_a_wide_scene_is_sampled_in_pieces_that_fit_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or GDAL would decode each row of blocks again for every line of the sample: minutes for a strip of 22,000 px."""
    width, block, row_bytes = 3000, 64, 50_000
    columns = np.broadcast_to(np.arange(width, dtype=np.uint16)[None, :, None], (200, width, 3))
    scene = open_scene(str(write_geotiff(tmp_path / "wide.tif", columns, block_px=block)), CONFIG)
    few = replace(LIMITS, sample_px=width * 200 // 9)
    whole, _, _ = decimated(scene, CONFIG, limits=few)
    windows: list[Window] = []
    read_as_ever = Pixels.read

    def read_and_tell(self: Pixels, window: Window, *args: Any, **how: Any) -> Any:
        windows.append(window)
        return read_as_ever(self, window, *args, **how)

    monkeypatch.setattr(Pixels, "read", read_and_tell)
    sample, valid, source = decimated(scene, CONFIG, limits=replace(few, row_bytes=row_bytes))
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


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_one_damaged_block_costs_a_giant_scene_neither_stretch_nor_picture(interleave: str, tmp_path: Path) -> None:
    """Where a scene is too large to be decoded as a whole: every window over the damage is left out, not just the
    first that meets it, and the others are as they were; damage to more than a quarter of them is the scene's end."""
    path = write_geotiff(tmp_path / "a.tif", picture(2048, 2048, dtype="uint16"), block_px=512, interleave=interleave)
    scene = open_scene(str(path), CONFIG)
    sample, _, source = decimated(scene, CONFIG, limits=GIANT)
    stretch = measure_stretch(scene, CONFIG, limits=GIANT)
    sound, _ = read_thumbnail(scene, stretch, CONFIG, 256, limits=GIANT)
    assert source == "64 windows of 256 px"
    damage_block(path, column=1, row=2)
    left, valid, source = decimated(scene, CONFIG, limits=GIANT)
    assert source == "60 windows of 256 px"
    assert valid.mean() == 60 / 64
    assert np.array_equal(left[valid], sample[valid])
    assert measure_stretch(scene, CONFIG, limits=GIANT).high == pytest.approx(stretch.high, rel=0.01)
    picture_, shown = read_thumbnail(scene, stretch, CONFIG, 256, limits=GIANT)
    assert not shown[2 * 64 + 16 : 3 * 64 - 16, 64 + 16 : 2 * 64 - 16].any()
    assert shown.mean() > 0.9
    assert np.array_equal(picture_[shown], sound[shown])
    for column in range(3):
        damage_block(path, column, row=0)
    assert measure_stretch(scene, CONFIG, limits=GIANT).source == "48 windows of 256 px"
    damage_block(path, column=3, row=0)
    with pytest.raises(SceneUnreadable, match="damaged in most places"):
        measure_stretch(scene, CONFIG, limits=GIANT)


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
    read: list[int] = []
    plain = Pixels.read
    monkeypatch.setattr(Pixels, "read", lambda self, window, *rest, **how: (
        read.append(window.pixels), plain(self, window, *rest, **how))[1])  # fmt: skip
    picture, valid = read_thumbnail(scene, stretch, CONFIG, 256, limits=GIANT)
    assert sum(read) == 10 * 10 * 16 * 16
    assert np.array_equal(valid, exact_valid)
    assert np.array_equal(picture[valid], exact[valid])


def test_a_real_palette_is_shown_in_its_colours(kestrel_data: Path) -> None:
    scene = open_scene(str(kestrel_data / "large_geotiff" / "cog_cmap.tif"), CONFIG)
    pixels, valid = read_thumbnail(scene, measure_stretch(scene, CONFIG), CONFIG, 300)
    with rasterio.open(scene.uris[0]) as file:
        colours = {colour[:3] for colour in file.colormap(1).values()}
    assert {tuple(map(int, colour)) for colour in np.unique(pixels[valid], axis=0)} <= colours
    assert 0.3 < valid.mean() < 0.9


def test_a_scene_that_fails_everywhere_is_given_up_soon(tmp_path: Path) -> None:
    """Not quartered to the end: every failure costs an opening, and for that Python opens the file five times."""
    path = write_geotiff(tmp_path / "a.tif", picture(1024, 1024, dtype="uint16"), block_px=64)
    scene = open_scene(str(path), CONFIG)
    for column, row in itertools.product(range(16), range(16)):
        damage_block(path, column, row)
    openings, counting = 0, True

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal openings
        if counting and event == "open" and str(arguments[0]) == str(path):
            openings += 1

    sys.addaudithook(count)
    with pytest.raises(SceneUnreadable, match="damaged in most places"):
        measure_stretch(scene, CONFIG)
    counting = False
    assert openings <= 5 * HOPELESS
