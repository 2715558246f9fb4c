"""Detections against the truth of made scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.evaluation.truth import compare_with_truth
from tests.support.annotated import truth_file
from tests.support.judging import ship


class TestMadeScenes:
    """A truth file as ``make_scene`` writes it: boxes in pixels beside the polygons."""

    def test_found_and_false_alarms_are_counted(self, tmp_path: Path) -> None:
        path = truth_file(tmp_path, [ship(0), ship(40), ship(80)])
        seen = np.array([ship(0), ship(81), ship(400)])
        columns = {"class_name": ["ship"] * 3, "score": [0.9, 0.8, 0.7]}
        columns |= dict(zip(("px_cx", "px_cy", "px_w", "px_h", "px_angle_rad"), seen.T.tolist(), strict=True))
        assert compare_with_truth(columns, path).startswith("2 of 3 true objects found (67 %), 1 false alarms")
        empty = truth_file(tmp_path, [])
        assert compare_with_truth(columns, empty).startswith("0 of 0 true objects found, 3 false alarms")
