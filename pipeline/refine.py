"""The second look: where to look again, under a budget, and what the two looks say together. numpy only.

After ViCrop-Det (arXiv 2604.26806): the decoder's cross-attention over a tile tells where the detector saw something
(intensity) and how undecided it was (Spatial Attention Entropy, SAE); a few windows of the tile are looked at again,
closer. What the paper reports is named as its own below; what it leaves open is marked "ours".

Everything that is chosen here is chosen within one block, so the order in which blocks are worked off cannot change
a result. (A block that had to be bisected, because a tile in it kills workers, shares its budget out in two halves.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.config import RefineConfig
from pipeline.geometry.frames import near_inner_edges
from pipeline.geometry.obb import obb_to_aabb
from pipeline.geometry.overlap import rotated_iou_pairs
from pipeline.types import STAGES, AttentionMap, BoolArray, Crop, Detections, FloatArray, Frame, IntArray, Window

ROUNDING = 1e-6
"""Pixels by which products of floats may miss whole numbers."""
FLOOR = 1e-6
"""The paper's epsilon, as a share of the mean of a map: what an empty cell holds. Ours."""
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
WEIGHT_GLOBAL, WEIGHT_CROP = 0.7, 0.3
"""Score of a matched pair. The paper's."""
BOOST, BOOST_FROM = 0.2, 0.7
"""A crop's scores are multiplied by 1 + 0.2 (SAE - 0.7). The paper's."""

GLOBAL, CROP, FUSED = range(len(STAGES))


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


def spatial_attention_entropy(attention: AttentionMap) -> float:
    """SAE of a whole map (the paper's): -sum p log p / log N, 0 to 1, over the mass inside the chip."""
    whole = np.array([[0, 0, attention.mass.shape[1], attention.mass.shape[0]]])
    return float(_entropy(_density(attention), whole)[0])


def measure(glance: Glance, boxes: IntArray, factor: float = 1.0) -> Windows:
    """Intensity and entropy of every window, each in O(1) from integral images; crops will be shrunk by ``factor``.

    Intensity is the paper's m(w) on a map whose mean is 1. The entropy is taken over the map inside the window,
    renormalised there, over log(cells of the window), so that scales compare; the paper leaves this open.
    """
    if glance.attention is None:
        unknown = np.full(len(boxes), np.nan)
        return Windows(boxes=boxes, factor=factor, intensity=np.zeros(len(boxes)), entropy=unknown)
    density = _density(glance.attention)
    rows, columns = density.shape
    scale = np.array([columns / glance.tile.width, rows / glance.tile.height] * 2)
    origin = np.array([glance.tile.x, glance.tile.y] * 2)
    cells = np.rint((boxes - origin) * scale).astype(np.int64)
    cells[:, 2:] = np.maximum(cells[:, 2:], cells[:, :2] + 1)
    mass = _sums(density, cells)
    entropy = _entropy(density, cells)
    return Windows(boxes=boxes, factor=factor, intensity=mass / _cells(cells), entropy=entropy)


def _density(attention: AttentionMap) -> FloatArray:
    """The map with mean 1, every cell holding at least FLOOR."""
    mass = attention.mass
    mean = mass.mean()
    return FLOOR + (mass / mean if mean > 0 else np.zeros_like(mass))


def _entropy(density: FloatArray, cells: IntArray) -> FloatArray:
    """H = log S - (sum a log a) / S inside each window, over log of its cells; 0 for a window of one cell."""
    total = _sums(density, cells)
    count = _cells(cells)
    entropy = np.log(total) - _sums(density * np.log(density), cells) / total
    normal: FloatArray = np.clip(entropy / np.log(np.maximum(count, 2)), 0, 1)
    return np.where(count > 1, normal, 0.0)


def _cells(cells: IntArray) -> FloatArray:
    return ((cells[:, 2] - cells[:, 0]) * (cells[:, 3] - cells[:, 1])).astype(np.float64)


def _sums(values: FloatArray, cells: IntArray) -> FloatArray:
    """(N,) sums over cell windows (x, y, x1, y1), from an integral image."""
    integral = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    integral[1:, 1:] = values.cumsum(0).cumsum(1)
    x, y, x1, y1 = cells.T
    sums: FloatArray = integral[y1, x1] - integral[y, x1] - integral[y1, x] + integral[y, x]
    return sums


def choose_crops(
    glances: Sequence[Glance], gain: Gain, config: RefineConfig, visible: Visible = lambda _: True
) -> list[Crop]:
    """The crops of one block: best gain first, no two of them nearly the same, all of them within the budget.

    The budget is a share of the pixels that the block's global looks cost (ours: the paper takes K per image, and
    pays for empty sea as for a port). A window that no longer fits is passed over for cheaper ones, and so is one
    without a valid pixel. ``config.gate`` is the paper's: tiles whose whole map has less SAE get no crops. (Its
    other gate, a mean attention below 0.3, depends on a normalisation it does not give; on most it skips everything.)
    """
    left = config.budget * sum(glance.tile.pixels / glance.factor**2 for glance in glances) + ROUNDING
    measured = [_windows(glance, config) for glance in glances]
    if not measured:
        return []
    gains = gain(glances, measured)
    boxes = np.concatenate([windows.boxes for windows in measured])
    entropy = np.concatenate([windows.entropy for windows in measured])
    cost = np.concatenate([windows.pixels for windows in measured])
    row = np.repeat(np.arange(len(glances)), [len(windows.boxes) for windows in measured])
    crops: list[Crop] = []
    free = (gains > 0) & ~np.array([_gated(glance, config.gate) for glance in glances])[row]
    for index in np.argsort(-gains, kind="stable"):
        if not free[index] or cost[index] > left:
            continue
        x, y, x1, y1 = (int(value) for value in boxes[index])
        window = Window(x=x, y=y, width=x1 - x, height=y1 - y)
        if not visible(window):
            continue
        left -= cost[index]
        free &= ~too_close(boxes[index], boxes)
        crops.append(Crop(window=window, row=int(row[index]), entropy=float(entropy[index])))
    return crops


