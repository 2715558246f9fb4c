"""Neighbouring tiles grouped into blocks that are read in one go, such that the file decodes little twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.pixels.decoding import decode_window, decoded_spans
from pipeline.pixels.resampling import source_window
from pipeline.planning.tiles import window_bounds
from pipeline.types import Block, IntArray, Lattice, Scene, Tile, Window

GOOD_AMPLIFICATION = 1.3
"""Scene pixels decoded per scene pixel delivered that a plan should not exceed."""

ENOUGH_BLOCKS = 8
"""Blocks wanted when that costs no more than GOOD_AMPLIFICATION: two for each of four workers."""


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
    bounds = window_bounds(tiles)
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
    sources = (source_window(block.window, lattice, scene.width, scene.height) for block in blocks)
    return sum(decode_window(scene, source).pixels for source in sources)


def delivered_pixels(tiles: Sequence[Tile], scene: Scene, lattice: Lattice) -> int:
    """Scene pixels (of one band) that the tiles' windows cover, each counted once (ruling 13)."""
    if not tiles:
        return 0
    bounds = window_bounds(tiles)
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
    decoded_start, decoded_end = decoded_spans(source_start, source_end, unit, size)
    return _Axis(start, end, decoded_start, decoded_end, source_start, source_end), rank


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
