"""The errors that a person should look at: of each kind those that the detector was surest of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.errors.kinds import ERRORS, Judgement, Kind
from pipeline.types import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One error: a detection and the object it is about, or one of both."""

    kind: Kind
    scene: int
    detection: int | None
    """Counted over all scenes, as in :class:`Judgement`."""
    annotation: int | None
    """Counted the same way."""


def worst_errors(
    judgement: Judgement, sizes: FloatArray, score_threshold: float, count: int
) -> dict[Kind, tuple[Example, ...]]:
    """Up to ``count`` examples of each kind among what the threshold lets through.

    Detections of the highest scores; of missed objects the largest. ``sizes`` (A,) are of the annotations, pixels.
    """
    ranked = judgement.ranked[judgement.scores[judgement.ranked] >= score_threshold]
    examples: dict[Kind, tuple[Example, ...]] = {}
    for kind in ERRORS:
        if kind == Kind.MISSED:
            missed = np.flatnonzero(judgement.missed(score_threshold))
            rows = missed[np.argsort(-sizes[missed], kind="stable")][:count]
            examples[kind] = tuple(_missed(judgement, row) for row in rows.tolist())
        else:
            rows = ranked[judgement.kind[ranked] == kind][:count]
            examples[kind] = tuple(_wrong(judgement, kind, row) for row in rows.tolist())
    return examples


def _missed(judgement: Judgement, row: int) -> Example:
    scene = int(judgement.annotation_scene[row])
    return Example(kind=Kind.MISSED, scene=scene, detection=None, annotation=row)


def _wrong(judgement: Judgement, kind: Kind, row: int) -> Example:
    target = int(judgement.target[row])
    return Example(
        kind=kind, scene=int(judgement.scene[row]), detection=row, annotation=target if target >= 0 else None
    )
