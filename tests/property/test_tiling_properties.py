"""What every plan promises, for any scene, tile, halo and file layout."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.pixels.resampling import source_window
from pipeline.planning.blocks import decoded_pixels, delivered_pixels, plan_blocks
from pipeline.planning.tiles import plan_tiles, with_valid_pixels
from pipeline.types import Lattice, Scene, Tile


def make_scene(width: int, height: int, unit: tuple[int, int]) -> Scene:
    return Scene(
        scene_id="any", uris=("any.tif",), width=width, height=height, bands=(1, 2, 3), band_count=3, dtype="uint8",
        driver="GTiff", crs_wkt=None, transform=None, block_width=min(unit[0], width), block_height=unit[1],
    )  # fmt: skip


def native(width: int, height: int) -> Lattice:
    return Lattice(width=width, height=height, scale_x=1.0, scale_y=1.0, gsd_m=None)


@st.composite
def plans(draw: st.DrawFn) -> tuple[Lattice, int, int]:
    tile_px = draw(st.integers(2, 70))
    halo_px = draw(st.integers(0, tile_px - 1))
    # At most some thousand tiles: a halo that leaves a core of one pixel makes a tile per pixel.
    most = min(300, tile_px + 40 * (tile_px - halo_px))
    return native(draw(st.integers(1, most)), draw(st.integers(1, most))), tile_px, halo_px


def whole_in_a_window(tiles: tuple[Tile, ...], x: float, y: float, x1: float, y1: float) -> bool:
    return any(
        t.window.x <= x and t.window.y <= y and x1 <= t.window.x1 and y1 <= t.window.y1 for t in tiles
    )  # fmt: skip


@given(plans())
def test_cores_partition_the_lattice_and_lie_in_their_windows(plan: tuple[Lattice, int, int]) -> None:
    lattice, tile_px, halo_px = plan
    owners = np.zeros((lattice.height, lattice.width), np.int64)
    for tile in plan_tiles(lattice, tile_px, halo_px):
        owners[tile.core.y : tile.core.y1, tile.core.x : tile.core.x1] += 1
        assert tile.window.contains(tile.core)
        assert lattice.window.contains(tile.window)
    assert (owners == 1).all()


@given(plans())
def test_windows_are_as_large_as_the_tile_wherever_the_lattice_is(plan: tuple[Lattice, int, int]) -> None:
    lattice, tile_px, halo_px = plan
    for tile in plan_tiles(lattice, tile_px, halo_px):
        assert (tile.window.width, tile.window.height) == (min(tile_px, lattice.width), min(tile_px, lattice.height))


@given(plans(), st.data())
def test_every_object_no_longer_than_the_halo_lies_whole_in_some_tile(
    plan: tuple[Lattice, int, int], data: st.DataObject
) -> None:
    lattice, tile_px, halo_px = plan
    tiles = plan_tiles(lattice, tile_px, halo_px)
    width = data.draw(st.floats(0, min(halo_px, lattice.width)))
    height = data.draw(st.floats(0, min(halo_px, lattice.height)))
    x = data.draw(st.floats(0, lattice.width - width))
    y = data.draw(st.floats(0, lattice.height - height))
    # x + width may round up past an exact bound; the object is what fits after rounding down again.
    x1, y1 = min(x + width, np.nextafter(x + width, 0)), min(y + height, np.nextafter(y + height, 0))
    assert whole_in_a_window(tiles, x, y, x1, y1)


@given(plans())
@settings(max_examples=50)
def test_no_tile_is_redundant(plan: tuple[Lattice, int, int]) -> None:
    """Along either axis, without any one position some object of the halo's length is cut (for halo 0: some pixel).

    Objects lie at half pixels too: with tile 2 and halo 1 only they need every second window.
    """
    lattice, tile_px, halo_px = plan
    tiles = plan_tiles(lattice, tile_px, halo_px)
    length, step = (halo_px, 0.5) if halo_px else (1, 1.0)
    for size, spans in (
        (lattice.width, sorted({(t.window.x, t.window.x1) for t in tiles})),
        (lattice.height, sorted({(t.window.y, t.window.y1) for t in tiles})),
    ):
        for left_out in spans if len(spans) > 1 else ():
            others = [span for span in spans if span != left_out]
            starts = np.arange(0, size - length + step / 2, step)
            assert not all(any(s <= start and start + length <= e for s, e in others) for start in starts)


@given(plans())
@settings(max_examples=30)
def test_the_same_input_gives_the_same_plan_row_by_row(plan: tuple[Lattice, int, int]) -> None:
    lattice, tile_px, halo_px = plan
    tiles = plan_tiles(lattice, tile_px, halo_px)
    assert tiles == plan_tiles(lattice, tile_px, halo_px)
    assert [t.index for t in tiles] == list(range(len(tiles)))
    assert len({t.tile_id for t in tiles}) == len(tiles)
    order = [(t.core.y, t.core.x) for t in tiles]
    assert order == sorted(order)


@st.composite
def block_plans(draw: st.DrawFn) -> tuple[tuple[Tile, ...], Scene, Lattice, float]:
    """Tiles, some left out, over files with odd decoding units and lattices that shrink or magnify."""
    lattice, tile_px, halo_px = draw(plans())
    scale_x, scale_y = draw(st.sampled_from([(1.0, 1.0), (0.7, 0.7), (1.9, 2.3), (3.0, 0.9)]))
    width, height = max(1, int(lattice.width * scale_x)), max(1, int(lattice.height * scale_y))
    if (scale_x, scale_y) != (1.0, 1.0):
        lattice = Lattice(width=lattice.width, height=lattice.height, scale_x=scale_x, scale_y=scale_y, gsd_m=None)
    unit = draw(st.sampled_from([(16, 16), (64, 64), (10_000, 1), (10_000, 7), (50, 9)]))
    tiles = plan_tiles(lattice, tile_px, halo_px)
    keep = draw(st.integers(0, 2**32 - 1))
    share = draw(st.sampled_from([0.2, 0.7, 1.0]))
    chosen = np.random.default_rng(keep).random(len(tiles)) < share
    kept = tuple(tile for tile, yes in zip(tiles, chosen, strict=True) if yes)
    cap_mpx = draw(st.floats(1e-4, 0.1))
    return kept, make_scene(width, height, unit), lattice, cap_mpx


@given(block_plans())
@settings(max_examples=60)
def test_every_tile_is_in_exactly_one_block_that_holds_it(
    plan: tuple[tuple[Tile, ...], Scene, Lattice, float],
) -> None:
    tiles, scene, lattice, cap_mpx = plan
    blocks = plan_blocks(tiles, scene, lattice, cap_mpx)
    assert sorted(t.index for b in blocks for t in b.tiles) == [t.index for t in tiles]
    assert [b.block_id for b in blocks] == list(range(len(blocks)))
    for block in blocks:
        hull = block.tiles[0].window
        for tile in block.tiles:
            hull = hull.union(tile.window)
        assert block.window == hull
        source = source_window(block.window, lattice, scene.width, scene.height)
        assert len(block.tiles) == 1 or max(block.window.pixels, source.pixels) <= cap_mpx * 1e6
    assert blocks == plan_blocks(tiles, scene, lattice, cap_mpx)


@given(block_plans())
@settings(max_examples=60)
def test_counts_of_decoded_and_delivered_pixels_equal_a_count_on_a_raster(
    plan: tuple[tuple[Tile, ...], Scene, Lattice, float],
) -> None:
    """Against painting: every file unit a block touches is painted whole, every tile's source pixels once."""
    tiles, scene, lattice, cap_mpx = plan
    blocks = plan_blocks(tiles, scene, lattice, cap_mpx)
    decoded = 0
    for block in blocks:
        read = source_window(block.window, lattice, scene.width, scene.height)
        columns = np.arange(scene.width) // scene.block_width
        rows = np.arange(scene.height) // scene.block_height
        decoded += int(np.isin(columns, columns[read.x : read.x1]).sum() * np.isin(rows, rows[read.y : read.y1]).sum())
    assert decoded_pixels(blocks, scene, lattice) == decoded
    seen = np.zeros((scene.height, scene.width), np.bool_)
    for tile in tiles:
        read = source_window(tile.window, lattice, scene.width, scene.height)
        seen[read.y : read.y1, read.x : read.x1] = True
    assert delivered_pixels(tiles, scene, lattice) == int(seen.sum())


