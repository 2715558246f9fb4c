"""How good a detector is on prepared scenes: tiled, detected and merged as detection does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from pipeline.detectors.protocol import Detector
from pipeline.evaluation.average_precision import (
    area_under_curve,
    average_precision_coco,
    best_f1_score_threshold,
    mean_over_classes,
    operating_point,
)
from pipeline.evaluation.bootstrap import bootstrap_intervals, make_units
from pipeline.evaluation.calibration import calibrate
from pipeline.evaluation.matching import match_classes
from pipeline.geometry.frames import chip_to_lattice, near_inner_edge
from pipeline.geometry.nms import merge
from pipeline.planning.tiles import plan_tiles
from pipeline.training.data.scenes import TrainingScene
from pipeline.types import Chip, Detections, Frame, Lattice

LOWEST_SCORE = 0.02
MERGE_IOU = 0.3
BATCH = 4


def detect_whole(detector: Detector, scene: TrainingScene, halo_px: int) -> Detections:
    """All detections of a scene with a score of at least LOWEST_SCORE, merged, in its own pixels (frame LATTICE)."""
    lattice = lattice_of(scene, detector.card.gsd_m)
    tiles = plan_tiles(lattice, detector.card.input_px, halo_px)
    parts = []
    for start in range(0, len(tiles), BATCH):
        windows = [tile.window for tile in tiles[start : start + BATCH]]
        chips = [Chip(pixels=scene.pixels[w.y : w.y1, w.x : w.x1], window=w) for w in windows]
        looks = detector.detect(chips, score_threshold=LOWEST_SCORE)
        for window, look in zip(windows, looks, strict=True):
            boxes = chip_to_lattice(look.detections.boxes, window)
            edge = near_inner_edge(boxes, window, lattice.window)
            parts.append(replace(look.detections, boxes=boxes, edge=edge, frame=Frame.LATTICE))
    return merge(Detections.concat(parts, Frame.LATTICE), iou_threshold=MERGE_IOU)


def lattice_of(scene: TrainingScene, gsd_m: float | None) -> Lattice:
    """The scene's own pixels."""
    height, width = scene.pixels.shape[:2]
    return Lattice(width=width, height=height, scale_x=1.0, scale_y=1.0, gsd_m=gsd_m)


def validate(
    scenes: Sequence[TrainingScene], detections: Sequence[Detections], score_threshold: float | None = None
) -> dict[str, Any]:
    """Figures over ``scenes`` and what was found in each, together: intervals (95 %, bootstrap over images or blocks)
    and AP50 per scene.

    Without ``score_threshold`` the operating point is the one of best F1: only for scenes that are not reported on.
    With them comes what scores are worth on these scenes; None of too few boxes.
    """
    truth = [scene.truth for scene in scenes]
    found = list(match_classes(detections, truth, (0.5, 0.75)).values())
    units = make_units(truth, [lattice_of(scene, None) for scene in scenes])
    threshold = best_f1_score_threshold(found) if score_threshold is None else score_threshold
    point = operating_point(found, threshold)
    per_scene = {
        scene.name: mean_over_classes([area_under_curve(m) for m in match_classes([d], [t], (0.5,)).values()])
        for scene, d, t in zip(scenes, detections, truth, strict=True)
    }
    calibration = calibrate([scene.name for scene in scenes], detections, truth)
    return {
        "ap50": mean_over_classes([area_under_curve(matches) for matches in found]),
        "ap75": mean_over_classes([area_under_curve(matches, 1) for matches in found]),
        "ap50_95": average_precision_coco(detections, truth),
        "score_threshold": threshold,
        "precision": point.precision,
        "recall": point.recall,
        "f1": point.f1,
        "intervals_95": bootstrap_intervals(found, threshold, units, units.of_detections(detections)),
        "right": point.right,
        "wrong": point.wrong,
        "missed": point.missed,
        "ap50_per_scene": per_scene,
        "calibration": None if calibration is None else asdict(calibration),
    }
