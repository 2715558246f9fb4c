"""Measurements of several strategies on the same images → figures, differences with intervals, and the readings that
decide which strategy is the default. Everything that comes out is plain JSON; accuracies are shares from 0 to 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
    sampled_average,
)
from pipeline.evaluation.bootstrap import Units, draw, interval, make_units, resampled_ap
from pipeline.evaluation.coco_metrics import SIZES, metrics_by_size
from pipeline.evaluation.comparison.measuring import Measurement
from pipeline.evaluation.comparison.strategies import Strategy
from pipeline.evaluation.matching import Matches, match_classes
from pipeline.evaluation.sizes import oriented_ap50_by_size, recall_by_seam_distance, root_areas
from pipeline.geometry.obb import aabb_to_obb, obb_to_aabb
from pipeline.types import Detections, FloatArray

EVALUATOR = (
    "AP50 is oriented: exact rotated IoU of at least 0.5, COCO's matching, area under the curve, all points (VOC 12, "
    "DOTA), mean over annotated classes, no limit on detections; AP75 is the same from an IoU of 0.75 on; AP50 VOC 07 "
    "takes 11 points; AP50:95 is COCO's "
    "average with the same IoU. COCO AP, AP50, AP75 and AP by size are pycocotools' of the boxes' bounds, 500 "
    "detections per image and class. Seconds are of detection per image: resizing, network, crops, fusion and merging, "
    "without reading."
)
HORIZONTAL = "The data are horizontal boxes: every box is judged by its bounds."


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """How measurements are judged."""

    classes: tuple[str, ...]
    score_threshold: float
    """Where recall, precision and false positives are counted."""
    horizontal: bool = False
    """Judge boxes by their bounds: for data that has no orientation."""
    baselines: tuple[str, ...] = ("global",)
    """Kinds of strategies that all others are compared with; the first heads the table."""
    resamples: int = 2000
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Judged:
    """One strategy (one seed) on all images."""

    figures: dict[str, Any]
    resampled: FloatArray
    """(resamples,) AP50"""
    seconds: FloatArray
    """(images,)"""
    cpu_seconds: FloatArray


def compare(
    strategies: Sequence[Strategy],
    measured: Mapping[str, Sequence[Measurement]],
    truth: Sequence[Annotations],
    judging: Judging,
) -> dict[str, Any]:
    """The report: ``strategies`` by family (mean over seeds) with their ``differences``, and how they were judged.

    ``measured`` holds one measurement per image by strategy name, ``truth`` the images' annotations in scene pixels.
    """
    wanted = [_bounds(one) for one in truth] if judging.horizontal else list(truth)
    lattices = [one.lattice for one in measured[strategies[0].name]]
    units = make_units(wanted, lattices)
    draws = draw(units, judging.resamples, judging.seed)
    families: dict[str, list[Strategy]] = {}
    for strategy in strategies:
        families.setdefault(strategy.family, []).append(strategy)
    judged = {
        family: [_judge(measured[one.name], wanted, judging, units, draws, one.config.looks_twice) for one in members]
        for family, members in families.items()
    }
    rows = {
        family: {"kind": members[0].kind, "budget": members[0].budget, **_mean_of_seeds(judged[family])}
        for family, members in families.items()
    }
    for family, row in rows.items():
        row["differences"] = _differences(family, rows, judged, judging.baselines)
    return {
        "evaluator": EVALUATOR + (f" {HORIZONTAL}" if judging.horizontal else ""),
        "images": len(truth),
        "objects": int(sum((~one.ignore).sum() for one in truth)),
        "classes": list(judging.classes),
        "score_threshold": judging.score_threshold,
        "bootstrap": f"{judging.resamples} draws of {units.count} {units.kind}",
        "baselines": list(judging.baselines),
        "strategies": rows,
        "readings": _readings(rows, judged),
    }


def _bounds(boxes: Any) -> Any:
    """Annotations or detections with every box replaced by its bounds."""
    return replace(boxes, boxes=aabb_to_obb(obb_to_aabb(boxes.boxes)))


def _judge(
    measurements: Sequence[Measurement],
    truth: Sequence[Annotations],
    judging: Judging,
    units: Units,
    draws: FloatArray,
    looks_twice: bool,
) -> _Judged:
    found = [_bounds(one.detections) if judging.horizontal else one.detections for one in measurements]
    matches = match_classes(found, truth, COCO_IOU_THRESHOLDS)
    seconds = np.array([one.seconds for one in measurements])
    cpu_seconds = np.array([one.cpu_seconds for one in measurements])
    return _Judged(
        figures={
            **_accuracy(matches, found, truth, judging),
            **_cost(measurements, seconds, cpu_seconds, looks_twice),
            "recall_by_seam": recall_by_seam_distance(
                matches, np.concatenate([one.seam_px for one in measurements]), judging.score_threshold
            ),
        },
        resampled=resampled_ap(list(matches.values()), units, units.of_detections(found), draws),
        seconds=seconds,
        cpu_seconds=cpu_seconds,
    )


def _accuracy(
    matches: Mapping[int, Matches], found: Sequence[Detections], truth: Sequence[Annotations], judging: Judging
) -> dict[str, Any]:
    every = list(matches.values())
    point = operating_point(every, judging.score_threshold)
    sizes = oriented_ap50_by_size(matches, root_areas(truth), root_areas(found), SIZES)
    return {
        "ap50": mean_over_classes([area_under_curve(one) for one in every]),
        "ap75": mean_over_classes([area_under_curve(one, STRICT) for one in every]),
        "ap50_voc07": mean_over_classes([sampled_average(one, points=11) for one in every]),
        "ap50_95": mean_over_classes([coco_average(one) for one in every]),
        **{f"ap50_{name}": value for name, value in sizes.items()},
        "ap50_by_class": {judging.classes[c]: area_under_curve(one) for c, one in matches.items()},
        "coco": metrics_by_size(found, truth, class_count=len(judging.classes)),
        "precision": point.precision,
        "recall": point.recall,
        "false_positives_per_image": point.wrong / len(truth),
    }


def _cost(
    measurements: Sequence[Measurement], seconds: FloatArray, cpu_seconds: FloatArray, looks_twice: bool
) -> dict[str, float]:
    count = len(measurements)
    tiles = sum(one.tiles for one in measurements)
    refined = sum(one.tiles_refined for one in measurements) / max(1, tiles)
    return {
        "seconds_p50": float(np.percentile(seconds, 50)),
        "seconds_p95": float(np.percentile(seconds, 95)),
        "cpu_seconds_p50": float(np.percentile(cpu_seconds, 50)),
        "network_mpx_per_image": sum(one.network_px for one in measurements) / count / 1e6,
        "crops_per_image": sum(one.crops for one in measurements) / count,
        "tiles_per_image": tiles / count,
        "tiles_refined": refined,
        "tiles_gated": 1 - refined if looks_twice else float("nan"),
        "tiles_failed": float(sum(one.failed for one in measurements)),
    }


def _mean_of_seeds(judged: Sequence[_Judged]) -> dict[str, Any]:
    """Figures averaged over seeds, and the interval of AP50; ``ap50_seeds`` lists those of several seeds."""
    aps = [one.figures["ap50"] for one in judged]
    resampled = np.mean([one.resampled for one in judged], axis=0)
    figures: dict[str, Any] = _mean([one.figures for one in judged])
    return {
        "seeds": len(judged),
        **figures,
        "ap50_interval": list(interval(resampled)),
        **({"ap50_seeds": aps} if len(aps) > 1 else {}),
    }


def _mean(values: Sequence[Any]) -> Any:
    """Mean of numbers; of dictionaries key by key."""
    if isinstance(values[0], dict):
        keys = dict.fromkeys(key for value in values for key in value)
        return {key: _mean([value[key] for value in values if key in value]) for key in keys}
    return float(np.mean(values))


def _family_of(kind: str, budget: float | None, rows: Mapping[str, Any]) -> str | None:
    """The family of a kind at that budget, or of a kind that knows no budgets."""
    own = [family for family, row in rows.items() if row["kind"] == kind]
    same = [family for family in own if rows[family]["budget"] == budget]
    plain = [family for family in own if rows[family]["budget"] is None]
    return next(iter([*same, *plain]), None)


def _differences(
    family: str, rows: Mapping[str, Any], judged: Mapping[str, Sequence[_Judged]], baselines: Sequence[str]
) -> dict[str, Any]:
    """AP50 of ``family`` minus that of each baseline at its budget, with the 95 % interval of paired draws."""
    differences = {}
    for kind in baselines:
        other = _family_of(kind, rows[family]["budget"], rows)
        if other is None or other == family:
            continue
        drawn = [np.mean([one.resampled for one in judged[name]], axis=0) for name in (family, other)]
        differences[other] = {
            "ap50": rows[family]["ap50"] - rows[other]["ap50"],
            "interval": list(interval(drawn[0] - drawn[1])),
        }
    return differences


def _readings(rows: Mapping[str, Any], judged: Mapping[str, Sequence[_Judged]]) -> dict[str, Any]:
    """For every family with a budget: what it gains and costs against the plain ways, where those were measured."""
    readings = {}
    one_look = ("global", "larger")
    larger = sorted((_seconds(judged[f]).mean(), row["ap50"]) for f, row in rows.items() if row["kind"] in one_look)
    for family, row in rows.items():
        if row["budget"] is None or row["kind"] == "larger":
            continue
        peer = {kind: _family_of(kind, row["budget"], rows) for kind in ("global", "exhaustive", "random", "oracle")}
        reading: dict[str, float | None] = {}
        if peer["global"]:
            plain = rows[peer["global"]]
            reading["extra_time"] = _time_ratio(judged, family, peer["global"]) - 1
            reading["extra_cpu_time"] = _time_ratio(judged, family, peer["global"], cpu=True) - 1
            for size in ("medium", "large"):
                reading[f"coco_ap_{size}_gain"] = row["coco"][f"ap_{size}"] - plain["coco"][f"ap_{size}"]
        if peer["exhaustive"]:
            whole = rows[peer["exhaustive"]]
            reading["share_of_exhaustive_ap50"] = row["ap50"] / whole["ap50"] if whole["ap50"] > 0 else None
            reading["share_of_exhaustive_time"] = _time_ratio(judged, family, peer["exhaustive"])
        if peer["random"] and peer["oracle"]:
            low, high = rows[peer["random"]]["ap50"], rows[peer["oracle"]]["ap50"]
            reading["gap_closed"] = (row["ap50"] - low) / (high - low) if high > low else None
        if len(larger) > 1:
            reading["larger_ap50_at_equal_time"] = _at(_seconds(judged[family]).mean(), larger)
        readings[family] = reading
    return readings


def _seconds(judged: Sequence[_Judged], *, cpu: bool = False) -> FloatArray:
    """(images,) mean over seeds."""
    mean: FloatArray = np.mean([one.cpu_seconds if cpu else one.seconds for one in judged], axis=0)
    return mean


def _time_ratio(judged: Mapping[str, Sequence[_Judged]], family: str, other: str, *, cpu: bool = False) -> float:
    """Median over images of the ratio of their seconds: both were measured within the same moments."""
    mine, its = _seconds(judged[family], cpu=cpu), _seconds(judged[other], cpu=cpu)
    measured = its > 0  # what little time is left of processor time after reading may be none
    return float(np.median(mine[measured] / its[measured])) if measured.any() else float("nan")


def _at(seconds: float, measured: Sequence[tuple[float, float]]) -> float | None:
    """AP50 at that time, between the measured points; None outside them."""
    times, values = (np.array(column) for column in zip(*measured, strict=True))
    return float(np.interp(seconds, times, values)) if times[0] <= seconds <= times[-1] else None
