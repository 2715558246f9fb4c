"""Scene → lattice → tiles → blocks. Whole numbers only: no file is opened here.

The halo guarantee
------------------
``halo_px`` is the overlap of neighbouring windows. Along an axis windows start at ``0, s, 2s, …`` with
``s = tile_px - halo_px``, and the last one is snapped inside, which only makes its overlap larger. Take any interval
``[a, a + l]`` with ``l <= halo_px`` inside the lattice, and the last window that starts at or before ``a``: the next
one starts after ``a`` and at most ``s`` later, so ``a + l`` is at most this window's end. Hence an object whose
axis-parallel bounds measure at most ``halo_px`` on either side lies whole in some window. Cores meet in the middle of
the overlaps.

Decode amplification
--------------------
A file is decoded in units (its internal tiles or strips). :func:`plan_blocks` searches for the grouping of tiles
whose windows, snapped outward to those units, decode the fewest scene pixels per scene pixel delivered.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import ceil, floor

import numpy as np
import shapely

from pipeline.config import TilingConfig
from pipeline.errors import ConfigError
from pipeline.types import BoolArray, IntArray, Lattice, ModelCard, Tile, Window

EDGE_MARGIN_PX = 2
"""A box this near to an inner chip edge counts as cut (ruling 7), so the default halo keeps it free on both sides."""

FALLBACK_HALO_SHARE = 0.125
"""Halo as a share of the tile when neither the run nor the model card says how long objects are."""


def resolve_tile_px(config: TilingConfig, card: ModelCard) -> int:
    """Side of a tile in lattice pixels: what the run says, else the model's input before the global shrinking."""
    return config.tile_px or round(card.input_px * config.global_factor)


def resolve_halo_px(config: TilingConfig, lattice: Lattice, card: ModelCard) -> int:
    """Overlap of neighbouring windows in lattice pixels.

    The run's ``halo_px`` or ``halo_m``, else the model's longest object plus an edge margin on both sides, else
    FALLBACK_HALO_SHARE of the tile. Where that leaves no core: none for a scene of one tile, which has no neighbours;
    half a tile in place of the model's (:func:`halo_warning` says so). Raises ConfigError when metres cannot be
    converted, or when a halo that was asked for leaves no core.
    """
    tile_px, halo_px = resolve_tile_px(config, card), _wanted_halo_px(config, lattice, card)
    if halo_px < tile_px:
        return halo_px
    if max(lattice.width, lattice.height) <= tile_px:
        return 0
    if config.halo_px is None and config.halo_m is None:
        return tile_px // 2
    lower = f"--tiling.halo_px {tile_px // 2}"
    if config.halo_m is not None and lattice.gsd_m is not None:
        lower = f"--tiling.halo_m {floor((tile_px - 1) * lattice.gsd_m)}"
    raise ConfigError(
        f"a halo of {halo_px} px leaves no core in tiles of {tile_px} px; give --tiling.tile_px {halo_px + 1} or more, "
        f"or {lower} or less"
    )


def halo_warning(config: TilingConfig, lattice: Lattice, card: ModelCard) -> str | None:
    """What to know when the halo for the model's longest objects had to give way; None when it did not."""
    tile_px, wanted = resolve_tile_px(config, card), _wanted_halo_px(config, lattice, card)
    halo_px = resolve_halo_px(config, lattice, card)
    if halo_px == wanted or max(lattice.width, lattice.height) <= tile_px:
        return None
    return (
        f"objects of {card.longest_object_m:g} m need a halo of {wanted} px at {lattice.gsd_m:.3g} m a pixel, more "
        f"than a tile has ({tile_px} px): it gives way to {halo_px} px, and what is longer is seen in parts only; give "
        f"--tiling.tile_px {2 * wanted}, or --tiling.gsd model where the model knows its GSD"
    )


def _wanted_halo_px(config: TilingConfig, lattice: Lattice, card: ModelCard) -> int:
    """See :func:`resolve_halo_px`; may be more than a tile has."""
    if config.halo_px is not None:
        return config.halo_px
    if config.halo_m is not None:
        if lattice.gsd_m is None:
            raise ConfigError(
                f"tiling.halo_m={config.halo_m:g} needs a scene with a ground sample distance; give tiling.halo_px"
            )
        return ceil(config.halo_m / lattice.gsd_m)
    if card.longest_object_m is not None and lattice.gsd_m is not None:
        return ceil(card.longest_object_m / lattice.gsd_m) + 2 * ceil(EDGE_MARGIN_PX * config.global_factor)
    return round(resolve_tile_px(config, card) * FALLBACK_HALO_SHARE)


