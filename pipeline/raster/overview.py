"""A scene seen small, as a whole: the sample of its stretch, where it has valid pixels, and a picture of it.

Memory is bounded by the picture asked for, never by the scene; damaged places are blank, and invalid.
"""

from __future__ import annotations

import contextlib
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling

from pipeline.config import RasterConfig
from pipeline.errors import SceneUnreadable
from pipeline.pixels.doubts import stretch_doubts
from pipeline.pixels.stretch import channel_samples, fixed_stretch, stretch_from_sample, to_bytes, turned_over
from pipeline.pixels.validity import may_be_invalid
from pipeline.raster.freshness import with_sound_overviews
from pipeline.raster.limits import LIMITS, Limits, overview_for
from pipeline.raster.parts import quarters, scaled
from pipeline.raster.reader import STRIP_PX, row_parts
from pipeline.raster.source import OWN, Pixels
from pipeline.retrying import PATIENCE, Patience
from pipeline.types import BoolArray, ByteArray, IntArray, Lattice, Scene, Stretch, Window

DAMAGE_PX = 32
"""Around a damaged place a picture stays blank to within as many of its pixels."""
READABLE = 0.75
"""Share of a scene that must be readable; the tiles of the rest are failures."""
HOPELESS = 200
"""Places of which a scene must yield one; each that fails costs an opening."""
MOSAIC_CELL_PX = 25
"""Side, in pixels of the picture, of the cells that the picture of a scene too large to be decoded is made of."""


def measure_stretch(
    scene: Scene, config: RasterConfig, patience: Patience = PATIENCE, limits: Limits = LIMITS
) -> Stretch:  # fmt: skip
    """The scene's map to 8 bit, from the valid pixels of an overview, or of a decimated read when there is none.

    Looks at no more than ``limits.sample_px`` pixels; the same answer every time. An overview that is not of these
    pixels is passed over.
    """
    if fixed_stretch(scene.dtype, len(scene.bands), config) is None and overview_for(scene, limits) is not None:
        scene = with_sound_overviews(scene, config, patience, limits)
    return examined_stretch(scene, config, patience, limits)[0]


def examined_stretch(
    scene: Scene, config: RasterConfig, patience: Patience = PATIENCE, limits: Limits = LIMITS
) -> tuple[Stretch, tuple[str, ...]]:
    """:func:`measure_stretch` of a scene with sound overviews, and what makes it doubtful, one sentence each, with the
    remedy."""
    stretch = fixed_stretch(scene.dtype, len(scene.bands), config)
    if stretch is not None:
        return turned_over(stretch, scene, config), ()
    pixels, valid, source = decimated(scene, config, patience, limits)
    stretch = turned_over(stretch_from_sample(pixels, valid, config, source), scene, config)
    doubts = stretch_doubts(channel_samples(pixels, valid), scene.bands, config, source) if valid.any() else ()
    return stretch, tuple(doubts)


