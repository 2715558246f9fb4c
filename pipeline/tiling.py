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
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import numpy as np
import shapely

from pipeline.config import TilingConfig
from pipeline.errors import ConfigError
from pipeline.pixels.resampling import source_window
from pipeline.types import Block, BoolArray, IntArray, Lattice, ModelCard, Scene, Tile, Window

SAME_GSD = 1e-3
"""Resampling for less than 0.1 % is not worth a blurred pixel: 1000 px drift by one, no detector notices, and
UTM's own scale error (0.9996 on the central meridian, 1.0010 at the edge of a zone) is of this size."""

MOST_MAGNIFIED = 16.0
"""Beyond this a scene holds no detail at the wanted GSD, only work: a world map at 10 m is 30 million tiles."""

EDGE_MARGIN_PX = 2
"""A box this near to an inner chip edge counts as cut (ruling 7), so the default halo keeps it free on both sides."""

FALLBACK_HALO_SHARE = 0.125
"""Halo as a share of the tile when neither the run nor the model card says how long objects are."""

GOOD_AMPLIFICATION = 1.3
"""Scene pixels decoded per scene pixel delivered that a plan should not exceed."""

ENOUGH_BLOCKS = 8
"""Blocks wanted when that costs no more than GOOD_AMPLIFICATION: two for each of four workers."""


def make_lattice(
    scene: Scene, gsd: str, model_gsd_m: float | None, native_gsd_m: tuple[float, float] | None
) -> Lattice:
    """The one grid on which ``scene`` is tiled.

    ``gsd`` is ``model``, ``native`` or metres; ``native_gsd_m`` the ground size (x, y) of a scene pixel at the centre.
    Pixels become square on the ground, unless the scene stays native: because it was asked for, because a GSD is
    unknown, or because the wanted one is within SAME_GSD. The last column and row may hang over the scene's edge by
    less than one lattice pixel. Raises ConfigError when pixels would be magnified more than MOST_MAGNIFIED times.
    """
    wanted = model_gsd_m if gsd == "model" else None if gsd == "native" else float(gsd)
    if native_gsd_m is None:
        return Lattice(width=scene.width, height=scene.height, scale_x=1.0, scale_y=1.0, gsd_m=None)
    native_x, native_y = native_gsd_m
    mean_native = (native_x * native_y) ** 0.5
    if wanted is None or max(abs(wanted / native_x - 1), abs(wanted / native_y - 1)) <= SAME_GSD:
        return Lattice(width=scene.width, height=scene.height, scale_x=1.0, scale_y=1.0, gsd_m=mean_native)
    scale_x, scale_y = wanted / native_x, wanted / native_y
    if min(scale_x, scale_y) < 1 / MOST_MAGNIFIED:
        raise ConfigError(
            f"{scene.uris[0]} has pixels of {native_x:.4g} x {native_y:.4g} m on the ground, too coarse for "
            f"{wanted:g} m: {1 / min(scale_x, scale_y):.0f} times magnified; use a finer scene or tiling.gsd=native"
        )
    return Lattice(
        width=_cells(scene.width, scale_x), height=_cells(scene.height, scale_y),
        scale_x=scale_x, scale_y=scale_y, gsd_m=wanted,
    )  # fmt: skip


def _cells(size: int, scale: float) -> int:
    """Lattice pixels that cover ``size``; a sliver of a millionth is rounding, not a pixel."""
    return max(1, ceil(size / scale - 1e-6))


def resolve_tile_px(config: TilingConfig, card: ModelCard) -> int:
    """Side of a tile in lattice pixels: what the run says, else the model's input before the global shrinking."""
    return config.tile_px or round(card.input_px * config.global_factor)


