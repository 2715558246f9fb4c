"""DOTA's annotation files: one text file per image, ``x1 y1 x2 y2 x3 y3 x4 y4 category difficult`` per line."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, nan
from pathlib import Path

import numpy as np

from pipeline.errors import ConfigError
from pipeline.geometry.obb import corners_to_obb
from pipeline.training.scenes import Annotations

HEADER_WORDS = ("imagesource", "gsd")
"""First words of the two lines that may come before the boxes (DOTA 1.0 development kit)."""


def read_dota(path: Path, classes: Sequence[str]) -> Annotations:
    """Oriented truth of one image; ``difficult`` objects become ignore regions, as DOTA's own evaluation has it.

    Raises ConfigError for a line that is no box or a category that is not among ``classes``.
    """
    corners, class_ids, ignore = [], [], []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split()
        if not words or words[0].split(":")[0].lower() in HEADER_WORDS:
            continue
        if len(words) < 9:
            raise ConfigError(f"{path}, line {number}: expected 8 coordinates and a category, found {len(words)} words")
        try:
            numbers = [float(word) for word in words[:8]]
        except ValueError:
            numbers = [nan]
        if not all(isfinite(one) for one in numbers):
            raise ConfigError(f"{path}, line {number}: a coordinate is not a number: {line.strip()!r}")
        corners.append(numbers)
        if words[8] not in classes:
            raise ConfigError(f"{path}, line {number}: category {words[8]!r} is not one of {', '.join(classes)}")
        class_ids.append(classes.index(words[8]))
        ignore.append(len(words) > 9 and words[9] != "0")
    if not corners:
        return Annotations.empty()
    boxes = corners_to_obb(np.array(corners).reshape(-1, 4, 2))
    return Annotations(boxes, np.array(class_ids, np.int64), np.array(ignore, np.bool_))
