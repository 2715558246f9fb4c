"""What a network answers for one chip → boxes in the pixels of its input, one function a layout (``layout.py``).

Pure. An answer that is not of the shape that its layout promises, scores outside 0 to 1, or classes that are none raise
ValueError: such a file is not what it was taken for, and boxes made from it would be wrong without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.detectors.onnx_model.layout import (
    DETR,
    DETR_BOXES,
    DETR_SOFTMAX,
    KESTREL_FCOS,
    KESTREL_RTDETR,
    ORIENTED_DET,
    ULTRALYTICS_RTDETR,
    YOLO,
    YOLO26,
    YOLO26_OBB,
    YOLO_BOUNDS,
    YOLO_OBB,
    YOLOV5,
    Layout,
)
from pipeline.types import FloatArray, IntArray

Part = NDArray[Any]
ROUNDING = 1e-2
"""How far outside 0 to 1 a score of a float16 or quantised network may lie by rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the answers are of."""

    classes: int
    width: int
    height: int
    """Of the network's input, pixels."""
    threshold: float
    """Lowest score of interest."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Boxes of one chip from the question's threshold on, in no order."""

    boxes: FloatArray
    """(N, 5) cx, cy, w, h in pixels of the input, angle in radians clockwise on screen; w may be the shorter side."""
    scores: FloatArray
    """(N,) 0 to 1."""
    class_ids: IntArray
    """(N,)"""


def decode(layout: Layout, parts: Sequence[Part], question: Question) -> Decoded:
    """The boxes in the answers of one chip, in the order of ``Answers.names``. Raises ValueError; see the module."""
    return _DECODERS[layout.name](parts, question)


def _yolo(parts: Sequence[Part], question: Question) -> Decoded:
    answer = _shaped(parts[0], 4 + question.classes, None).T
    return _decoded(answer[:, :4], None, answer[:, 4:], question)


def _yolo_bounds(parts: Sequence[Part], question: Question) -> Decoded:
    answer = _shaped(parts[0], 4 + question.classes, None).T
    return _decoded(_from_bounds(answer[:, :4]), None, answer[:, 4:], question)


def _yolo_obb(parts: Sequence[Part], question: Question) -> Decoded:
    answer = _shaped(parts[0], 5 + question.classes, None).T
    return _decoded(answer[:, :4], answer[:, -1], answer[:, 4:-1], question)


def _yolov5(parts: Sequence[Part], question: Question) -> Decoded:
    """Ultralytics' YOLOv5: the score is objectness times that of the class."""
    answer = _shaped(parts[0], None, 5 + question.classes)
    return _decoded(answer[:, :4], None, answer[:, 4:5].astype(np.float64) * answer[:, 5:], question)


def _yolo26(parts: Sequence[Part], question: Question) -> Decoded:
    answer = _shaped(parts[0], None, 6)
    return _selected(_from_bounds(answer[:, :4]), None, answer[:, 4], answer[:, 5], question)


def _yolo26_obb(parts: Sequence[Part], question: Question) -> Decoded:
    answer = _shaped(parts[0], None, 7)
    return _selected(answer[:, :4], answer[:, 6], answer[:, 4], answer[:, 5], question)


def _ultralytics_rtdetr(parts: Sequence[Part], question: Question) -> Decoded:
    """Sides are sigmoids: larger ones are pixels, of a file that is something else."""
    answer = _shaped(parts[0], None, 4 + question.classes)
    if len(answer) and not answer[:, :4].max() <= 1 + ROUNDING:
        raise ValueError(f"boxes of up to {float(answer[:, :4].max()):.3g}, which are no shares of the picture")
    return _decoded(_from_shares(answer[:, :4], question), None, answer[:, 4:], question)


def _detr(parts: Sequence[Part], question: Question) -> Decoded:
    logits, boxes = _shaped(parts[0], None, question.classes), _shaped(parts[1], len(parts[0]), 4)
    return _decoded(_from_shares(boxes, question), None, _sigmoid(logits), question)


def _detr_softmax(parts: Sequence[Part], question: Question) -> Decoded:
    logits, boxes = _shaped(parts[0], None, question.classes + 1), _shaped(parts[1], len(parts[0]), 4)
    return _decoded(_from_shares(boxes, question), None, _softmax(logits)[:, :-1], question)


def _detr_boxes(parts: Sequence[Part], question: Question) -> Decoded:
    labels, boxes, scores = parts[0], _shaped(parts[1], None, 4), parts[2]
    return _selected(_from_bounds(boxes), None, scores, labels, question)


def _oriented_det(parts: Sequence[Part], question: Question) -> Decoded:
    """Rows from the count on are padding. Classes are counted from 1."""
    boxes, (scores, labels, count) = _shaped(parts[0], None, 5), parts[1:]
    used = int(np.asarray(count).reshape(-1)[0]) if np.size(count) == 1 else -1
    if not 0 <= used <= len(boxes):
        raise ValueError(f"{used} of {len(boxes)} rows are said to be used")
    if scores.ndim != 1 or labels.ndim != 1:
        raise ValueError(f"{len(boxes)} boxes with scores of shape {scores.shape} and classes of {labels.shape}")
    boxes = boxes[:used]
    return _selected(boxes[:, :4], boxes[:, 4], scores[:used], labels[:used].astype(np.int64) - 1, question)


