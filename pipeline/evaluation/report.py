"""The figures of a model card: detections of several scenes against their annotations, as one dictionary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.annotations.annotations import Annotations
from pipeline.evaluation.average_precision import (
    COCO_IOU_THRESHOLDS,
    STRICT,
    area_under_curve,
    coco_average,
    mean_over_classes,
    operating_point,
)
from pipeline.evaluation.bootstrap import bootstrap_intervals, extents, make_units
from pipeline.evaluation.matching import Matches, match_classes
from pipeline.types import Detections, Frame

EVALUATOR = (
    "oriented, whole scenes, exact rotated IoU, COCO matching; AP50: area under the curve, all points (VOC/DOTA); "
    "AP75: the same; AP50:95: 101 points (COCO); no limit on detections; 95 % bootstrap over images, or blocks of "
    "512 px where there are fewer than 50, false alarms drawn with them"
)
FIGURES = ("precision", "recall", "f1")


def detections_from_columns(columns: Mapping[str, Any], classes: Sequence[str]) -> Detections:
    """Rows of ``detections.parquet`` (arrays by column name) as Detections of frame SCENE.

    ``class_ids`` are indices into ``classes``, the annotations' names; rows of other classes are left out.
    """
    number = {name: i for i, name in enumerate(classes)}
    class_ids = np.array([number.get(str(name), -1) for name in columns["class_name"]], np.int64)
    parts = [np.asarray(columns[f"px_{part}"], np.float64) for part in ("cx", "cy", "w", "h", "angle_rad")]
    boxes, scores = np.column_stack(parts), np.asarray(columns["score"], np.float64)
    return Detections(boxes, scores, class_ids, Frame.SCENE)[class_ids >= 0]


def figures(
    detections: Mapping[str, Detections],
    annotations: Mapping[str, Annotations],
    *,
    classes: Sequence[str],
    score_threshold: float,
    resamples: int = 2000,
) -> dict[str, Any]:
    """AP50, AP75 and AP50:95, and precision, recall and F1 at the score threshold, with intervals; see ``EVALUATOR``.

    Both mappings hold the same scenes. ``detections`` should reach well below ``score_threshold``, or AP is cut
    short. The result is plain JSON; figures that do not exist (nothing annotated) are None.
    """
    names = list(annotations)
    scenes, truth = [detections[name] for name in names], [annotations[name] for name in names]
    found = match_classes(scenes, truth, COCO_IOU_THRESHOLDS)
    judged = list(found.values())
    units = make_units(truth, extents(scenes, truth))
    intervals = bootstrap_intervals(judged, score_threshold, units, units.of_detections(scenes), resamples=resamples)
    point = operating_point(judged, score_threshold)
    return {
        "evaluator": EVALUATOR,
        "scenes": len(names),
        "annotations": sum(len(matches.targets) for matches in judged),
        "lowest_score": _number(min((float(d.scores.min()) for d in scenes if len(d)), default=float("nan"))),
        "ap50": _number(mean_over_classes([area_under_curve(matches) for matches in judged])),
        "ap50_interval": _interval(intervals["ap"]),
        "ap75": _number(mean_over_classes([area_under_curve(matches, STRICT) for matches in judged])),
        "ap50_95": _number(mean_over_classes([coco_average(matches) for matches in judged])),
        "bootstrap": f"{resamples} draws of {units.count} {units.kind}",
        "score_threshold": score_threshold,
        **{name: _number(getattr(point, name)) for name in FIGURES},
        **{f"{name}_interval": _interval(intervals[name]) for name in FIGURES},
        "per_class": {classes[c]: _class_figures(matches, score_threshold) for c, matches in found.items()},
        "per_scene": {
            name: _counts(list(match_classes([d], [a], (0.5,)).values()), score_threshold)
            for name, d, a in zip(names, scenes, truth, strict=True)
        },
    }


def as_text(report: Mapping[str, Any]) -> str:
    """The figures for people."""
    lines = [
        f"{report['scenes']} scenes, {report['annotations']} annotated boxes",
        f"AP50     {_shown(report['ap50'])}  95 % {_shown_interval(report['ap50_interval'])}",
        f"AP75     {_shown(report['ap75'])}",
        f"AP50:95  {_shown(report['ap50_95'])}",
        f"(intervals: {report['bootstrap']})",
        f"at score >= {report['score_threshold']:.3g}:",
        *(
            f"  {name:<9} {_shown(report[name])}  95 % {_shown_interval(report[f'{name}_interval'])}"
            for name in FIGURES
        ),
    ]
    for scope in ("per_class", "per_scene"):
        for name, row in report[scope].items():
            ap = f"AP50 {_shown(row['ap50'])}, " if "ap50" in row else ""
            lines.append(f"  {name}: {ap}{row['right']} right, {row['wrong']} wrong, {row['missed']} missed")
    return "\n".join([*lines, f"({report['evaluator']})"])


def _class_figures(matches: Matches, score_threshold: float) -> dict[str, Any]:
    return {
        "annotations": len(matches.targets),
        "ap50": _number(area_under_curve(matches)),
        "ap75": _number(area_under_curve(matches, STRICT)),
        "ap50_95": _number(coco_average(matches)),
        **_counts([matches], score_threshold),
    }


def _counts(found: Sequence[Matches], score_threshold: float) -> dict[str, int]:
    point = operating_point(found, score_threshold)
    return {"right": point.right, "wrong": point.wrong, "missed": point.missed}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)


def _interval(bounds: tuple[float, float]) -> list[float | None]:
    return [_number(bound) for bound in bounds]


def _shown(value: float | None) -> str:
    return "  -  " if value is None else f"{value:.3f}"


def _shown_interval(bounds: Sequence[float | None]) -> str:
    return f"[{_shown(bounds[0])}, {_shown(bounds[1])}]"