def decimated(
    scene: Scene, config: RasterConfig, patience: Patience = PATIENCE, limits: Limits = LIMITS
) -> tuple[NDArray[Any], BoolArray, str]:
    """The whole scene in at most ``limits.sample_px`` pixels: (h, w, C) of its own type, (h, w, C) which of them are
    valid and tell something of their channel, and where they come from."""
    level, factor = overview_for(scene, limits), 1
    if level is not None:
        factor = scene.overviews[level]
    width, height = -(-scene.width // factor), -(-scene.height // factor)
    if level is None and limits.exceeded_by(scene):
        return _sampled(scene, config, patience)
    step = int(np.ceil(np.sqrt(width * height / limits.sample_px)))
    pieces = _pieces_across(scene, width, limits.row_bytes)
    shape = (-(-height // step), -(-width // step))
    pixels, valid = _shrunk_whole(scene, config, patience, level, shape, pieces, by_channel=True)
    origin = [] if level is None else [f"overview {scene.overviews[level]}"]
    return pixels, valid, ", ".join([*origin, *([f"decimated read 1/{step}"] if step > 1 else [])]) or "all pixels"


def _pieces_across(scene: Scene, width: int, row_bytes: int) -> int:
    """In how many pieces side by side a picture of ``width`` file pixels is to be shrunk by leaving pixels out.

    GDAL does that line by line: a row of file blocks that is not in its cache at once is decoded again for every line.
    """
    column_bytes = scene.block_height * np.dtype(scene.dtype).itemsize * scene.band_count
    at_once = max(scene.block_width, row_bytes // column_bytes)
    return -(-width // at_once)


def _shrunk_whole(
    scene: Scene, config: RasterConfig, patience: Patience, overview: int | None, shape: tuple[int, int],
    pieces: int = 1, within: Window | None = None, **how: Any,
) -> tuple[NDArray[Any], BoolArray]:  # fmt: skip
    """A whole file, or an overview of it, in ``shape`` pixels, and their validity; damaged parts are blank and invalid.

    ``within``: a window of the scene in place of the whole. ``by_channel=True``: validity as (h, w, C), see
    :meth:`Pixels.valid`; the rest of ``how`` is rasterio's.
    One bad block must not cost a scene its stretch or its picture: its tiles are told of as failures anyway. Raises
    SceneUnreadable when less than READABLE of it can be read: then it was cut off, not scratched.
    """

    read = lost = failed = 0
    total = shape[0] * shape[1]

    def fill(part: Window) -> None:
        """Read a window of the arrays, or else its quarters down to DAMAGE_PX; raise once it is known to be too little.

        Every attempt opens the file anew: of a handle that has failed GDAL may answer with a blank block it kept.
        """
        nonlocal read, lost, failed
        place = (slice(part.y, part.y1), slice(part.x, part.x1))
        opened = contextlib.closing(Pixels(scene, config, overview, patience))
        with opened as source, contextlib.suppress(SceneUnreadable):
            area = _within(within, scene, source, part, shape)
            pixels[place] = source.read(area, shape=(part.height, part.width), **how)
            valid[place] = source.valid(area, pixels[place], by_channel=by_channel, **how)
            read += part.pixels
            return
        valid[place] = False
        failed += 1
        smallest = min(part.width, part.height) < DAMAGE_PX
        lost += part.pixels if smallest else 0
        _check_readable(scene, 0 if failed >= HOPELESS and not read else total - lost, total)
        for quarter in () if smallest else quarters(part):
            fill(quarter)

    overview = OWN if overview is None and not scene.overviews else overview  # they may be there, and not be believed
    pixels = np.zeros((*shape, len(scene.bands)), scene.dtype)
    by_channel = bool(how.pop("by_channel", False))
    valid = np.zeros(pixels.shape if by_channel else shape, np.bool_)
    edges = [shape[1] * piece // pieces for piece in range(pieces + 1)]
    parts = [Window(x=x, y=0, width=x1 - x, height=shape[0]) for x, x1 in pairwise(edges)]
    for part in parts:
        fill(part)
    return pixels, valid


def _check_readable(scene: Scene, read: int, tried: int) -> None:
    """Raise SceneUnreadable when less than READABLE of what was tried could be read."""
    if read < READABLE * tried:
        raise SceneUnreadable(f"{scene.uris[0]} is damaged in most places; copy or download it again")


def _within(within: Window | None, scene: Scene, source: Pixels, part: Window, shape: tuple[int, int]) -> Window:
    """A window of a picture in the pixels of ``source``; the picture shows all of it, or a window of the scene."""
    if within is None:
        return scaled(part, source.width / shape[1], source.height / shape[0])
    across, down = source.width / scene.width, source.height / scene.height
    area = scaled(part, within.width * across / shape[1], within.height * down / shape[0])
    x, y = int(within.x * across) + area.x, int(within.y * down) + area.y
    width, height = min(area.width, source.width - x), min(area.height, source.height - y)
    return Window(x=x, y=y, width=max(1, width), height=max(1, height))


def _sampled(scene: Scene, config: RasterConfig, patience: Patience) -> tuple[NDArray[Any], BoolArray, str]:
    """Windows spread evenly over a scene too large to be decoded for a few percentiles; damaged ones are left out.

    Raises SceneUnreadable when less than READABLE of them can be read.
    """
    count, side = 8, 256
    lefts = [(scene.width - side) * i // (count - 1) for i in range(count)] if scene.width > side else [0]
    tops = [(scene.height - side) * i // (count - 1) for i in range(count)] if scene.height > side else [0]
    width, height = min(side, scene.width), min(side, scene.height)
    windows = [Window(x=x, y=y, width=width, height=height) for y in tops for x in lefts]
    pixels = np.zeros((len(windows), height, width, len(scene.bands)), scene.dtype)
    valid = np.zeros(pixels.shape, np.bool_)
    read = 0
    with contextlib.closing(Pixels(scene, config, patience=patience)) as source:
        for place, window in enumerate(windows):
            with contextlib.suppress(SceneUnreadable):  # its tiles are told of as failures
                source.read(window, out=pixels[place])
                valid[place] = source.valid(window, pixels[place], by_channel=True)
                read += 1
            _check_readable(scene, read + len(windows) - place - 1, len(windows))
    return pixels.reshape(-1, *pixels.shape[2:]), valid.reshape(-1, *valid.shape[2:]), f"{read} windows of {width} px"


def read_thumbnail(
    scene: Scene, stretch: Stretch, config: RasterConfig, max_side_px: int,
    patience: Patience = PATIENCE, limits: Limits = LIMITS, within: Window | None = None,
) -> tuple[ByteArray, BoolArray]:  # fmt: skip
    """The scene as an (h, w, 3) uint8 picture whose longer side is at most ``max_side_px``; and validity.

    ``within``: a window of the scene in place of the whole. ``by_channel=True``: validity as (h, w, C), see
    :meth:`Pixels.valid`; the rest of ``how`` is rasterio's.
    """
    width, height = (scene.width, scene.height) if within is None else (within.width, within.height)
    factor = max(1.0, max(width, height) / max_side_px)
    shape = (max(1, round(height / factor)), max(1, round(width / factor)))
    sharper = [level for level, decimation in enumerate(scene.overviews) if decimation <= factor]
    if within is None and not sharper and limits.exceeded_by(scene):
        pixels, valid = _mosaic(scene, config, patience, shape)
    else:
        level = sharper[-1] if sharper else None
        how = {"within": within, "resampling": Resampling.average}
        pixels, valid = _shrunk_whole(scene, config, patience, level, shape, **how)
    picture = to_bytes(pixels, stretch, valid)
    channels = [0, 1, 2] if picture.shape[-1] >= 3 else [0, 0, 0]
    return picture[..., channels], valid


def _mosaic(
    scene: Scene, config: RasterConfig, patience: Patience, shape: tuple[int, int]
) -> tuple[NDArray[Any], BoolArray]:
    """The scene as (h, w, C) pixels of its own type, and validity: coarse cells, each the first valid pixel of one
    window in its middle, or blank and invalid where there is none or the file is damaged."""
    cells = [max(1, round(size / MOSAIC_CELL_PX)) for size in shape]
    tops, lefts = ([(2 * i + 1) * size // (2 * n) for i in range(n)] for n, size in
                   zip(cells, (scene.height, scene.width), strict=True))  # fmt: skip
    seen = np.zeros((*cells, len(scene.bands)), scene.dtype)
    valid, lost = np.zeros(cells, np.bool_), 0
    with contextlib.closing(Pixels(scene, config, patience=patience)) as source:
        for row, y in enumerate(tops):
            for column, x in enumerate(lefts):
                window = Window(x=x, y=y, width=min(16, scene.width - x), height=min(16, scene.height - y))
                try:
                    pixels = source.read(window)
                    for place in np.argwhere(source.valid(window, pixels))[:1]:
                        seen[row, column], valid[row, column] = pixels[tuple(place)], True
                except SceneUnreadable:
                    lost += 1
                    _check_readable(scene, valid.size - lost, valid.size)
    rows, columns = (np.arange(size) * n // size for n, size in zip(cells, shape, strict=True))
    return seen[np.ix_(rows, columns)], valid[np.ix_(rows, columns)]


def read_coverage(
    scene: Scene, lattice: Lattice, config: RasterConfig, max_side_px: int = 2048,
    patience: Patience = PATIENCE, limits: Limits = LIMITS,
) -> BoolArray:  # fmt: skip
    """(h, w) cells that span the lattice exactly: True when a valid pixel may lie in the cell.

    Judged on the coarsest overview that still has a pixel per cell, grown by one overview pixel, because an
    overview may have missed what lies between its samples; on every pixel when there is none. All True, unread:
    scenes that cannot hold an invalid pixel, and those without overviews beyond ``limits.full_pass_px``.
    """
    shrink = max(1.0, max(lattice.width, lattice.height) / max_side_px)
    shape = (max(1, int(lattice.height / shrink)), max(1, int(lattice.width / shrink)))
    sound = not may_be_invalid(scene, masked=scene.has_mask)
    if sound or (not scene.overviews and limits.exceeded_by(scene)):
        return np.ones(shape, np.bool_)
    decimation = min(scene.width / shape[1], scene.height / shape[0])
    levels = [level for level, factor in enumerate(scene.overviews) if factor <= decimation]
    level = levels[-1] if levels else None
    with contextlib.closing(Pixels(scene, config, level, patience)) as source:
        margin = 0 if level is None else 1
        extent_x = lattice.width * lattice.scale_x * source.width / scene.width
        extent_y = lattice.height * lattice.scale_y * source.height / scene.height
        columns = _cell_spans(shape[1], extent_x, source.width, margin)
        rows = _cell_spans(shape[0], extent_y, source.height, margin)
        return _cover(source, columns, rows, limits.cover_px)


def _cell_spans(cells: int, extent: float, size: int, margin: int) -> IntArray:
    """(cells, 2) first and past-the-last of ``size`` pixels under equal cells over ``extent``, grown by ``margin``."""
    edges = np.arange(cells + 1) * (extent / cells)
    spans = np.stack([np.floor(edges[:-1] + 1e-9) - margin, np.ceil(edges[1:] - 1e-9) + margin], axis=1)
    return np.clip(spans.astype(np.int64), 0, size)


def _cover(source: Pixels, columns: IntArray, rows: IntArray, cover_px: int) -> BoolArray:
    """Which cells hold a valid pixel, from rows of file blocks at a time, or parts of such rows.

    Raises SceneUnreadable once less than READABLE of it can be read.
    """
    cover = np.zeros((len(rows), len(columns)), np.bool_)
    whole, lost = Window(x=0, y=0, width=source.width, height=source.height), 0
    step = max(1, STRIP_PX // source.width // source.block_height) * source.block_height
    span = max(1, cover_px // source.block_height // source.block_width) * source.block_width
    for row, x in ((row, x) for row in row_parts(whole, step) for x in range(0, whole.width, span)):
        part = Window(x=x, y=row.y, width=min(span, whole.width - x), height=row.height)
        try:
            valid = source.valid(part, source.read(part))
        except SceneUnreadable:  # the tiles there will say so
            valid = np.ones((part.height, part.width), np.bool_)
            lost += part.pixels
            _check_readable(source.scene, whole.pixels - lost, whole.pixels)
        count = np.zeros((part.height, part.width + 1), np.int32)
        np.cumsum(valid, axis=1, out=count[:, 1:])
        inside = np.clip(columns - x, 0, part.width)
        hit = count[:, inside[:, 1]] > count[:, inside[:, 0]]
        for cell in np.flatnonzero((rows[:, 0] < part.y1) & (rows[:, 1] > part.y)):
            cover[cell] |= hit[max(rows[cell, 0] - part.y, 0) : rows[cell, 1] - part.y].any(axis=0)
    return cover
