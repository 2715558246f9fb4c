"""Scene pixels → lattice pixels, the same answer whatever window is asked for.

Antialiased linear resampling (a triangle filter as wide as the larger of the two pixels), separable, in float32.
Every output pixel is a sum over its taps in one fixed order with weights that depend only on its absolute
lattice position, so chips of two overlapping tiles are bit-equal where they overlap. Invalid pixels carry no
weight. Training and inference both go through here. numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.types import BoolArray, IntArray, Lattice, Window

FloatImage = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class AxisTaps:
    """Which source pixels, with which weights, make each output pixel along one axis."""

    index: IntArray
    """(n, taps) absolute source positions, clamped to the source."""
    weight: FloatImage
    """(n, taps); each row sums to 1."""


def axis_taps(start: int, count: int, scale: float, source_size: int) -> AxisTaps:
    """Taps of output pixels ``[start, start + count)``; ``scale`` is source pixels per output pixel."""
    radius = max(1.0, scale)
    taps = int(np.ceil(2 * radius)) + 1
    centre = (np.arange(start, start + count, dtype=np.float64) + 0.5) * scale
    first = np.floor(centre - radius).astype(np.int64)
    index = first[:, None] + np.arange(taps)
    weight = np.maximum(0.0, 1.0 - np.abs(index + 0.5 - centre[:, None]) / radius)
    weight /= weight.sum(axis=1, keepdims=True)
    return AxisTaps(np.clip(index, 0, source_size - 1), weight.astype(np.float32))


def is_identity(lattice: Lattice) -> bool:
    """True when lattice pixels are scene pixels, so nothing has to be resampled."""
    return lattice.scale_x == 1.0 and lattice.scale_y == 1.0


def source_window(window: Window, lattice: Lattice, scene_width: int, scene_height: int) -> Window:
    """The scene pixels that the lattice ``window`` is made from, inside the scene."""
    if is_identity(lattice):
        return window
    columns = axis_taps(window.x, window.width, lattice.scale_x, scene_width).index
    rows = axis_taps(window.y, window.height, lattice.scale_y, scene_height).index
    x, y = int(columns.min()), int(rows.min())
    return Window(x=x, y=y, width=int(columns.max()) + 1 - x, height=int(rows.max()) + 1 - y)


def _along_rows(image: FloatImage, taps: AxisTaps, origin: int) -> FloatImage:
    """Resample axis 0 of ``image``, whose first row is source row ``origin``."""
    out = np.zeros((len(taps.index), *image.shape[1:]), np.float32)
    expand = (slice(None),) + (None,) * (image.ndim - 1)
    for k in range(taps.index.shape[1]):
        out += taps.weight[:, k][expand] * image[taps.index[:, k] - origin]
    return out


def _both_axes(image: FloatImage, rows: AxisTaps, columns: AxisTaps, source: Window) -> FloatImage:
    tall = _along_rows(image, rows, source.y)
    return _along_rows(tall.swapaxes(0, 1), columns, source.x).swapaxes(0, 1)


def resample(
    pixels: NDArray[np.generic],
    valid: BoolArray,
    source: Window,
    window: Window,
    lattice: Lattice,
    scene_width: int,
    scene_height: int,
) -> tuple[FloatImage, BoolArray]:
    """Lattice pixels of ``window`` from scene pixels of ``source`` (see :func:`source_window`).

    ``pixels`` is (H, W, C) of any numeric type, ``valid`` (H, W). Returns float32 (H', W', C), zero where invalid,
    and the validity of each lattice pixel: at least half of its weight came from valid pixels.
    """
    rows = axis_taps(window.y, window.height, lattice.scale_y, scene_height)
    columns = axis_taps(window.x, window.width, lattice.scale_x, scene_width)
    if valid.all():
        out = _both_axes(pixels.astype(np.float32), rows, columns, source)
        return out, np.ones(out.shape[:2], np.bool_)
    weighted = np.where(valid[..., None], pixels, 0).astype(np.float32)
    share = _both_axes(valid.astype(np.float32)[..., None], rows, columns, source)
    out = _both_axes(weighted, rows, columns, source)
    keep = share[..., 0] >= 0.5
    out = np.where(keep[..., None], out / np.maximum(share, 1e-6), 0).astype(np.float32)
    return out, keep
