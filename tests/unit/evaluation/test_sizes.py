"""Which objects are found: by their size, and by their distance to a seam."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.annotations.annotations import Annotations
from pipeline.evaluation.average_precision import (
    COCO_IOU_THRESHOLDS,
    area_under_curve,
    sampled_average,
)
from pipeline.evaluation.coco_metrics import SIZES, metrics_by_size
from pipeline.evaluation.matching import match_classes
from pipeline.evaluation.sizes import of_size, recall_by_seam_distance, root_areas
from pipeline.geometry.obb import canonical_obb
from pipeline.types import Detections
from tests.support.judging import found, truth


def separate(generator: np.random.Generator) -> tuple[Detections, Annotations]:
    """Objects of all sizes on a grid so wide that none touches another, found up to twice, and false alarms."""
    grid = np.stack(np.meshgrid(np.arange(7), np.arange(7)), -1).reshape(-1, 2) * 400.0
    sides = 2 ** generator.uniform(1.2, 7.6, (49, 2))
    boxes = canonical_obb(np.column_stack([grid, sides, np.zeros(49)]))
    copies = np.repeat(np.arange(49), generator.integers(0, 3, 49))
    jitter = generator.normal(0, 0.08, (len(copies), 4)) * np.tile(boxes[copies, 2:4], 2)
    seen = boxes[copies] + np.column_stack([jitter, np.zeros(len(copies))])
    wrong = np.column_stack(
        [generator.uniform(0, 2400, (20, 2)) + 200, 2 ** generator.uniform(1, 7, (20, 2)), np.zeros(20)]
    )
    every = canonical_obb(np.concatenate([seen, wrong]))
    return found(every, generator.uniform(size=len(every)).tolist()), truth(boxes)


class TestSizes:
    @pytest.mark.parametrize("seed", range(3))
    def test_without_angles_it_is_cocos_evaluator_at_every_size(self, seed: int) -> None:
        """Differential: pycocotools with maxDets 500 against our matching by true IoU, all angles zero."""
        generator = np.random.default_rng(seed)
        detections, annotations = zip(*(separate(generator) for _ in range(3)), strict=True)
        theirs = metrics_by_size(detections, annotations, class_count=1)
        matches = match_classes(detections, annotations, COCO_IOU_THRESHOLDS)[0]
        assert theirs["ap50"] == pytest.approx(sampled_average(matches, 0), abs=1e-9)
        assert theirs["ap75"] == pytest.approx(sampled_average(matches, 5), abs=1e-9)
        for name, (low, high) in SIZES.items():
            own = of_size(matches, root_areas(annotations), root_areas(detections), low, high)
            ours = np.mean([sampled_average(own, row) for row in range(10)])
            assert theirs[f"ap_{name}"] == pytest.approx(ours, abs=1e-9), name
        assert 0.05 < theirs["ap_tiny"] < 0.95

    def test_voc07_by_hand(self) -> None:
        """Precision 1 up to recall 1/3 and 2/3 up to 2/3: the eleven recalls meet 1 four times, 2/3 three times."""
        boxes = np.array([[40.0 * i, 10, 20, 6, 0.3] for i in range(3)])
        seen = found(np.concatenate([boxes[:1], boxes[:1] + 900, boxes[1:2]]), [0.9, 0.8, 0.7])
        matches = match_classes([seen], [truth(boxes)], (0.5,))[0]
        assert sampled_average(matches, points=11) == pytest.approx((4 * 1 + 3 * 2 / 3) / 11)

    def test_detections_where_nothing_is_annotated(self) -> None:
        matches = match_classes([found(np.array([[9.0, 9, 9, 9, 0]]), [0.5])], [truth(np.zeros((0, 5)))], (0.5,))[0]
        assert math.isnan(area_under_curve(of_size(matches, np.zeros(0), np.array([9.0]), 0, 32)))

    def test_recall_by_distance_to_a_seam(self) -> None:
        boxes = np.array([[40.0 * i, 10, 20, 6, 0.3] for i in range(4)])
        matches = match_classes([found(boxes[[0, 2]], [0.9, 0.2])], [truth(boxes)], (0.5,))
        seams = np.array([3.0, 15.0, 100.0, np.inf])
        assert recall_by_seam_distance(matches, seams, 0.1) == {
            "0 to 16 px": {"objects": 2, "recall": 0.5},
            "64 px and more": {"objects": 1, "recall": 1.0},
        }
        assert recall_by_seam_distance(matches, seams, 0.5)["64 px and more"]["recall"] == 0