def _windows(glance: Glance, config: RefineConfig) -> Windows:
    """The windows that may become crops of one tile: ``scales`` of the picture, as the zoom shows it."""
    factor = config.crop_factor(glance.factor)
    shares = [scale / glance.factor for scale in config.scales]
    return measure(glance, candidate_windows(glance.tile, shares, factor), factor)


def _gated(glance: Glance, gate: float) -> bool:
    # No entropy is below 0: without a gate the whole map need not be measured.
    return gate > 0 and glance.attention is not None and spatial_attention_entropy(glance.attention) < gate


def too_close(box: IntArray, others: IntArray) -> BoolArray:
    """(N,) which windows are nearly ``box``: by IoU, or by the covered share of the smaller one (a window of a quarter
    of the side inside one of half has an IoU of 0.25 only).
    """
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    common = np.prod(np.maximum(sides, 0), axis=1)
    area, areas = np.prod(box[2:] - box[:2]), np.prod(others[:, 2:] - others[:, :2], axis=1)
    close: BoolArray = (common > MOST_IOU * (area + areas - common)) | (common > MOST_COVERED * np.minimum(area, areas))
    return close


def crop_boxes(found: Detections, crop: Crop, lattice: Window, factor: float = 1.0) -> Detections:
    """Of a crop's detections (frame LATTICE) those that are worth more than the global look's. Ours.

    Not those that its sides may cut, except where the scene ends too, and not those so large that the global look,
    with more around them, knows better. ``factor`` is what the crop was shrunk by for the network.
    """
    window = np.array([[crop.window.x, crop.window.y, crop.window.x1, crop.window.y1]])
    kept = found[shown_whole(found.boxes, window, lattice, factor)[0]]
    return _with(kept, stage=CROP, entropy=crop.entropy)


def inside(boxes: FloatArray, windows: IntArray) -> BoolArray:
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


def fuse(seen: Detections, crops: Sequence[Detections], config: RefineConfig) -> Detections:
    """One tile's detections from its global look and the boxes of its crops; all in frame LATTICE.

    A box of a crop and a global box of its class are one object when their rotated IoU is at least
    ``config.match_iou`` and their centres lie within half of the shorter side; pairs are taken one to one, best IoU
    first. The crop's box stands, with the score of ``config.score_rule``. What was seen once stays as it was seen,
    with the paper's boost for a crop's own under its rule. (The paper gives the scores; the matching is ours.)
    """
    again = Detections.concat([_boosted(part, config) for part in crops], Frame.LATTICE)
    if not len(again):
        return seen
    first, second = _pairs(seen, again, config.match_iou)
    scores, stage, looks = again.scores.copy(), again.stage.copy(), again.n_merged.copy()
    before = seen.scores[first]
    if config.score_rule == "max":
        scores[second] = np.maximum(before, scores[second])
    else:
        scores[second] = WEIGHT_GLOBAL * before + WEIGHT_CROP * scores[second]
    stage[second] = FUSED
    looks[second] += seen.n_merged[first]
    once = np.setdiff1d(np.arange(len(seen)), first)
    fused = Detections(again.boxes, scores, again.class_ids, again.frame, again.edge, again.tile_index, stage, looks,
                       again.entropy)  # fmt: skip
    return Detections.concat([seen[once], fused], Frame.LATTICE)


def _boosted(found: Detections, config: RefineConfig) -> Detections:
    if config.score_rule == "max":
        return found
    boost = 1 + BOOST * (np.nan_to_num(found.entropy, nan=BOOST_FROM) - BOOST_FROM)
    return _with(found, scores=np.clip(found.scores * boost, 0, 1))


def _pairs(a: Detections, b: Detections, least_iou: float) -> tuple[IntArray, IntArray]:
    """Rows of ``a`` and of ``b`` that are one object, one to one, best IoU first."""
    bounds_a, bounds_b = obb_to_aabb(a.boxes), obb_to_aabb(b.boxes)
    meet = (bounds_a[:, None, :2] < bounds_b[None, :, 2:]) & (bounds_b[None, :, :2] < bounds_a[:, None, 2:])
    i, j = np.nonzero(meet.all(-1) & (a.class_ids[:, None] == b.class_ids[None]))
    iou = rotated_iou_pairs(a.boxes[i], b.boxes[j])
    apart = np.hypot(*(a.boxes[i, :2] - b.boxes[j, :2]).T)
    near = (iou >= least_iou) & (apart < 0.5 * np.minimum(a.boxes[i, 3], b.boxes[j, 3]))
    i, j, iou = i[near], j[near], iou[near]
    taken_a, taken_b = np.zeros(len(a), np.bool_), np.zeros(len(b), np.bool_)
    first, second = [], []
    for k in np.argsort(-iou, kind="stable"):
        if not (taken_a[i[k]] or taken_b[j[k]]):
            taken_a[i[k]] = taken_b[j[k]] = True
            first.append(i[k])
            second.append(j[k])
    return np.array(first, np.int64), np.array(second, np.int64)


def _with(found: Detections, *, stage: int | None = None, entropy: float | None = None,
          scores: FloatArray | None = None) -> Detections:  # fmt: skip
    count = len(found)
    return Detections(
        found.boxes,
        found.scores if scores is None else scores,
        found.class_ids,
        found.frame,
        found.edge,
        found.tile_index,
        found.stage if stage is None else np.full(count, stage, np.int64),
        found.n_merged,
        found.entropy if entropy is None else np.full(count, entropy),
    )