@given(plans(), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_no_tile_with_a_valid_pixel_is_skipped(
    plan: tuple[Lattice, int, int], rows: int, columns: int, seed: int
) -> None:
    """Valid pixels are drawn first; the coverage marks every cell that holds one, whatever the cells' size."""
    lattice, tile_px, halo_px = plan
    rows, columns = min(rows, lattice.height), min(columns, lattice.width)
    random = np.random.default_rng(seed)
    points = np.column_stack([random.integers(0, lattice.height, 5), random.integers(0, lattice.width, 5)])
    coverage = np.zeros((rows, columns), np.bool_)
    for y, x in points:
        first = (y * rows // lattice.height, x * columns // lattice.width)
        last = (((y + 1) * rows - 1) // lattice.height, ((x + 1) * columns - 1) // lattice.width)
        coverage[first[0] : last[0] + 1, first[1] : last[1] + 1] = True
    tiles = plan_tiles(lattice, tile_px, halo_px)
    kept, skipped = with_valid_pixels(tiles, coverage, lattice)
    assert sorted((*kept, *skipped), key=lambda tile: tile.index) == list(tiles)
    for tile in skipped:
        assert not any(tile.window.x <= x < tile.window.x1 and tile.window.y <= y < tile.window.y1 for y, x in points)
    if rows == lattice.height and columns == lattice.width:
        for tile in kept:
            assert any(tile.window.x <= x < tile.window.x1 and tile.window.y <= y < tile.window.y1 for y, x in points)
