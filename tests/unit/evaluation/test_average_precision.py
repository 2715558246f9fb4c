"""The evaluator agrees with COCO's own and with figures worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.annotations.annotations import Annotations
from pipeline.evaluation.average_precision import (
    average_precision,
    average_precision_coco,
    best_f1_score_threshold,
    operating_point,
)
from pipeline.evaluation.coco_metrics import horizontal_metrics
from pipeline.evaluation.matching import match_classes
from pipeline.geometry.obb import canonical_obb
from pipeline.geometry.overlap import rotated_iou_pairs
from pipeline.types import Detections, Frame
from tests.support.judging import found, ship, truth


def test_ap_by_hand() -> None:
    """Scores 0.9 right, 0.8 wrong, 0.7 right of 3 objects: precision 1, 1/2, 2/3 at recall 1/3, 1/3, 2/3."""
    detections = found([ship(0), ship(500), ship(100)], [0.9, 0.8, 0.7])
    annotations = truth([ship(0), ship(100), ship(200)])
    assert average_precision([detections], [annotations]) == pytest.approx(1 / 3 + (1 / 3) * (2 / 3))
    expected = (34 * 1 + 33 * (2 / 3)) / 101  # recalls 0 … 0.33 at precision 1, 0.34 … 0.66 at 2/3
    assert average_precision_coco([detections], [annotations]) == pytest.approx(expected)


def test_the_angle_counts() -> None:
    """A thin ship found at the right place and size, but across, is wrong; its bounds would have been right."""
    annotations = truth([[0, 0, 20, 4, math.pi / 4]])
    across = found([[0, 0, 20, 4, -math.pi / 4]], [0.9])
    assert average_precision([across], [annotations]) == 0
    assert horizontal_metrics([across], [annotations], class_count=1)["ap50"] == pytest.approx(1.0)


def test_operating_point_and_best_threshold() -> None:
    detections = found([ship(0), ship(500), ship(100), ship(600)], [0.9, 0.8, 0.7, 0.2])
    matches = list(match_classes([detections], [truth([ship(0), ship(100), ship(200)])], (0.5,)).values())
    point = operating_point(matches, 0.7)
    assert (point.right, point.wrong, point.missed) == (2, 1, 1)
    assert point.precision == point.recall == point.f1 == pytest.approx(2 / 3)
    assert best_f1_score_threshold(matches) == 0.7


def test_no_limit_on_detections_per_scene() -> None:
    """250 ships found of 250; pycocotools at its default limit of 100 would report 0.4."""
    boxes = [ship(40.0 * i) for i in range(250)]
    detections, annotations = found(boxes, list(np.linspace(0.9, 0.1, 250))), truth(boxes)
    assert average_precision([detections], [annotations]) == pytest.approx(1)
    assert horizontal_metrics([detections], [annotations], class_count=1)["recall"] == pytest.approx(1)
    limited = horizontal_metrics([detections], [annotations], class_count=1, max_detections=100)
    assert limited["recall"] == pytest.approx(0.4)


def test_nothing_annotated_is_nan_and_nothing_found_is_zero() -> None:
    nothing, someone = found([], []), found([ship(0)], [0.9])
    assert math.isnan(average_precision([], []))
    assert math.isnan(average_precision([someone], [truth([])]))
    assert math.isnan(average_precision_coco([nothing], [truth([])]))
    assert math.isnan(horizontal_metrics([someone], [truth([])], class_count=1)["ap"])
    assert average_precision([nothing], [truth([ship(0)])]) == 0
    assert average_precision_coco([nothing], [truth([ship(0)])]) == 0
    assert horizontal_metrics([nothing], [truth([ship(0)])], class_count=1)["ap"] == 0
    empty_point = operating_point(list(match_classes([nothing], [truth([])], (0.5,)).values()), 0.5)
    assert math.isnan(empty_point.precision)
    assert math.isnan(empty_point.f1)
    with pytest.raises(ValueError, match="1 scenes of detections, but 0"):
        average_precision([nothing], [])


def random_scene(generator: np.random.Generator, *, angles: bool) -> tuple[Detections, Annotations]:
    """Three classes, crowded, with misses, false alarms, doubles and ignore regions."""
    m = 40
    boxes = np.column_stack([generator.uniform(0, 200, (m, 2)), generator.uniform(8, 30, (m, 2)), np.zeros(m)])
    if angles:
        boxes[:, 4] = generator.uniform(-1.5, 1.5, m)
    boxes, classes = canonical_obb(boxes), generator.integers(0, 3, m)
    ignore = generator.uniform(size=m) < 0.15
    copies = np.repeat(np.arange(m), generator.integers(0, 3, m))
    jittered = boxes[copies] + generator.normal(0, [2, 2, 2, 2, 0.1 if angles else 0], (len(copies), 5))
    jittered[:, 2:4] = np.maximum(jittered[:, 2:4], 3)
    wrong = np.column_stack([generator.uniform(0, 200, (15, 2)), generator.uniform(8, 30, (15, 2)), np.zeros(15)])
    every = canonical_obb(np.concatenate([jittered, wrong]))
    labels = np.concatenate([classes[copies], generator.integers(0, 3, 15)])
    return Detections(every, generator.uniform(size=len(every)), labels, Frame.SCENE), Annotations(
        boxes, classes, ignore
    )


@pytest.mark.parametrize("seed", range(5))
def test_without_angles_it_is_cocos_evaluator(seed: int) -> None:
    """Differential: with every angle 0 or -pi/2, AP50:95 equals pycocotools', ignore regions and all."""
    generator = np.random.default_rng(seed)
    scenes = [random_scene(generator, angles=False) for _ in range(4)]
    detections, annotations = [d for d, _ in scenes], [a for _, a in scenes]
    theirs = horizontal_metrics(detections, annotations, class_count=3)
    assert 0.05 < theirs["ap"] < 0.95
    assert average_precision_coco(detections, annotations) == pytest.approx(theirs["ap"], abs=1e-9)


