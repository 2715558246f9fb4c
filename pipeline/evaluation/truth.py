"""Scenes whose truth is known because we made them: ``*.truth.geojson`` against what was detected."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ConfigError
from pipeline.evaluation.coco import AnnotatedScenes
from pipeline.evaluation.oriented import Annotations, match_classes, operating_point
from pipeline.evaluation.report import detections_from_columns

PX_COLUMNS = ("px_cx", "px_cy", "px_w", "px_h", "px_angle_rad")


def read_truth(path: Path) -> AnnotatedScenes:
    """The one scene of a truth file: the boxes in scene pixels that its features carry beside their polygons.

    The scene is named as its file, ``harbour`` for ``harbour.truth.geojson``. Raises ConfigError for other files.
    """
    try:
        rows = [feature["properties"] for feature in json.loads(path.read_text())["features"]]
        names = {int(row["class_id"]): str(row["class_name"]) for row in rows}
        boxes = np.array([[row[name] for name in PX_COLUMNS] for row in rows], np.float64).reshape(-1, 5)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} cannot be read as the truth of a made scene ({error!r}); give *.truth.geojson"
        ) from error
    numbers = sorted(names)
    class_ids = np.array([numbers.index(int(row["class_id"])) for row in rows], np.int64)
    truth = Annotations(boxes, class_ids, np.zeros(len(rows), np.bool_))
    return AnnotatedScenes(
        classes=tuple(names[number] for number in numbers), scenes={path.name.removesuffix(".truth.geojson"): truth}
    )


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
