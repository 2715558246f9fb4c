"""Bootstrap: how sure a figure is, and how sure a difference of AP50 between two strategies is.

What is resampled, with replacement, are the places that were looked at: images when there are at least 50, else blocks
of 512 lattice pixels of all images. A unit brings its annotations and its detections with it, false alarms too (a right
detection goes with the annotation it found, any other with its centre). All strategies are judged on the same draws, so
what is easy or hard about a place cancels in the difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.annotations.annotations import Annotations
from pipeline.evaluation.matching import NEITHER, RIGHT, WRONG, Matches
from pipeline.types import Detections, FloatArray, IntArray, Lattice

ENOUGH_IMAGES = 50
BLOCK_PX = 512
CHUNK = 4_000_000
"""Largest array of weights at once, numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """What is drawn, and which detections and annotations belong to each; all counted over all images."""

    count: int
    of_annotation: IntArray
    """(A,)"""
    kind: str
    """``images``, or ``blocks of 512 px``."""
    images: tuple[Lattice, ...]

    def of_detections(self, detections: Sequence[Detections]) -> IntArray:
        """(D,) the unit of each detection (frame SCENE, one entry per image) by its centre."""
        return _units([one.boxes for one in detections], self.images, by_image=self.kind == "images")[0]


def make_units(annotations: Sequence[Annotations], lattices: Sequence[Lattice]) -> Units:
    """Images when there are ENOUGH_IMAGES, else blocks; ``annotations`` in scene pixels, one entry per image."""
    by_image = len(annotations) >= ENOUGH_IMAGES
    units, count = _units([one.boxes for one in annotations], lattices, by_image=by_image)
    return Units(count, units, "images" if by_image else f"blocks of {BLOCK_PX} px", tuple(lattices))


def _units(boxes: Sequence[FloatArray], lattices: Sequence[Lattice], *, by_image: bool) -> tuple[IntArray, int]:
    """Unit of every box, images one after another, and how many units there are."""
    parts, first = [np.zeros(0, np.int64)], 0
    for own, lattice in zip(boxes, lattices, strict=True):
        columns, rows = -(-lattice.width // BLOCK_PX), -(-lattice.height // BLOCK_PX)
        if by_image:
            parts.append(np.full(len(own), first, np.int64))
            first += 1
            continue
        column = np.clip(own[:, 0] / lattice.scale_x // BLOCK_PX, 0, columns - 1).astype(np.int64)
        row = np.clip(own[:, 1] / lattice.scale_y // BLOCK_PX, 0, rows - 1).astype(np.int64)
        parts.append(first + row * columns + column)
        first += rows * columns
    return np.concatenate(parts), first


def draw(units: Units, resamples: int, seed: int = 0) -> FloatArray:
    """(resamples, units) how often each unit is drawn; the same for the same seed."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(units.count, np.full(units.count, 1 / units.count), resamples).astype(np.float64)


def resampled_ap(
    found: Sequence[Matches], units: Units, unit_of_detection: IntArray, draws: FloatArray, row: int = 0
) -> FloatArray:
    """(resamples,) AP at the IoU threshold of ``row`` (area under the curve, all points; mean over annotated classes)
    under every draw. NaN where a draw holds no annotation."""
    totals = np.zeros(len(draws))
    classes = np.zeros(len(draws))
    for matches in found:
        ap = _class_ap(matches, units, unit_of_detection, draws, row)
        known = ~np.isnan(ap)
        totals[known] += ap[known]
        classes += known
    mean: FloatArray = np.divide(totals, classes, out=np.full(len(draws), np.nan), where=classes > 0)
    return mean


def _class_ap(matches: Matches, units: Units, unit_of_detection: IntArray, draws: FloatArray, row: int) -> FloatArray:
    annotated = draws[:, units.of_annotation[matches.targets]].sum(axis=1)
    judged = matches.verdict[row] != NEITHER
    right = matches.verdict[row][judged] == RIGHT
    unit = unit_of_detection[matches.detection[judged]]
    unit[right] = units.of_annotation[matches.annotation[row][judged][right]]
    ap = np.zeros(len(draws))
    step = max(1, CHUNK // max(1, len(unit)))
    for start in range(0, len(draws), step):
        weights = draws[start : start + step][:, unit]
        hits = np.where(right, weights, 0.0)
        seen = np.cumsum(weights, axis=1)
        precision = np.divide(np.cumsum(hits, axis=1), seen, out=np.zeros_like(seen), where=seen > 0)
        monotone = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        ap[start : start + step] = (hits * monotone).sum(axis=1)
    share: FloatArray = np.divide(ap, annotated, out=np.full(len(draws), np.nan), where=annotated > 0)
    return share


def interval(values: FloatArray, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of resampled values; NaN when there is none."""
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    tail = 50 * (1 - level)
    low, high = np.percentile(known, (tail, 100 - tail))
    return float(low), float(high)


def bootstrap_intervals(
    found: Sequence[Matches],
    score_threshold: float,
    units: Units,
    unit_of_detection: IntArray,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """95 % intervals of AP, precision, recall and F1 at the first IoU threshold of ``found``; NaN where a figure does
    not exist, and everywhere when there are fewer than two units: one place says nothing of others."""  # fmt: skip
    names = ("ap", "precision", "recall", "f1")
    if units.count < 2 or not any(len(matches.targets) for matches in found):
        return dict.fromkeys(names, (float("nan"), float("nan")))
    draws = draw(units, resamples, seed)
    right, wrong, total = np.zeros((3, units.count))
    for matches in found:
        chosen = matches.scores >= score_threshold
        hit, miss = chosen & (matches.verdict[0] == RIGHT), chosen & (matches.verdict[0] == WRONG)
        right += np.bincount(units.of_annotation[matches.annotation[0][hit]], minlength=units.count)
        wrong += np.bincount(unit_of_detection[matches.detection[miss]], minlength=units.count)
        total += np.bincount(units.of_annotation[matches.targets], minlength=units.count)
    hits, alarms, wanted = draws @ right, draws @ wrong, draws @ total
    values = (
        resampled_ap(found, units, unit_of_detection, draws),
        _ratio(hits, hits + alarms),
        _ratio(hits, wanted),
        _ratio(2 * hits, hits + alarms + wanted),
    )
    return {name: interval(one) for name, one in zip(names, values, strict=True)}


def class_intervals(
    found: Mapping[int, Matches], units: Units, unit_of_detection: IntArray, *, resamples: int = 2000, seed: int = 0
) -> dict[int, tuple[float, float]]:
    """95 % interval of AP of each class alone, on the same draws; NaN as for :func:`bootstrap_intervals`."""
    if units.count < 2:
        return dict.fromkeys(found, (float("nan"), float("nan")))
    draws = draw(units, resamples, seed)
    return {one: interval(resampled_ap([matches], units, unit_of_detection, draws)) for one, matches in found.items()}


def extents(detections: Sequence[Detections], annotations: Sequence[Annotations]) -> list[Lattice]:
    """Of each image as much as holds the centres of its boxes: where nothing else says how large it is."""
    made = []
    for found, truth in zip(detections, annotations, strict=True):
        corner = np.concatenate([found.boxes[:, :2], truth.boxes[:, :2], np.ones((1, 2))]).max(axis=0)
        width, height = (int(np.ceil(side)) for side in corner)
        made.append(Lattice(width=width, height=height, scale_x=1.0, scale_y=1.0, gsd_m=None))
    return made


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    ratio: FloatArray = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return ratio