def plan_tiles(lattice: Lattice, tile_px: int, halo_px: int) -> tuple[Tile, ...]:
    """The fewest tiles that keep the halo guarantee (see the module docstring), row by row.

    Windows are ``tile_px`` square, or as large as a smaller lattice. Raises ConfigError when no core is left.
    """
    if not 0 <= halo_px < tile_px:
        raise ConfigError(f"the halo must be at least 0 and below the tile of {tile_px} px, not {halo_px} px")
    columns = _spans(lattice.width, tile_px, halo_px)
    rows = _spans(lattice.height, tile_px, halo_px)
    column_names = [f"c{number:04d}" for number in range(len(columns))]
    tiles: list[Tile] = []
    for row, (y, y1, core_y, core_y1) in enumerate(rows):
        row_name, height, core_height = f"r{row:04d}", y1 - y, core_y1 - core_y
        for name, (x, x1, core_x, core_x1) in zip(column_names, columns, strict=True):
            core = Window(x=core_x, y=core_y, width=core_x1 - core_x, height=core_height)
            window = Window(x=x, y=y, width=x1 - x, height=height)
            tiles.append(Tile(index=len(tiles), tile_id=row_name + name, core=core, window=window))
    return tuple(tiles)


def _spans(size: int, tile_px: int, halo_px: int) -> list[tuple[int, int, int, int]]:
    """Along one axis: (window start, window end, core start, core end) of every tile."""
    if size <= tile_px:
        return [(0, size, 0, size)]
    stride = tile_px - halo_px
    count = 1 + ceil((size - tile_px) / stride)
    starts = [min(number * stride, size - tile_px) for number in range(count)]
    seams = [(start + tile_px + following) // 2 for start, following in pairwise(starts)]
    edges = [0, *seams, size]
    return [(start, start + tile_px, edges[i], edges[i + 1]) for i, start in enumerate(starts)]


def touching(tiles: Sequence[Tile], area: shapely.Geometry) -> tuple[Tile, ...]:
    """The tiles whose *window* touches ``area`` (lattice coordinates).

    The window, not the core: an object inside the area may lie whole only in a tile whose core is outside it.
    """
    if not tiles or area.is_empty:
        return ()
    x, y, x1, y1 = window_bounds(tiles).T
    shapely.prepare(area)
    hit = shapely.intersects(area, shapely.box(x, y, x1, y1))
    return tuple(tiles[i] for i in np.flatnonzero(hit).tolist())


def with_valid_pixels(
    tiles: Sequence[Tile], coverage: BoolArray, lattice: Lattice
) -> tuple[tuple[Tile, ...], tuple[Tile, ...]]:
    """(kept, skipped): tiles whose window holds any valid pixel, and the others.

    ``coverage`` (rows, columns) spans the lattice exactly and is conservative: True where a cell may hold a valid
    pixel. Cells that a window only partly covers count.
    """
    if not tiles or coverage.all():
        return tuple(tiles), ()
    rows, columns = coverage.shape
    counts = np.zeros((rows + 1, columns + 1), np.int64)
    np.cumsum(np.cumsum(coverage, axis=0, dtype=np.int64), axis=1, out=counts[1:, 1:])
    x, y, x1, y1 = window_bounds(tiles).T
    left, right = x * columns // lattice.width, -(-x1 * columns // lattice.width)
    top, bottom = y * rows // lattice.height, -(-y1 * rows // lattice.height)
    valid = counts[bottom, right] - counts[top, right] - counts[bottom, left] + counts[top, left] > 0
    kept = tuple(tiles[i] for i in np.flatnonzero(valid).tolist())
    return kept, tuple(tiles[i] for i in np.flatnonzero(~valid).tolist())


def window_bounds(tiles: Sequence[Tile]) -> IntArray:
    """(N, 4) x, y, x1, y1 of the tiles' windows."""
    flat = (bound for tile in tiles for bound in (tile.window.x, tile.window.y, tile.window.x1, tile.window.y1))
    return np.fromiter(flat, np.int64, 4 * len(tiles)).reshape(-1, 4)
