"""A detector that knows the truth, so that "a perfect merge" is defined and everything around a network can be tested.

Its answer for a chip is a deterministic function of the true objects, a seed and ``Chip.window``; pixels are ignored.
It errs as real detectors do: boxes of one object differ from view to view (:class:`Jitter`), an object that a chip
cuts is answered by a box around its visible part, and such a cut copy sometimes outscores the whole views.

With the default :data:`EXACT` every whole view of an object is the same box with the same score, bit for bit, so the
merged detections of any tiling whose halo is at least the longest object plus the edge margin must *equal* those of
one look at the whole lattice. With jitter there must be as many, each near its truth.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field, replace

import numpy as np

from pipeline.geometry.frames import chip_to_lattice, lattice_to_chip
from pipeline.geometry.obb import canonical_obb, half_extents, mirrored, obb_to_corners, scaled
from pipeline.synth.noise import uniform
from pipeline.types import BoolArray, Chip, Detections, FloatArray, Frame, IntArray, Look, ModelCard, Window

QUANTUM_PX = 2.0**-16
"""Centres and sizes are whole multiples of this, so moving a box between chip and lattice loses no bit."""


WHOLE = 1 - 1e-9
"""Share of an object above which it counts as seen whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jitter:
    """How far the boxes and scores of one object may differ between views; uniform in ± these bounds."""

    centre_px: float = 0.0
    size: float = 0.0
    """Relative, of length and of width."""
    angle_rad: float = 0.0
    score: float = 0.0


EXACT = Jitter()


