"""How sure a difference is: images drawn again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.evaluation.average_precision import (
    area_under_curve,
    average_precision,
    mean_over_classes,
)
from pipeline.evaluation.comparison.bootstrap import draw, interval, make_units, resampled_ap
from pipeline.evaluation.matching import match_classes
from tests.support.judging import LATTICE, found, noisy, truth


class TestBootstrap:
    def test_a_draw_is_the_set_of_images_drawn(self) -> None:
        """Differential: AP under weights is AP of a data set in which each image stands as often as it was drawn."""
        generator = np.random.default_rng(5)
        scenes = [noisy(generator) for _ in range(60)]
        detections, annotations = [d for d, _ in scenes], [a for _, a in scenes]
        units = make_units(annotations, [LATTICE] * 60)
        assert (units.kind, units.count) == ("images", 60)
        draws = draw(units, 5)
        assert (draws.sum(axis=1) == 60).all()
        matches = list(match_classes(detections, annotations, (0.5,)).values())
        resampled = resampled_ap(matches, units, units.of_detections(detections), np.vstack([np.ones(60), draws]))
        assert resampled[0] == pytest.approx(mean_over_classes([area_under_curve(one) for one in matches]))
        for row, value in zip(draws.astype(int), resampled[1:], strict=True):
            drawn = np.repeat(np.arange(60), row)
            again = average_precision([detections[i] for i in drawn], [annotations[i] for i in drawn])
            assert value == pytest.approx(again, abs=1e-12)

    def test_few_images_are_drawn_by_blocks(self) -> None:
        """Two images of 1024 x 600 lattice pixels have 2 x 2 blocks each; a box at the rim belongs to the last."""
        boxes = np.array([[10.0, 10, 8, 4, 0], [600, 10, 8, 4, 0], [1024, 599, 8, 4, 0]])
        units = make_units([truth(boxes), truth(boxes[:1])], [LATTICE, replace(LATTICE, scale_x=0.5, scale_y=0.5)])
        assert (units.kind, units.count) == ("blocks of 512 px", 8)
        assert units.of_annotation.tolist() == [0, 1, 3, 4]
        scaled = found(np.array([[300.0, 200, 8, 4, 0]]), [0.5])  # 600, 400 on a lattice twice as fine
        assert units.of_detections([found(boxes[:0], []), scaled]).tolist() == [5]

    def test_the_interval_covers_as_often_as_it_says(self) -> None:
        """Of 60 data sets with a known recall of 0.6 and no false alarm (AP50 = recall), about 57 intervals hold it."""
        generator = np.random.default_rng(2)
        boxes = np.array([[40.0 * i, 10, 20, 6, 0.3] for i in range(6)])
        held = 0
        for _ in range(60):
            keep = generator.uniform(size=(50, 6)) < 0.6
            detections = [found(boxes[row], [0.9] * int(row.sum())) for row in keep]
            annotations = [truth(boxes)] * 50
            units = make_units(annotations, [LATTICE] * 50)
            matches = list(match_classes(detections, annotations, (0.5,)).values())
            low, high = interval(resampled_ap(matches, units, units.of_detections(detections), draw(units, 200)))
            held += low <= 0.6 <= high
        assert 52 <= held <= 60
