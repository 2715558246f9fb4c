"""The truth beside a scene of ours (``*.truth.geojson``) → truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from pipeline.annotations.annotations import AnnotatedScenes, Annotations
from pipeline.errors import ConfigError
from pipeline.names import told

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
            f"{path} cannot be read as the truth of a made scene ({told(error)}); give *.truth.geojson"
        ) from error
    numbers = sorted(names)
    class_ids = np.array([numbers.index(int(row["class_id"])) for row in rows], np.int64)
    truth = Annotations(boxes, class_ids, np.zeros(len(rows), np.bool_))
    return AnnotatedScenes(
        classes=tuple(names[number] for number in numbers), scenes={path.name.removesuffix(".truth.geojson"): truth}
    )
