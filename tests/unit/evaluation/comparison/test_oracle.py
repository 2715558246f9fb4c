"""What who knows the truth would gain by a crop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.annotations.annotations import Annotations
from pipeline.evaluation.comparison.oracle import oracle_gain
from pipeline.second_look.windows import Glance, Windows
from pipeline.types import Detections, FloatArray, Frame, Window


class TestOracle:
    def test_the_oracle_counts_what_scores_rise_by(self) -> None:
        """Three objects, the last one seen with 0.2. Windows: over the first; over the first and the second, so taken
        before it; over the third; too tight around the second."""
        boxes = np.array([[31.0, 10, 8, 4, 0], [50, 10, 8, 4, 0], [90, 10, 8, 4, 0]])
        seen = Detections(boxes[2:], np.array([0.2]), np.zeros(1, np.int64), Frame.LATTICE)
        glance = Glance(tile=Window(x=0, y=0, width=100, height=20), factor=2.0, attention=None, detections=seen)
        rows = np.array([[0, 0, 40, 20], [22, 0, 62, 20], [80, 0, 100, 20], [43, 0, 79, 20]])
        windows = Windows(boxes=rows, intensity=np.zeros(4), entropy=np.zeros(4))
        known = Annotations(boxes, np.zeros(3, np.int64), np.zeros(3, np.bool_))
        reachable = np.array([0.9, 0.7, 0.8])
        lattice = glance.tile

        def gains(known: Annotations, reachable: FloatArray, glance: Glance) -> FloatArray:
            return oracle_gain(known, reachable, lattice)([glance], [windows])

        np.testing.assert_allclose(gains(known, reachable, glance), [0, 1.6 / 800, 0.6 / 400, 0])
        other = replace(glance, detections=replace(seen, class_ids=np.array([1])))
        np.testing.assert_allclose(gains(known, reachable, other), [0, 1.6 / 800, 0.8 / 400, 0])
        lost = np.array([0.9, 0.7, 0.1])  # a crop would rather do harm
        np.testing.assert_allclose(gains(known, lost, glance), [0, 1.6 / 800, 0, 0])
        ignored = replace(known, ignore=np.array([False, True, True]))
        np.testing.assert_allclose(gains(ignored, reachable, glance), [0.9 / 800, 0, 0, 0])

    def test_the_oracle_knows_that_crops_show_nothing_outside_them(self) -> None:
        """An object in the next tile, and one that the tile's inner side would cut, are no reason for a crop."""
        boxes = np.array([[150.0, 50, 8, 4, 0], [98, 50, 8, 4, 0], [50, 50, 8, 4, 0]])
        known = Annotations(boxes, np.zeros(3, np.int64), np.zeros(3, np.bool_))
        tile = Window(x=0, y=0, width=100, height=100)
        glance = Glance(tile=tile, factor=2.0, attention=None, detections=Detections.empty(Frame.LATTICE))
        rows = np.array([[50, 25, 100, 75], [25, 25, 75, 75]])
        windows = Windows(boxes=rows, intensity=np.zeros(2), entropy=np.zeros(2))
        gain = oracle_gain(known, np.full(3, 0.9), Window(x=0, y=0, width=200, height=100))
        np.testing.assert_allclose(gain([glance], [windows]), [0, 0.9 / 2500])