def _kestrel_rtdetr(parts: Sequence[Part], question: Question) -> Decoded:
    logits, boxes = _shaped(parts[0], None, question.classes), _shaped(parts[1], len(parts[0]), 5)
    return _decoded(_from_shares(boxes[:, :4], question), boxes[:, 4], _sigmoid(logits), question)


def _kestrel_fcos(parts: Sequence[Part], question: Question) -> Decoded:
    scores, boxes = _shaped(parts[0], None, question.classes), _shaped(parts[1], len(parts[0]), 5)
    return _decoded(boxes[:, :4], boxes[:, 4], scores, question)


_DECODERS: Mapping[str, Callable[[Sequence[Part], Question], Decoded]] = {
    YOLO.name: _yolo,
    YOLO_BOUNDS.name: _yolo_bounds,
    YOLO_OBB.name: _yolo_obb,
    YOLOV5.name: _yolov5,
    YOLO26.name: _yolo26,
    YOLO26_OBB.name: _yolo26_obb,
    ULTRALYTICS_RTDETR.name: _ultralytics_rtdetr,
    DETR.name: _detr,
    DETR_SOFTMAX.name: _detr_softmax,
    DETR_BOXES.name: _detr_boxes,
    ORIENTED_DET.name: _oriented_det,
    KESTREL_RTDETR.name: _kestrel_rtdetr,
    KESTREL_FCOS.name: _kestrel_fcos,
}


def _shaped(part: Part, rows: int | None, columns: int | None) -> Part:
    """The same. Raises ValueError unless it has two axes of these lengths (None: any)."""
    if part.ndim != 2 or rows not in (None, part.shape[0]) or columns not in (None, part.shape[1]):
        wanted = " x ".join("any" if side is None else str(side) for side in (rows, columns))
        raise ValueError(f"an answer of {' x '.join(map(str, part.shape)) or 'no axes'} where {wanted} was promised")
    return part


def _sigmoid(logits: Part) -> FloatArray:
    return 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -500, 500)))


def _softmax(logits: Part) -> FloatArray:
    """(Q, classes) shares that add up to 1 in each row."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares: FloatArray = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _from_bounds(bounds: Part) -> FloatArray:
    """(N, 4) x0, y0, x1, y1 → cx, cy, w, h."""
    low, high = bounds[:, :2].astype(np.float64), bounds[:, 2:4].astype(np.float64)
    return np.concatenate([(low + high) / 2, high - low], axis=1)


def _from_shares(boxes: Part, question: Question) -> FloatArray:
    sides = np.array([question.width, question.height, question.width, question.height], np.float64)
    return boxes.astype(np.float64) * sides


def _decoded(sides: Part, angles: Part | None, per_class: Part, question: Question) -> Decoded:
    """Every box of its best class. Thousands of points say nothing: only the others are copied."""
    best = per_class.max(axis=1) if len(per_class) else np.zeros(0)
    keep = np.flatnonzero(best >= question.threshold)
    return Decoded(
        _boxes(sides[keep], None if angles is None else angles[keep]),
        _between_0_and_1(best, keep),
        per_class[keep].argmax(axis=1).astype(np.int64),
    )


def _selected(sides: Part, angles: Part | None, scores: Part, labels: Part, question: Question) -> Decoded:
    """Boxes that have one class each. Rows without area are padding, whatever their class, but that is a number.

    A network of two classes that writes cx, cy, w, h and two scores (RT-DETR of Ultralytics) has the shape of one that
    selects, and its metadata may say nothing: taken for bounds, its small boxes have no area, and its scores are no
    numbers of classes.
    """
    if scores.shape != (len(sides),) or labels.shape != (len(sides),):
        raise ValueError(f"{len(sides)} boxes with scores of shape {scores.shape} and classes of {labels.shape}")
    if (labels != np.rint(labels)).any():
        raise ValueError("classes that are no whole numbers")
    keep = np.flatnonzero((scores >= question.threshold) & (sides[:, 2] > 0) & (sides[:, 3] > 0))
    class_ids = labels[keep].astype(np.int64)
    if (class_ids < 0).any() or (class_ids >= question.classes).any():
        raise ValueError(f"classes that are none of the {question.classes}")
    boxes = _boxes(sides[keep], None if angles is None else angles[keep])
    return Decoded(boxes, _between_0_and_1(scores, keep), class_ids)


def _boxes(sides: Part, angles: Part | None) -> FloatArray:
    turned = np.zeros(len(sides)) if angles is None else angles.astype(np.float64)
    return np.column_stack([sides.astype(np.float64), turned])


def _between_0_and_1(scores: Part, keep: NDArray[np.intp]) -> FloatArray:
    """Those of ``keep``, float64. Raises ValueError where any lies outside by more than rounding."""
    if len(scores) and not (scores.min() >= -ROUNDING and scores.max() <= 1 + ROUNDING):
        raise ValueError(f"scores from {float(scores.min()):.3g} to {float(scores.max()):.3g}, which are no shares")
    return np.clip(scores[keep].astype(np.float64), 0, 1)
