"""Objects, what was found of them, and the settings of those who look: for tests of the evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.annotations.annotations import Annotations
from pipeline.config import DetectorConfig, RunConfig, TilingConfig
from pipeline.geometry.obb import canonical_obb
from pipeline.synth.oracle import oracle_card
from pipeline.types import Detections, FloatArray, Frame, Lattice

CARD = replace(oracle_card(np.zeros((0, 5)), ("plane",)), input_px=128)
LATTICE = Lattice(width=1024, height=600, scale_x=1.0, scale_y=1.0, gsd_m=None)
Boxes = FloatArray | Sequence[Sequence[float]]


def base(**tiling: Any) -> RunConfig:
    return RunConfig(
        tiling=TilingConfig(**{"global_factor": 2.0, **tiling}), detector=DetectorConfig(score_threshold=0.1)
    )


def found(boxes: Boxes, scores: Sequence[float], class_ids: Sequence[int] | None = None) -> Detections:
    """Detections in scene pixels, of class 0 where nothing else is said."""
    classes = np.zeros(len(boxes), np.int64) if class_ids is None else np.array(class_ids, np.int64)
    return Detections(np.array(boxes, np.float64).reshape(-1, 5), np.array(scores, np.float64), classes, Frame.SCENE)


def truth(boxes: Boxes, class_ids: Sequence[int] | None = None, ignore: Sequence[bool] | None = None) -> Annotations:
    """Annotations, of class 0 and to be found where nothing else is said."""
    classes = np.zeros(len(boxes), np.int64) if class_ids is None else np.array(class_ids, np.int64)
    ignored = np.zeros(len(boxes), np.bool_) if ignore is None else np.array(ignore, np.bool_)
    return Annotations(np.array(boxes, np.float64).reshape(-1, 5), classes, ignored)


def ship(x: float, angle: float = 0.3) -> list[float]:
    """The box of a ship at that column."""
    return [x, 10.0, 20.0, 6.0, angle]


def noisy(generator: np.random.Generator, count: int = 12) -> tuple[Detections, Annotations]:
    """Objects of two classes, some found, and false alarms."""
    boxes = canonical_obb(
        np.column_stack([generator.uniform(0, 500, (count, 2)), generator.uniform(8, 30, (count, 3))])
    )
    labels = generator.integers(0, 2, count)
    keep = generator.uniform(size=count) < 0.7
    wrong = canonical_obb(np.column_stack([generator.uniform(0, 500, (6, 2)), generator.uniform(8, 30, (6, 3))]))
    seen = np.concatenate([boxes[keep], wrong])
    classes = np.concatenate([labels[keep], generator.integers(0, 2, 6)])
    return (
        Detections(seen, generator.uniform(size=len(seen)), classes, Frame.SCENE),
        Annotations(boxes, labels, generator.uniform(size=count) < 0.1),
    )
