"""Scene pixels → lattice pixels, the same answer whatever window is asked for.

Antialiased linear resampling (a triangle filter as wide as the larger of the two pixels), separable, in float32.
Every output pixel is a sum over its taps in one fixed order with weights that depend only on its absolute
lattice position, so chips of two overlapping tiles are bit-equal where they overlap. Invalid pixels carry no
weight. Training and inference both go through here. numpy and numba only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.compiled import compiled
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
    centre, first, taps = _reach(np.arange(start, start + count, dtype=np.float64), scale)
    index = first[:, None] + np.arange(taps)
    weight = np.maximum(0.0, 1.0 - np.abs(index + 0.5 - centre[:, None]) / radius)
    weight /= weight.sum(axis=1, keepdims=True)
    return AxisTaps(np.clip(index, 0, source_size - 1), weight.astype(np.float32))


def _reach(position: NDArray[np.float64], scale: float) -> tuple[NDArray[np.float64], IntArray, int]:
    """Centres of output pixels in the source, their first taps (which may lie outside it) and how many each has."""
    radius = max(1.0, scale)
    centre = (position + 0.5) * scale
    return centre, np.floor(centre - radius).astype(np.int64), int(np.ceil(2 * radius)) + 1


def is_identity(lattice: Lattice) -> bool:
    """True when lattice pixels are scene pixels, so nothing has to be resampled."""
    return lattice.scale_x == 1.0 and lattice.scale_y == 1.0


def source_window(window: Window, lattice: Lattice, scene_width: int, scene_height: int) -> Window:
    """The scene pixels that the lattice ``window`` is made from, inside the scene."""
    if is_identity(lattice):
        return window
    x, x1 = _source_span(window.x, window.width, lattice.scale_x, scene_width)
    y, y1 = _source_span(window.y, window.height, lattice.scale_y, scene_height)
    return Window(x=x, y=y, width=x1 - x, height=y1 - y)


def _source_span(start: int, count: int, scale: float, source_size: int) -> tuple[int, int]:
    """Taps ascend, so the first of the first output pixel and the last of the last one bound them all."""
    _, first, taps = _reach(np.array([start, start + count - 1], np.float64), scale)
    ends = np.clip([first[0], first[1] + taps - 1], 0, source_size - 1)
    return int(ends[0]), int(ends[1]) + 1


def resample(
    pixels: NDArray[np.generic], valid: BoolArray, source: Window, window: Window, lattice: Lattice,
    scene_width: int, scene_height: int,
) -> tuple[FloatImage, BoolArray]:  # fmt: skip
    """Lattice pixels of ``window`` from scene pixels of ``source`` (see :func:`source_window`).

    ``pixels`` is (H, W, C) of any numeric type, ``valid`` (H, W). Returns float32 (H', W', C), zero where invalid,
    and the validity of each lattice pixel: at least half of its weight came from valid pixels.
    """
    rows = axis_taps(window.y, window.height, lattice.scale_y, scene_height)
    columns = axis_taps(window.x, window.width, lattice.scale_x, scene_width)
    height, width, channels = pixels.shape
    out = np.zeros((window.height, window.width * channels), np.float32)
    keep = np.ones((window.height, window.width), np.bool_)
    flat = np.ascontiguousarray(pixels).reshape(height, width * channels)
    _resample_rows(flat, valid, valid.all(axis=1), rows.index - source.y, rows.weight,
                   columns.index - source.x, columns.weight, out, keep)  # fmt: skip
    return out.reshape(window.height, window.width, channels), keep


def _resample_rows_python(
    pixels: NDArray[Any], valid: BoolArray, whole: BoolArray, row_index: IntArray, row_weight: FloatImage,
    column_index: IntArray, column_weight: FloatImage, out: FloatImage, keep: BoolArray,
) -> None:  # fmt: skip
    """One output row at a time: taps down the columns into a source-wide row, then taps along it.

    ``pixels`` and ``out`` hold their channels side by side (H, W * C); ``whole`` marks source rows without a hole.
    """
    channels = pixels.shape[1] // valid.shape[1]
    row = np.empty(pixels.shape[1], np.float32)
    row_lost = np.empty(valid.shape[1], np.float32)
    for i in range(out.shape[0]):
        row[:] = 0
        row_lost[:] = 0
        holes = False
        for k in range(row_index.shape[1]):
            weight, y = row_weight[i, k], row_index[i, k]
            if weight == 0:
                continue
            if whole[y]:
                for x in range(row.shape[0]):
                    row[x] += weight * np.float32(pixels[y, x])
            else:
                holes = True
                _add_valid(pixels[y], valid[y], weight, row, row_lost)
        for j in range(keep.shape[1]):
            for k in range(column_index.shape[1]):
                weight, x = column_weight[j, k], column_index[j, k] * channels
                for c in range(channels):
                    out[i, j * channels + c] += weight * row[x + c]
        if holes:
            _fill_holes(row_lost, column_index, column_weight, out[i], keep[i])


def _add_valid_python(
    pixels: NDArray[Any], valid: BoolArray, weight: np.float32, row: FloatImage, row_lost: FloatImage
) -> None:
    """Add one source row's valid pixels; add the weight of the others to ``row_lost``. A NaN there is never touched."""
    channels = pixels.shape[0] // valid.shape[0]
    for x in range(valid.shape[0]):
        if valid[x]:
            for c in range(channels):
                row[x * channels + c] += weight * np.float32(pixels[x * channels + c])
        else:
            row_lost[x] += weight


def _fill_holes_python(
    row_lost: FloatImage, column_index: IntArray, column_weight: FloatImage, out: FloatImage, keep: BoolArray
) -> None:
    """Divide one output row by the weight that was left, and drop pixels that lost more than half.

    The weight lost is exactly 0 where there is no hole, so a pixel far from any has the same bits whether or not
    its window holds one.
    """
    channels = out.shape[0] // keep.shape[0]
    for j in range(keep.shape[0]):
        lost = np.float32(0)
        for k in range(column_index.shape[1]):
            lost += column_weight[j, k] * row_lost[column_index[j, k]]
        if lost == 0:
            continue
        keep[j] = lost <= 0.5
        for c in range(channels):
            at = j * channels + c
            out[at] = out[at] / (np.float32(1) - lost) if keep[j] else np.float32(0)


_add_valid = compiled(_add_valid_python)
_fill_holes = compiled(_fill_holes_python)
_resample_rows = compiled(_resample_rows_python)