def area_by_the_book(detections: Detections, annotations: Annotations) -> float:
    """AP50 as DOTA's kit computes it, from its definition, one detection at a time: the reference."""
    order, hits, used = np.argsort(-detections.scores), [], set()
    for row in order:
        box = np.repeat(detections.boxes[row : row + 1], len(annotations), axis=0)
        iou = rotated_iou_pairs(box, annotations.boxes)
        best = int(np.argmax(iou))
        hits.append(iou[best] >= 0.5 and best not in used)
        used |= {best} if hits[-1] else set()
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    recall = np.concatenate([[0.0], np.cumsum(hits) / len(annotations)])
    return sum((recall[i + 1] - recall[i]) * precision[i:].max() for i in range(len(hits)))


def test_ap50_is_dotas() -> None:
    """Differential, oriented: annotations that do not overlap, one class, against DOTA's algorithm written plainly."""
    generator = np.random.default_rng(3)
    grid = np.stack(np.meshgrid(np.arange(8), np.arange(8)), -1).reshape(-1, 2) * 40.0
    boxes = canonical_obb(np.column_stack([grid, generator.uniform(6, 28, (64, 2)), generator.uniform(-2, 2, 64)]))
    copies = generator.integers(0, 64, 120)
    jittered = boxes[copies] + generator.normal(0, [2, 2, 1, 1, 0.2], (120, 5))
    detections = Detections(
        canonical_obb(np.abs(jittered)), generator.uniform(size=120), np.zeros(120, np.int64), Frame.SCENE
    )
    annotations = Annotations(boxes, np.zeros(64, np.int64), np.zeros(64, np.bool_))
    expected = area_by_the_book(detections, annotations)
    assert 0.1 < expected < 0.9
    assert average_precision([detections], [annotations]) == pytest.approx(expected)


def test_row_order_and_scene_order_change_nothing() -> None:
    generator = np.random.default_rng(9)
    scenes = [random_scene(generator, angles=True) for _ in range(3)]
    expected = average_precision([d for d, _ in scenes], [a for _, a in scenes])
    shuffled = [(d[generator.permutation(len(d))], a) for d, a in reversed(scenes)]
    assert average_precision([d for d, _ in shuffled], [a for _, a in shuffled]) == pytest.approx(expected, abs=1e-12)
