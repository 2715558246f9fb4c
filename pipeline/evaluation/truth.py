"""Scenes whose truth is known because we made them: ``*.truth.geojson`` against what was detected."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.annotations.truth import read_truth
from pipeline.evaluation.average_precision import operating_point
from pipeline.evaluation.matching import match_classes
from pipeline.evaluation.report import detections_from_columns


def compare_with_truth(columns: Mapping[str, Any], path: Path, *, iou_threshold: float = 0.5) -> str:
    """One sentence: how many objects of a truth file are among the rows of ``detections.parquet``, how many rows
    are false alarms. ``columns`` are arrays or lists by column name. Raises ConfigError as :func:`read_truth`."""
    known = read_truth(path)
    classes = known.classes or sorted(set(columns["class_name"]))  # nothing is there: every detection is wrong
    detections = [detections_from_columns(columns, classes)]
    point = operating_point(
        list(match_classes(detections, list(known.scenes.values()), (iou_threshold,)).values()), 0.0
    )
    total = point.right + point.missed
    share = f" ({100 * point.recall:.0f} %)" if total else ""
    return (
        f"{point.right:.0f} of {total:.0f} true objects found{share}, {point.wrong:.0f} false alarms "
        f"(rotated IoU of at least {iou_threshold:g})"
    )
