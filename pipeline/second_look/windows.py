"""Windows of a tile that may be looked at again, and what they would show of boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.geometry.frames import near_inner_edges
from pipeline.types import AttentionMap, BoolArray, Detections, DifferenceMap, FloatArray, IntArray, Window

ROUNDING = 1e-6
"""Pixels by which products of floats may miss whole numbers."""
SMALLEST_CROP_PX = 32
"""Windows with a shorter side are not looked at again. Ours."""
MOST_IOU, MOST_COVERED = 0.3, 0.6
"""Window suppression: a window that overlaps a chosen one by more IoU, or whose smaller one is covered more. Ours."""
SMALL_PX = 16.0
"""Objects below this size (root of the area) in the pixels of the global look are small. AI-TOD's "tiny". Ours."""
CROP_EDGE_PX = 4.0
"""Boxes of a crop that come closer than this to a side of it, as the network sees it, are taken for cut. Ours."""
LARGEST_SHARE = 0.5
"""Larger boxes, as a share of the crop's side, are left to the global look. Ours."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Glance:
    """What the global look at one tile said."""

    tile: Window
    """Lattice pixels."""
    factor: float
    """The tile was shrunk by this factor."""
    attention: AttentionMap | None
    detections: Detections
    """In frame LATTICE, from ``candidate_score`` on."""
    difference: DifferenceMap | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Windows:
    """N windows of one tile, and what its attention says of them."""

    boxes: IntArray
    """(N, 4) x, y, x1, y1 in lattice pixels."""
    factor: float = 1.0
    """Each would be shrunk by this for the network."""
    intensity: FloatArray
    """(N,) mean attention of a cell, 1 being the mean of the tile. Zero without attention."""
    entropy: FloatArray
    """(N,) SAE inside the window, 0 (one cell has it all) to 1 (flat). NaN without attention."""

    @property
    def pixels(self) -> FloatArray:
        """(N,) as the network would see each: what looking at it costs."""
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        area: FloatArray = np.prod(np.rint(sides / self.factor), axis=1)
        return area


Gain = Callable[[Sequence[Glance], Sequence[Windows]], FloatArray]
"""Predicted gain of looking at each window of a block again, per pixel it costs: (N,) for the windows of all its tiles,
one tile after the other. Windows whose gain is not positive are never taken."""

Visible = Callable[[Window], bool]
"""Whether a window (lattice pixels) holds a valid pixel."""


def candidate_windows(tile: Window, shares: Sequence[float], factor: float = 1.0) -> IntArray:
    """(N, 4) x, y, x1, y1: windows of the tile's own aspect, sliding by half their side, the last ones at its edge.

    ``shares`` are the sides as the network sees them, shrunk by ``factor``, over the tile's: several scales are the
    paper's idea, the stride is ours. Windows larger than the tile, or seen shorter than SMALLEST_CROP_PX, are left out.
    """
    rows = []
    for share in shares:
        # Rounded down, so that as many windows as a budget pays for exactly are paid for.
        seen = [int(side * share + ROUNDING) for side in (tile.width, tile.height)]
        if share * factor > 1 or min(seen) < SMALLEST_CROP_PX:
            continue
        width, height = (round(side * factor) for side in seen)
        lefts, tops = _starts(tile.width, width), _starts(tile.height, height)
        y, x = (grid.ravel() for grid in np.meshgrid(tops + tile.y, lefts + tile.x, indexing="ij"))
        rows.append(np.column_stack([x, y, x + width, y + height]))
    return np.concatenate(rows).astype(np.int64) if rows else np.zeros((0, 4), np.int64)


def _starts(length: int, side: int) -> IntArray:
    count = 1 + -(-2 * (length - side) // side)
    starts: IntArray = np.minimum(np.arange(count) * side // 2, length - side)
    return starts


def too_close(box: IntArray, others: IntArray) -> BoolArray:
    """(N,) which windows are nearly ``box``: by IoU, or by the covered share of the smaller one (a window of a quarter
    of the side inside one of half has an IoU of 0.25 only).
    """
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    common = np.prod(np.maximum(sides, 0), axis=1)
    area, areas = np.prod(box[2:] - box[:2]), np.prod(others[:, 2:] - others[:, :2], axis=1)
    close: BoolArray = (common > MOST_IOU * (area + areas - common)) | (common > MOST_COVERED * np.minimum(area, areas))
    return close


def centres_inside(boxes: FloatArray, windows: IntArray) -> BoolArray:
    """(N, M) whether the centres of M boxes (M, 5) lie in the N ``windows`` (x, y, x1, y1)."""
    x, y = boxes[:, 0], boxes[:, 1]
    left, top, right, low = (windows[:, k, None] for k in range(4))
    within: BoolArray = (x >= left) & (x < right) & (y >= top) & (y < low)
    return within


def shown_whole(boxes: FloatArray, windows: IntArray, outer: Window, factor: float) -> BoolArray:
    """(N, M) whether crops of the N ``windows`` (x, y, x1, y1), shrunk by ``factor``, are the right place for M boxes.

    No corner comes near a side of the window, but for sides that are sides of ``outer`` (past those nothing is cut),
    and the box is not too large for it. Boxes (M, 5), windows and ``outer`` share one frame.
    """
    shorter_side = (windows[:, 2:] - windows[:, :2]).min(axis=1, keepdims=True)
    size = np.sqrt(boxes[:, 2] * boxes[:, 3])
    cut = near_inner_edges(boxes, windows, outer, CROP_EDGE_PX * factor)
    whole: BoolArray = ~cut & (size <= LARGEST_SHARE * shorter_side)
    return whole