@dataclass(frozen=True, slots=True, eq=False)
class OracleDetector:
    """Answers with the true objects a chip shows. Implements :class:`~pipeline.detectors.protocol.Detector`.

    Picklable, and thread-safe, because nothing changes after it was made.
    """

    boxes: FloatArray
    """(N, 5) true boxes, frame LATTICE."""
    class_ids: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    """(N,); none given: all are of class 0."""
    _: KW_ONLY
    card: ModelCard
    bounds: Window | None = None
    """The whole lattice. What its sides cut is no cut copy: there is nothing more of it to see anywhere."""
    seed: int = 0
    jitter: Jitter = EXACT
    visible: float = 0.15
    """Objects of which a chip shows less than this share are missed."""
    outscore: float = 0.3
    """Share of the cut copies whose score is above every whole view's."""
    _by_column: IntArray = field(init=False, repr=False)
    """Row numbers by ascending centre column."""
    _columns: FloatArray = field(init=False, repr=False)
    _reach: float = field(init=False, repr=False)
    """Half the diagonal of the largest object."""

    def __post_init__(self) -> None:
        boxes = canonical_obb(np.asarray(self.boxes, np.float64).reshape(-1, 5))
        boxes[:, :4] = _quantised(boxes[:, :4])
        object.__setattr__(self, "boxes", boxes)
        classes = np.asarray(self.class_ids, np.int64) if len(self.class_ids) else np.zeros(len(boxes), np.int64)
        object.__setattr__(self, "class_ids", classes.reshape(len(boxes)))
        object.__setattr__(self, "_by_column", np.argsort(boxes[:, 0], kind="stable"))
        object.__setattr__(self, "_columns", boxes[self._by_column, 0])
        reach = float(np.hypot(boxes[:, 2], boxes[:, 3]).max(initial=0.0)) / 2
        object.__setattr__(self, "_reach", reach)

    def detect(self, chips: Sequence[Chip], *, score_threshold: float, attention: bool = False) -> list[Look]:
        """One Look per chip; it has no attention to give."""
        return [Look(self._in_chip(chip, score_threshold)) for chip in chips]

    def _in_chip(self, chip: Chip, score_threshold: float) -> Detections:
        seen = self.view(chip.window)
        seen = seen[seen.scores >= score_threshold]
        boxes = lattice_to_chip(seen.boxes, chip.window)
        boxes = scaled(boxes, chip.pixels.shape[1] / chip.window.width)
        boxes = mirrored(boxes, chip.mirrored, width=chip.pixels.shape[1], height=chip.pixels.shape[0])
        return replace(seen, boxes=boxes, frame=Frame.CHIP)

    def view(self, window: Window) -> Detections:
        """What is seen of the true objects through ``window``, frame LATTICE, in order of the truth."""
        ids = self._near(window)
        whole = _inside(self.boxes[ids], window)
        answers = [(int(i), self.boxes[i], 1.0) for i in ids[whole]]
        for i in ids[~whole]:
            box, share = self._visible_part(self.boxes[i], window)
            if share > 0 and share >= self.visible:
                answers.append((int(i), box, share))
        if not answers:
            return Detections.empty(Frame.LATTICE)
        answers.sort(key=lambda answer: answer[0])
        rows = np.array([answer[0] for answer in answers], np.int64)
        shares = np.array([answer[2] for answer in answers])
        boxes = self._jittered(np.array([answer[1] for answer in answers]), rows, window)
        return Detections(boxes, self._scores(rows, shares, window), self.class_ids[rows], Frame.LATTICE)

    def _visible_part(self, box: FloatArray, window: Window) -> tuple[FloatArray, float]:
        """The box around what ``window`` shows of ``box``, and its share of what there is to see; share 0: nothing."""
        outline, area, angle = obb_to_corners(box[None])[0], float(box[2] * box[3]), float(box[4])
        if self.bounds is not None:
            outline = clipped(outline, self.bounds)
            if _area(outline) < min(area, max(self.visible, 1e-9) * area):
                return box, 0.0
            if _area(outline) < WHOLE * area:
                box, area = smallest_rectangle(outline, angle), _area(outline)
        part = clipped(outline, window)
        share = _area(part) / area if area > 0 else 0.0
        return (box, share) if share > WHOLE else (smallest_rectangle(part, angle), share) if share else (box, 0.0)

    def _near(self, window: Window) -> IntArray:
        """Rows of the objects whose bounds may touch ``window``, ascending."""
        if not len(self.boxes):
            return np.zeros(0, np.int64)
        first, last = np.searchsorted(self._columns, (window.x - self._reach, window.x1 + self._reach))
        rows = np.sort(self._by_column[first:last])
        half = half_extents(self.boxes[rows])
        x, y = self.boxes[rows, 0], self.boxes[rows, 1]
        across = (x + half[:, 0] > window.x) & (x - half[:, 0] < window.x1)
        return np.asarray(rows[across & (y + half[:, 1] > window.y) & (y - half[:, 1] < window.y1)])

    def _draw(self, rows: IntArray, window: Window, what: int) -> FloatArray:
        """Numbers in [-1, 1), one per object, that depend on the view."""
        return 2 * uniform(self.seed, rows, window.x, window.y, window.width, window.height, what) - 1

    def _jittered(self, boxes: FloatArray, rows: IntArray, window: Window) -> FloatArray:
        if self.jitter.centre_px or self.jitter.size or self.jitter.angle_rad:
            bounds = (self.jitter.centre_px, self.jitter.centre_px, self.jitter.size, self.jitter.size)
            moves = [bound * self._draw(rows, window, k) for k, bound in enumerate(bounds)]
            boxes = boxes.copy()
            boxes[:, 0] += moves[0]
            boxes[:, 1] += moves[1]
            boxes[:, 2] *= 1 + moves[2]
            boxes[:, 3] *= 1 + moves[3]
            boxes[:, 4] += self.jitter.angle_rad * self._draw(rows, window, 4)
            boxes = canonical_obb(boxes)
        return np.column_stack([_quantised(boxes[:, :4]), boxes[:, 4]])

    def _scores(self, rows: IntArray, shares: FloatArray, window: Window) -> FloatArray:
        """Whole views 0.5 to 0.9 by object; cut copies below that by their share, or, some of them, above 0.95."""
        whole = 0.5 + 0.4 * uniform(self.seed, rows, 5) + self.jitter.score * self._draw(rows, window, 6)
        chance = uniform(self.seed, rows, window.x, window.y, window.width, window.height, 7)
        cut = np.where(chance < self.outscore, 0.95 + 0.05 * shares, whole * (0.3 + 0.7 * shares))
        return np.clip(np.where(shares > WHOLE, whole, cut), 0.0, 1.0)