def resolve_halo_px(config: TilingConfig, lattice: Lattice, card: ModelCard) -> int:
    """Overlap of neighbouring windows in lattice pixels.

    The run's ``halo_px`` or ``halo_m``, else the model's longest object plus an edge margin on both sides, else
    FALLBACK_HALO_SHARE of the tile. Raises ConfigError when metres cannot be converted, or no core is left.
    """
    tile_px = resolve_tile_px(config, card)
    if config.halo_px is not None:
        halo_px = config.halo_px
    elif config.halo_m is not None:
        if lattice.gsd_m is None:
            raise ConfigError(
                f"tiling.halo_m={config.halo_m:g} needs a scene with a ground sample distance; give tiling.halo_px"
            )
        halo_px = ceil(config.halo_m / lattice.gsd_m)
    elif card.longest_object_m is not None and lattice.gsd_m is not None:
        halo_px = ceil(card.longest_object_m / lattice.gsd_m) + 2 * ceil(EDGE_MARGIN_PX * config.global_factor)
    else:
        halo_px = round(tile_px * FALLBACK_HALO_SHARE)
    if halo_px >= tile_px:
        raise ConfigError(
            f"a halo of {halo_px} px leaves no core in tiles of {tile_px} px; raise tiling.tile_px or lower the halo "
            "(tiling.halo_px, tiling.halo_m)"
        )
    return halo_px


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
    x, y, x1, y1 = _window_bounds(tiles).T
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
    if not tiles:
        return (), ()
    rows, columns = coverage.shape
    counts = np.zeros((rows + 1, columns + 1), np.int64)
    np.cumsum(np.cumsum(coverage, axis=0, dtype=np.int64), axis=1, out=counts[1:, 1:])
    x, y, x1, y1 = _window_bounds(tiles).T
    left, right = x * columns // lattice.width, -(-x1 * columns // lattice.width)
    top, bottom = y * rows // lattice.height, -(-y1 * rows // lattice.height)
    valid = counts[bottom, right] - counts[top, right] - counts[bottom, left] + counts[top, left] > 0
    kept = tuple(tiles[i] for i in np.flatnonzero(valid).tolist())
    return kept, tuple(tiles[i] for i in np.flatnonzero(~valid).tolist())


def _window_bounds(tiles: Sequence[Tile]) -> IntArray:
    """(N, 4) x, y, x1, y1 of the tiles' windows."""
    flat = (bound for tile in tiles for bound in (tile.window.x, tile.window.y, tile.window.x1, tile.window.y1))
    return np.fromiter(flat, np.int64, 4 * len(tiles)).reshape(-1, 4)


