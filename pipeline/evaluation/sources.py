"""Detections and truth brought together: a detector on annotated images, or detections that lie in files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.annotations.annotations import AnnotatedScenes, annotations_on_lattice
from pipeline.annotations.coco import read_annotations
from pipeline.annotations.truth import read_truth
from pipeline.config import RunConfig
from pipeline.evaluation.data import EvaluationData
from pipeline.evaluation.detected import detect_scenes, published_detections
from pipeline.evaluation.judged import Judged
from pipeline.evaluation.published.results import recorded_tiling
from pipeline.evaluation.seams import seam_distance, seams_of
from pipeline.planning.plan import plan_scene
from pipeline.planning.threshold import calibration_of
from pipeline.raster.own_data import own_data
from pipeline.types import FloatArray, ModelCard


def judged_detector(data: EvaluationData, card: ModelCard, config: RunConfig, threshold: float, source: str) -> Judged:
    """A detector on annotated images, by the product's own main path. Raises PipelineError."""
    found, failures = detect_scenes(data.images, data.classes, card, config)
    return Judged(
        detector=card.name, data=source, classes=data.classes, found=found, truth=data.truth,
        score_threshold=threshold, notes=(*failures, *data.notes),
        calibrated=_line(card, config),
        images={name: str(path) for name, path in data.images.items()}, seam_px=_seams(data, card, config),
    )  # fmt: skip


def judged_files(files: Sequence[str], annotations: Path, split: str, threshold: float) -> Judged:
    """Published detections against annotations in scene pixels, with the tiles that ``run.json`` beside them tells of.
    Raises ConfigError, StorageError."""
    truth = _annotated(annotations, split)
    found = published_detections(files, truth.scenes, truth.classes)
    tilings = {Path(file).parent.name: recorded_tiling(str(Path(file).parent)) for file in files}
    tiled = {name: tiling for name in truth.scenes if (tiling := tilings[Path(name).stem]) is not None}
    return Judged(
        detector="published detections", data=annotations.name, classes=truth.classes, truth=truth.scenes,
        found=found, score_threshold=threshold, notes=truth.notes,
        seam_px={name: seams_of(truth.scenes[name], *tiling) for name, tiling in tiled.items()},
    )  # fmt: skip


def _line(card: ModelCard, config: RunConfig) -> tuple[FloatArray, FloatArray] | None:
    calibration = calibration_of(card, flips=config.detector.flips)
    return None if calibration is None else (np.array(calibration.scores), np.array(calibration.precision))


def _annotated(source: Path, split: str) -> AnnotatedScenes:
    if source.suffix == ".geojson":
        return read_truth(source)
    return read_annotations(source / "annotations" / f"{split}.json" if source.is_dir() else source)


@own_data()
def _seams(data: EvaluationData, card: ModelCard, config: RunConfig) -> dict[str, FloatArray]:
    seams = {}
    for name, path in data.images.items():
        plan = plan_scene(str(path), config, card, None)
        centres = annotations_on_lattice(data.truth[name], plan.lattice).boxes[:, :2]
        seams[name] = seam_distance(centres, plan.tiles, plan.lattice)
    return seams
