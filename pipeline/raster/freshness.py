"""Whether overviews tell what the pixels tell: they may be older than the file's own blocks, which are what counts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import RasterConfig
from pipeline.errors import SceneUnreadable
from pipeline.pixels.decoding import decoded_spans
from pipeline.pixels.resampling import source_window
from pipeline.raster.limits import LIMITS, Limits, overview_for
from pipeline.raster.source import Pixels
from pipeline.retrying import PATIENCE, Patience
from pipeline.types import BoolArray, IntArray, Lattice, Scene, Tile, Window

OLDER = (
    "the overviews are not of these pixels (older, it seems): the pixels themselves are asked for what is to be known "
    "of the whole scene, and shown in the preview, which takes longer; make the overviews anew with gdaladdo -clean, "
    "then gdaladdo"
)
"""The sentence for a user."""
PLACES = 4
"""Windows along each side in which an overview is compared with the pixels."""
COMPARED_PX = 256
"""Side of such a window, scene pixels."""
TOLERANCE = 0.1
"""What resampling and lossy compression may add to the range of the pixels, as a share of it."""
LOSS = 4
"""What lossy compression may add to 8 bit besides."""
REACH = 2
"""Pixels of an overview, to each side, in whose place the pixels lie that it was made of."""
FEW_BLACK = 0.1
"""So few of the pixels are 0 where an overview that is 0 throughout is not of them."""
CONFIRM_PX = 1_000_000_000
"""Pixels of skipped tiles that are read to confirm that they are empty; of more, few tiles stand for all."""
CONFIRM_BLOCKS = 200_000
"""Likewise, blocks of the file that are asked for."""
FEW_TILES = 500
"""So many."""
RUN_PX = 4_000_000
"""Pixels read at a time, but for one block of the file."""


def with_sound_overviews(
    scene: Scene, config: RasterConfig, patience: Patience = PATIENCE, limits: Limits = LIMITS
) -> Scene:
    """The scene, without its overviews where they are not of its pixels: then OLDER is to be said."""
    if not scene.overviews:
        return scene
    level = overview_for(scene, limits)
    if overview_is_older(scene, len(scene.overviews) - 1 if level is None else level, config, patience):
        return replace(scene, overviews=())
    return scene


def overview_is_older(scene: Scene, level: int, config: RasterConfig, patience: Patience = PATIENCE) -> bool:
    """Whether overview ``level`` (counted from 0) contradicts the pixels in one of a few places: other values than they
    have there, or nothing where they show something, or the reverse."""
    with (
        contextlib.closing(Pixels(scene, config, level, patience)) as overview,
        contextlib.closing(Pixels(scene, config, None, patience)) as full,
    ):
        for small in _places(overview):
            rows = _edges(small.y, small.height, full.height / overview.height, full.height)
            columns = _edges(small.x, small.width, full.width / overview.width, full.width)
            large = Window(x=int(columns[0]), y=int(rows[0]), width=int(columns[-1] - columns[0]),
                           height=int(rows[-1] - rows[0]))  # fmt: skip
            with contextlib.suppress(SceneUnreadable):  # damage is told of elsewhere
                seen, pixels = overview.read(small), full.read(large)
                told = overview.valid(small, seen, by_channel=True), full.valid(large, pixels, by_channel=True)
                edges = rows - large.y, columns - large.x
                if any(_contradict(seen[..., c], told[0][..., c], pixels[..., c], told[1][..., c], edges)
                       for c in range(seen.shape[-1])):  # fmt: skip
                    return True
    return False


def _places(overview: Pixels) -> Iterator[Window]:
    """Windows of the overview, spread over it."""
    across, down = (overview.scene.width / overview.width, overview.scene.height / overview.height)
    width, height = (max(4, int(COMPARED_PX / factor)) for factor in (across, down))
    width, height = min(width, overview.width), min(height, overview.height)
    for row in range(PLACES):
        for column in range(PLACES):
            x = (overview.width - width) * (2 * column + 1) // (2 * PLACES)
            y = (overview.height - height) * (2 * row + 1) // (2 * PLACES)
            yield Window(x=x, y=y, width=width, height=height)


def _edges(start: int, count: int, factor: float, size: int) -> IntArray:
    """(count + 2 REACH + 1,) where in the scene the pixels of the overview end, from REACH before to REACH behind."""
    cells = np.arange(start - REACH, start + count + REACH + 1) * factor
    return np.clip(np.round(cells).astype(np.int64), 0, size)


def _contradict(
    seen: NDArray[Any], told: BoolArray, pixels: NDArray[Any], valid: BoolArray, edges: tuple[IntArray, IntArray]
) -> bool:
    """One channel of one place: (h, w) of the overview, (H, W) of the pixels around, and their :func:`_edges`."""
    if not told.any() or not valid.any():
        return bool(told.mean() > 0.5 or valid.mean() > 0.5)
    among = pixels if valid.all() else pixels[valid]
    if not seen[told].any() and (among == 0).mean() < FEW_BLACK:
        return True
    least, most = float(among.min()), float(among.max())
    room = TOLERANCE * (most - least) + 0.01 * max(abs(least), abs(most)) + (LOSS if seen.dtype == np.uint8 else 0)
    ends = np.iinfo(pixels.dtype) if pixels.dtype.kind in "iu" else np.finfo(pixels.dtype)
    low = _around(np.where(valid, pixels, pixels.dtype.type(ends.max)), edges, np.minimum).astype(np.float64)
    high = _around(np.where(valid, pixels, pixels.dtype.type(ends.min)), edges, np.maximum).astype(np.float64)
    values = seen.astype(np.float64)
    return float(((values < low - room) | (values > high + room))[told].mean()) > 0.5


def _around(values: NDArray[Any], edges: tuple[IntArray, IntArray], least: np.ufunc) -> NDArray[Any]:
    """(h, w) the least, or most, of (H, W) ``values`` in the cell of each pixel of the overview and REACH around it."""
    for axis, cuts in enumerate(edges):
        starts = np.minimum(cuts[:-1], values.shape[axis] - 1)
        values = least.reduceat(values, starts, axis=axis)
        count = values.shape[axis] - 2 * REACH
        steps = [values.take(range(step, step + count), axis=axis) for step in range(2 * REACH + 1)]
        values = least.reduce(steps, axis=0)
    return values


def hold_valid_pixels(
    tiles: Sequence[Tile], scene: Scene, lattice: Lattice, config: RasterConfig, patience: Patience = PATIENCE
) -> BoolArray:
    """For each of ``tiles``, which an overview calls empty: whether the file's own blocks hold a valid pixel in it.

    Blocks that a sparse file leaves out cost nothing. Where too many are left, few tiles are looked at, and if any of
    those holds a pixel, all are said to: nothing is skipped on the word of an overview that was wrong. What cannot be
    read counts as valid, so that its tile is told of as a failure. Raises StorageError.
    """
    spans = [source_window(tile.window, lattice, scene.width, scene.height) for tile in tiles]
    bounds = np.array([(span.x, span.y, span.x1, span.y1) for span in spans], np.int64).reshape(-1, 4)
    with contextlib.closing(Pixels(scene, config, None, patience)) as source:
        wanted = _file_blocks(bounds, source)
        if wanted.sum() <= CONFIRM_BLOCKS:
            wanted = _stored(wanted, source)
            if wanted.sum() * source.block_width * source.block_height <= CONFIRM_PX:
                return _found(bounds, wanted, source)
        few = bounds[:: max(1, len(bounds) // FEW_TILES)]
        middle = (few[:, :2] + few[:, 2:]) // 2
        few = np.concatenate([middle, middle + 1], axis=1)
        cells = _file_blocks(few, source)
        return np.full(len(tiles), _found(few, _stored(cells, source), source).any())


def _file_blocks(bounds: IntArray, source: Pixels) -> BoolArray:
    """(rows, columns) of the file's blocks: those that any of the windows ``bounds`` (N, 4) touches."""
    unit = np.array([source.block_width, source.block_height])
    size = np.array([source.width, source.height])
    start, end = decoded_spans(bounds[:, :2], bounds[:, 2:], unit, size)
    columns, rows = (-(-size // unit)).tolist()
    wanted = np.zeros((rows, columns), np.bool_)
    for (x, y), (x1, y1) in zip((start // unit).tolist(), (-(-end // unit)).tolist(), strict=True):
        wanted[y:y1, x:x1] = True
    return wanted


def _stored(wanted: BoolArray, source: Pixels) -> BoolArray:
    """``wanted`` without the blocks that a sparse file leaves out, where what stands for them is a hole."""
    if not source.left_out_is_a_hole:
        return wanted
    stored = wanted.copy()
    for row, column in np.argwhere(wanted).tolist():
        stored[row, column] = source.holds_block(column, row)
    return stored


def _found(bounds: IntArray, wanted: BoolArray, source: Pixels) -> BoolArray:
    """Which windows hold a valid pixel; only ``wanted`` blocks of the file are read, neighbours together."""
    found = np.zeros(len(bounds), np.bool_)
    for run in _runs(wanted, source):
        x, y = np.maximum(bounds[:, :2], (run.x, run.y)).T
        x1, y1 = np.minimum(bounds[:, 2:], (run.x1, run.y1)).T
        touched = np.flatnonzero((x < x1) & (y < y1) & ~found)
        if not len(touched):
            continue
        valid = _valid(run, source)
        if valid.any():
            for one in touched.tolist():
                found[one] = valid[y[one] - run.y : y1[one] - run.y, x[one] - run.x : x1[one] - run.x].any()
    return found


def _valid(run: Window, source: Pixels) -> BoolArray:
    """(H, W) of blocks side by side; a block that cannot be read counts as valid throughout."""
    try:
        return source.valid(run, source.read(run))
    except SceneUnreadable:
        if run.width <= source.block_width:
            return np.ones((run.height, run.width), np.bool_)
    step = source.block_width
    starts = range(run.x, run.x1, step)
    blocks = [Window(x=x, y=run.y, width=min(step, run.x1 - x), height=run.height) for x in starts]
    return np.concatenate([_valid(block, source) for block in blocks], axis=1)


def _runs(wanted: BoolArray, source: Pixels) -> Iterator[Window]:
    """Windows of whole neighbouring blocks of one row of the file's blocks."""
    across, down = source.block_width, source.block_height
    most = max(1, RUN_PX // (across * down))
    for row in np.flatnonzero(wanted.any(axis=1)).tolist():
        columns = np.flatnonzero(wanted[row])
        for run in np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1):
            for first in range(0, len(run), most):
                part = run[first : first + most]
                x, x1 = int(part[0]) * across, min(int(part[-1] + 1) * across, source.width)
                y, y1 = row * down, min((row + 1) * down, source.height)
                yield Window(x=x, y=y, width=x1 - x, height=y1 - y)