@dataclass(frozen=True, slots=True, eq=False)
class _Axis:
    """The distinct window positions of a set of tiles along one axis, and what the file decodes for each."""

    start: IntArray
    """(n,) lattice, ascending."""
    end: IntArray
    decoded_start: IntArray
    """(n,) scene pixels, snapped outward to the file's decoding unit."""
    decoded_end: IntArray
    source_start: IntArray
    """(n,) scene pixels before snapping."""
    source_end: IntArray

    def groupings(self, cap: float, smallest_other: int) -> list[_Grouping]:
        """Ways to cut the axis into runs of nearly equal numbers of tiles, none hopelessly over ``cap``."""
        n = len(self.start)
        sizes = np.unique(np.concatenate([np.arange(1, min(n, 128) + 1), np.geomspace(1, n, 64).astype(np.int64), [n]]))
        counts = np.unique(-(-n // sizes))
        groupings = [self._grouping(int(count)) for count in counts]
        fitting = [grouping for grouping in groupings if grouping.longest * smallest_other <= cap]
        return fitting or groupings[-1:]

    def _grouping(self, count: int) -> _Grouping:
        n = len(self.start)
        bounds = np.arange(count + 1) * n // count
        first, last = bounds[:-1], bounds[1:] - 1
        longest = max(
            (self.end[last] - self.start[first]).max(), (self.source_end[last] - self.source_start[first]).max()
        )
        return _Grouping(bounds, int(longest), int((self.decoded_end[last] - self.decoded_start[first]).sum()))


@dataclass(frozen=True, slots=True, eq=False)
class _Grouping:
    """One way to cut an axis: tile ranks ``[bounds[i], bounds[i + 1])`` go together."""

    bounds: IntArray
    longest: int
    """Pixels of the longest run, lattice or scene, whichever is more."""
    decoded: int
    """Scene pixels decoded along the axis, all runs together."""

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def group_of(self, rank: IntArray) -> IntArray:
        return np.searchsorted(self.bounds, rank, side="right") - 1


def plan_blocks(tiles: Sequence[Tile], scene: Scene, lattice: Lattice, max_block_mpx: float) -> tuple[Block, ...]:
    """Neighbouring tiles in groups that are read in one go; every tile is in exactly one.

    A block holds at most ``max_block_mpx`` million pixels, counted on the lattice or in the scene, whichever is more
    (a single tile may be larger). Among all regular groupings the choice is, in this order: decode no more than
    GOOD_AMPLIFICATION, or as little above it as possible; reach ENOUGH_BLOCKS blocks (or the number of tiles); decode
    least. A group with holes (area of interest, skipped tiles) is cut further where that saves decoding.
    """
    if not tiles:
        return ()
    bounds = _window_bounds(tiles)
    x_axis, column = _axis(bounds[:, 0], bounds[:, 2], scene, lattice, horizontal=True)
    y_axis, row = _axis(bounds[:, 1], bounds[:, 3], scene, lattice, horizontal=False)
    columns, rows = _best_grouping(x_axis, y_axis, max_block_mpx * 1e6, min(len(tiles), ENOUGH_BLOCKS))
    group = rows.group_of(row) * len(columns) + columns.group_of(column)
    order = np.argsort(group, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    file_grid = _Decoder(x_axis, y_axis, column, row)
    parts = [part for member in members for part in file_grid.cut_at_holes(member)]
    return tuple(
        Block(block_id=number, window=_hull(bounds[part]), tiles=tuple(tiles[i] for i in part.tolist()))
        for number, part in enumerate(parts)
    )


def decoded_pixels(blocks: Sequence[Block], scene: Scene, lattice: Lattice) -> int:
    """Scene pixels (of one band) that the file's decoder produces to read all ``blocks``, each once."""
    total = 0
    for block in blocks:
        source = source_window(block.window, lattice, scene.width, scene.height)
        width = _snap_up(source.x1, scene.block_width, scene.width) - _snap_down(source.x, scene.block_width)
        height = _snap_up(source.y1, scene.block_height, scene.height) - _snap_down(source.y, scene.block_height)
        total += width * height
    return total


def delivered_pixels(tiles: Sequence[Tile], scene: Scene, lattice: Lattice) -> int:
    """Scene pixels (of one band) that the tiles' windows cover, each counted once (ruling 13)."""
    if not tiles:
        return 0
    bounds = _window_bounds(tiles)
    x_axis, column = _axis(bounds[:, 0], bounds[:, 2], scene, lattice, horizontal=True)
    y_axis, row = _axis(bounds[:, 1], bounds[:, 3], scene, lattice, horizontal=False)
    x_edges = np.unique([x_axis.source_start, x_axis.source_end])
    y_edges = np.unique([y_axis.source_start, y_axis.source_end])
    left, right = (np.searchsorted(x_edges, edge)[column] for edge in (x_axis.source_start, x_axis.source_end))
    top, bottom = (np.searchsorted(y_edges, edge)[row] for edge in (y_axis.source_start, y_axis.source_end))
    steps = np.zeros((len(y_edges), len(x_edges)), np.int64)
    for y, x, sign in ((top, left, 1), (top, right, -1), (bottom, left, -1), (bottom, right, 1)):
        np.add.at(steps, (y, x), sign)
    covered = np.cumsum(np.cumsum(steps, axis=0), axis=1)[:-1, :-1] > 0
    return int(np.diff(y_edges) @ covered @ np.diff(x_edges))


def _snap_down(position: int, unit: int) -> int:
    return position // unit * unit


def _snap_up(position: int, unit: int, size: int) -> int:
    return min(-(-position // unit) * unit, size)


def _hull(bounds: IntArray) -> Window:
    (x, y), (x1, y1) = bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)
    return Window(x=int(x), y=int(y), width=int(x1 - x), height=int(y1 - y))


def _axis(
    starts: IntArray, ends: IntArray, scene: Scene, lattice: Lattice, *, horizontal: bool
) -> tuple[_Axis, IntArray]:
    """The distinct positions along one axis, and the rank of every tile among them.

    The source of a run of tiles reaches from the first pixel's source to the last one's, so two pixels per position
    are enough to know it.
    """
    start, first, rank = np.unique(starts, return_index=True, return_inverse=True)
    end = ends[first]

    def source(position: int) -> tuple[int, int]:
        x, y = (position, 0) if horizontal else (0, position)
        window = source_window(Window(x=x, y=y, width=1, height=1), lattice, scene.width, scene.height)
        return (window.x, window.x1) if horizontal else (window.y, window.y1)

    unit, size = (scene.block_width, scene.width) if horizontal else (scene.block_height, scene.height)
    source_start = np.array([source(int(position))[0] for position in start], np.int64)
    source_end = np.array([source(int(position) - 1)[1] for position in end], np.int64)
    decoded_end = np.minimum(-(-source_end // unit) * unit, size)
    return _Axis(start, end, source_start // unit * unit, decoded_end, source_start, source_end), rank


def _best_grouping(x_axis: _Axis, y_axis: _Axis, cap: float, wanted_blocks: int) -> tuple[_Grouping, _Grouping]:
    """The pair of groupings that :func:`plan_blocks` describes, as if no tile were missing."""
    smallest_x, smallest_y = (int((axis.end - axis.start).max()) for axis in (x_axis, y_axis))
    columns, rows = x_axis.groupings(cap, smallest_y), y_axis.groupings(cap, smallest_x)
    delivered = float(_covered(x_axis)) * float(_covered(y_axis))
    amplification = np.outer([g.decoded for g in rows], [g.decoded for g in columns]) / delivered
    missing = np.maximum(wanted_blocks - np.outer([len(g) for g in rows], [len(g) for g in columns]), 0)
    pixels = np.outer([g.longest for g in rows], [g.longest for g in columns])
    above_cap = np.maximum(pixels, cap)
    keys = (amplification, missing, np.maximum(amplification, GOOD_AMPLIFICATION), above_cap)
    best = int(np.lexsort([key.ravel() for key in keys])[0])
    return columns[best % len(columns)], rows[best // len(columns)]


def _covered(axis: _Axis) -> int:
    """Scene pixels along the axis that lie in any tile's window."""
    reach = np.maximum.accumulate(axis.source_end)
    begin = np.maximum(axis.source_start[1:], reach[:-1])
    return int(reach[0] - axis.source_start[0] + np.maximum(axis.source_end[1:] - begin, 0).sum())


@dataclass(frozen=True, slots=True, eq=False)
class _Decoder:
    """What the file decodes for any set of tiles, given by their numbers."""

    x_axis: _Axis
    y_axis: _Axis
    column: IntArray
    """(N,) rank of every tile on the x axis."""
    row: IntArray

    def pixels(self, part: IntArray) -> int:
        """Scene pixels decoded to read ``part`` in one go."""
        columns, rows = self.column[part], self.row[part]
        width = self.x_axis.decoded_end[columns.max()] - self.x_axis.decoded_start[columns.min()]
        height = self.y_axis.decoded_end[rows.max()] - self.y_axis.decoded_start[rows.min()]
        return int(width * height)

    def cut_at_holes(self, part: IntArray) -> list[IntArray]:
        """``part`` itself, or the pieces of the straight cuts that decode least, found one after the other."""
        whole = self.pixels(part)
        best, best_pieces = whole, None
        for rank, axis in ((self.row, self.y_axis), (self.column, self.x_axis)):
            ranks = np.unique(rank[part])
            if self._is_full(part) and (axis.start[ranks[1:]] <= axis.end[ranks[:-1]]).all():
                continue
            for cut in ranks[1:]:
                pieces = part[rank[part] < cut], part[rank[part] >= cut]
                decoded = self.pixels(pieces[0]) + self.pixels(pieces[1])
                if decoded < best:
                    best, best_pieces = decoded, pieces
        if best_pieces is None:
            return [part]
        return [piece for half in best_pieces for piece in self.cut_at_holes(half)]

    def _is_full(self, part: IntArray) -> bool:
        return len(part) == len(np.unique(self.column[part])) * len(np.unique(self.row[part]))
