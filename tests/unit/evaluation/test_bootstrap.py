"""How sure a difference is: images drawn again."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from pipeline.evaluation.average_precision import (
    area_under_curve,
    average_precision,
    mean_over_classes,
    operating_point,
)
from pipeline.evaluation.bootstrap import (
    bootstrap_intervals,
    draw,
    extents,
    interval,
    make_units,
    resampled_ap,
)
from pipeline.evaluation.matching import match_classes
from tests.support.judging import LATTICE, found, noisy, ship, truth


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


class TestIntervalsOfOneDetector:
    """Drawn as the comparison draws: places, with their false alarms."""

    def test_every_figure_of_a_draw_is_that_of_the_images_drawn(self) -> None:
        """Differential: the percentiles of AP, precision, recall and F1 over data sets made of the drawn images."""
        generator = np.random.default_rng(5)
        scenes = [noisy(generator) for _ in range(60)]
        detections, annotations = [d for d, _ in scenes], [a for _, a in scenes]
        units = make_units(annotations, [LATTICE] * 60)
        matches = list(match_classes(detections, annotations, (0.5,)).values())
        intervals = bootstrap_intervals(matches, 0.4, units, units.of_detections(detections), resamples=40, seed=3)
        rows = []
        for row in draw(units, 40, 3).astype(int):
            drawn = np.repeat(np.arange(60), row)
            again = [detections[i] for i in drawn], [annotations[i] for i in drawn]
            point = operating_point(list(match_classes(*again, (0.5,)).values()), 0.4)
            rows.append((average_precision(*again), point.precision, point.recall, point.f1))
        low, high = np.percentile(rows, (2.5, 97.5), axis=0)
        for number, name in enumerate(("ap", "precision", "recall", "f1")):
            assert intervals[name] == pytest.approx((low[number], high[number]), abs=1e-9)

    def test_false_alarms_are_drawn_too(self) -> None:
        """60 images with one ship each, all found; every second has a false alarm. Recall is sure, precision is not:
        the share of images with an alarm varies as a binomial one, so precision is 1 / (1 + 0.5 ± 0.127)."""
        detections = [found([ship(10), *([ship(300)] if i % 2 else [])], [0.9] * (1 + i % 2)) for i in range(60)]
        annotations = [truth([ship(10)])] * 60
        units = make_units(annotations, extents(detections, annotations))
        matches = list(match_classes(detections, annotations, (0.5,)).values())
        judged = bootstrap_intervals(matches, 0.5, units, units.of_detections(detections), seed=1)
        assert judged["recall"] == (1.0, 1.0)
        half = 1.96 * math.sqrt(0.25 / 60)
        assert judged["precision"] == pytest.approx((1 / (1.5 + half), 1 / (1.5 - half)), abs=0.02)
        other = bootstrap_intervals(matches, 0.5, units, units.of_detections(detections), seed=2)
        assert judged == bootstrap_intervals(matches, 0.5, units, units.of_detections(detections), seed=1)
        assert judged != other

    def test_what_does_not_exist_is_nan_without_a_warning(self) -> None:
        """Nothing annotated; one place only; nothing detected, so that no draw has a precision."""
        nothing = make_units([], [])
        assert all(math.isnan(low) for low, _ in bootstrap_intervals([], 0.5, nothing, np.zeros(0, int)).values())
        boxes = [ship(400.0 * i) for i in range(4)]
        for detections, wanted in (
            ([found(boxes[:1], [0.9])], [truth(boxes[:1])]), ([found([], [])], [truth(boxes)])
        ):  # fmt: skip
            units = make_units(wanted, extents(detections, wanted))
            matches = list(match_classes(detections, wanted, (0.5,)).values())
            judged = bootstrap_intervals(matches, 0.5, units, units.of_detections(detections), resamples=50)
            assert all(math.isnan(bound) for bound in judged["precision"])