def oracle_card(boxes: FloatArray, classes: tuple[str, ...] = ("object",), gsd_m: float | None = None) -> ModelCard:
    """A card for an oracle over ``boxes`` (lattice pixels); its hash names the truth."""
    longest = float(np.hypot(boxes[:, 2], boxes[:, 3]).max()) if len(boxes) and gsd_m is not None else None
    return ModelCard(
        name="oracle",
        classes=classes,
        gsd_m=gsd_m,
        bands=("red", "green", "blue"),
        input_px=512,
        sha256=hashlib.sha256(np.ascontiguousarray(boxes, np.float64).tobytes()).hexdigest(),
        oriented=True,
        longest_object_m=None if longest is None or gsd_m is None else longest * gsd_m,
    )


def _quantised(values: FloatArray) -> FloatArray:
    return np.asarray(np.round(values / QUANTUM_PX) * QUANTUM_PX)


def _inside(boxes: FloatArray, window: Window) -> BoolArray:
    half = half_extents(boxes)
    low, high = boxes[:, :2] - half, boxes[:, :2] + half
    return np.asarray(
        (low >= np.array([window.x, window.y])).all(axis=1) & (high <= np.array([window.x1, window.y1])).all(axis=1)
    )


def clipped(polygon: FloatArray, window: Window) -> FloatArray:
    """The part (M, 2) of a convex polygon (N, 2) inside ``window`` (Sutherland and Hodgman, CACM 17(1), 1974)."""
    for axis, sign, limit in ((0, -1, -window.x), (0, 1, window.x1), (1, -1, -window.y), (1, 1, window.y1)):
        if not len(polygon):
            break
        depth = limit - sign * polygon[:, axis]
        corners = []
        for p, q, inside_p, inside_q in zip(polygon, np.roll(polygon, -1, 0), depth, np.roll(depth, -1), strict=True):
            if inside_p >= 0:
                corners.append(p)
            if (inside_p >= 0) != (inside_q >= 0):
                corners.append(p + (q - p) * inside_p / (inside_p - inside_q))
        polygon = np.array(corners).reshape(-1, 2)
    return polygon


def _area(polygon: FloatArray) -> float:
    if len(polygon) < 3:
        return 0.0
    x, y = (polygon - polygon[0]).T
    return float(abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2)


def smallest_rectangle(polygon: FloatArray, angle_rad: float) -> FloatArray:
    """The canonical rectangle (5,) of smallest area around a convex polygon (N, 2).

    One side lies along an edge (Freeman and Shapira, CACM 18(7), 1975). Of equally small ones the rectangle turned
    by ``angle_rad`` is taken: a right-angled corner of a box then stays inside that box.
    """
    sides = np.roll(polygon, -1, 0) - polygon
    angles = np.concatenate([[angle_rad], np.arctan2(sides[:, 1], sides[:, 0])])
    axes = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    along = polygon @ axes.T
    across = polygon @ np.stack([-axes[:, 1], axes[:, 0]])
    length, width = np.ptp(along, axis=0), np.ptp(across, axis=0)
    area = length * width
    best = int(np.flatnonzero(area <= area.min() * (1 + 1e-9))[0])
    u = (along[:, best].min() + along[:, best].max()) / 2
    v = (across[:, best].min() + across[:, best].max()) / 2
    cos, sin = axes[best]
    row = np.array([[u * cos - v * sin, u * sin + v * cos, length[best], width[best], angles[best]]])
    return np.asarray(canonical_obb(row)[0])


def untiled(oracle: OracleDetector, bounds: Window) -> Detections:
    """The answer to one look at the whole lattice, frame LATTICE: what a perfect merge of tiles must give."""
    blank = np.broadcast_to(np.zeros((), np.uint8), (bounds.height, bounds.width, 3))
    look = oracle.detect([Chip(pixels=blank, window=bounds)], score_threshold=0.0)[0].detections
    return replace(look, boxes=chip_to_lattice(look.boxes, bounds), frame=Frame.LATTICE)
