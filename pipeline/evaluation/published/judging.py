"""A result against truth: what can be judged of it, what cannot, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import shapely

from pipeline.annotations.annotations import Annotations
from pipeline.errors import PipelineError
from pipeline.evaluation.judged import Judged
from pipeline.evaluation.published.results import PRECISION, Published, published_results
from pipeline.evaluation.published.truth import truth_of
from pipeline.evaluation.report import detections_from_columns
from pipeline.evaluation.seams import seams_of
from pipeline.names import listed, shown
from pipeline.pixels.validity import may_be_invalid
from pipeline.raster.own_data import own_data
from pipeline.raster.reader import SceneReader
from pipeline.raster.scene import open_scene
from pipeline.types import BoolArray, FloatArray, Lattice, Scene, Stretch, Window

FAILED, INVALID, OUTSIDE, BEYOND = (
    "in a tile that failed", "on invalid ground", "outside the area of interest", "with its centre beyond the scene",
)  # fmt: skip
"""Why an object is not judged."""


@own_data()
def judged_results(
    out: str,
    truth: str,
    *,
    class_column: str | None = None,
    ignore: str | None = None,
    images: Path | None = None,
    threshold: float | None = None,
) -> Judged:
    """The results in ``out`` against the truth in a file; see :func:`pipeline.evaluation.published.truth.truth_of`.

    Objects that the run did not look at are not judged, and counted by the reason. ``images`` is the folder of the
    scenes where they are no longer where they were. Raises ConfigError, StorageError.
    """
    results, notes = published_results(out)
    known = truth_of(truth, results, class_column=class_column, ignore=ignore)
    used = {name: results[name] for name in known.scenes}
    scenes, apart = dict[str, Annotations](), dict[str, tuple[str, ...]]()
    places, lacking = dict[str, str](), dict[str, list[str]]()
    for name, objects in known.scenes.items():
        place = _address(used[name], images)
        raster = _at_hand(place, used[name])
        if place is not None and isinstance(raster, Scene):
            places[name] = place
        else:
            lacking.setdefault(str(raster), []).append(name)
        reasons = _reasons(objects, used[name], raster if isinstance(raster, Scene) else None)
        scenes[name], apart[name] = _set_apart(objects, reasons), reasons
    blind = [f"{listed(names)}: invalid ground is not known, for {why}" for why, names in lacking.items()]
    return Judged(
        detector=", ".join(sorted({one.detector for one in used.values()})),
        data=shown(truth.rsplit("/", 1)[-1]),
        classes=known.classes,
        found={name: detections_from_columns(one.columns, known.classes) for name, one in used.items()},
        truth=scenes,
        score_threshold=_least(used) if threshold is None else threshold,
        notes=(
            *notes,
            *known.notes,
            *blind,
            *_of_other_classes(used, known.classes),
            *_counted(apart),
            *_cut_short(used),
        ),
        images=places,
        raster=next(iter(used.values())).raster,
        seam_px={name: seams_of(scenes[name], one.lattice, one.tile_px, one.halo_px) for name, one in used.items()},
        calibrated=_line(used),
        apart=apart,
    )


def _address(result: Published, images: Path | None) -> str | None:
    """Of the raster of a result: in ``images``, else where it was, if that is on this machine."""
    if images is not None:
        return ",".join(str(images / uri.rsplit("/", 1)[-1]) for uri in result.scene.uris)
    return result.address


def _at_hand(place: str | None, result: Published) -> Scene | str:
    """The raster of a result, opened; or why there is none."""
    if place is None:
        return "the scene is no file of this machine; say where with --images"
    try:
        scene = open_scene(place, result.raster)
    except PipelineError as error:
        return str(error)
    if (scene.width, scene.height) != (result.scene.width, result.scene.height):
        return f"{shown(place)} is another scene now, of {scene.width} x {scene.height} px"
    return scene


def _reasons(objects: Annotations, result: Published, raster: Scene | None) -> tuple[str, ...]:
    """Why each annotation is not judged, empty for those that are; the first reason counts."""
    centres = objects.boxes[:, :2]
    size = np.array([result.scene.width, result.scene.height])
    beyond = np.asarray(((centres < 0) | (centres >= size)).any(axis=1), np.bool_)
    told = {BEYOND: beyond, OUTSIDE: _outside(centres, result), FAILED: _inside(centres, result.failed_px)}
    if raster is not None:
        told[INVALID] = _invalid(centres, ~(beyond | objects.ignore), raster, result)
    reasons = np.full(len(objects), "", object)
    for reason, rows in reversed(told.items()):
        reasons[rows & ~objects.ignore] = reason
    return tuple(reasons.tolist())


def _outside(centres: FloatArray, result: Published) -> BoolArray:
    """(M,) which lie outside the area of interest."""
    if result.area is None or result.georeference is None:
        return np.zeros(len(centres), np.bool_)
    drawn = shapely.geometry.shape(result.area["geometry"])
    area = result.georeference.area_to_scene(drawn, result.area["crs"] or result.georeference.crs_wkt)
    outside: BoolArray = ~shapely.intersects_xy(area, centres)
    return outside


def _inside(centres: FloatArray, bounds: FloatArray) -> BoolArray:
    """(M,) which lie in any of the half-open ``bounds`` (F, 4)."""
    x, y = centres[:, :1], centres[:, 1:]
    inside = (x >= bounds[:, 0]) & (x < bounds[:, 2]) & (y >= bounds[:, 1]) & (y < bounds[:, 3])
    return np.asarray(inside.any(axis=1), np.bool_)


def _invalid(centres: FloatArray, asked: BoolArray, scene: Scene, result: Published) -> BoolArray:
    """(M,) which of those asked for have their centre on an invalid pixel."""
    invalid = np.zeros(len(centres), np.bool_)
    if not may_be_invalid(scene, masked=scene.has_mask):
        return invalid
    lattice = Lattice(width=scene.width, height=scene.height, scale_x=1.0, scale_y=1.0, gsd_m=None)
    levels = (0.0,) * len(scene.bands), (1.0,) * len(scene.bands)
    with SceneReader(scene, lattice, Stretch(kind="none", low=levels[0], high=levels[1], source="none"),
                     result.raster) as reader:  # fmt: skip
        for row in np.flatnonzero(asked).tolist():
            x, y = np.floor(centres[row]).astype(int).tolist()
            invalid[row] = not reader.read(Window(x=x, y=y, width=1, height=1))[1].all()
    return invalid


def _set_apart(objects: Annotations, reasons: tuple[str, ...]) -> Annotations:
    """What is not judged becomes an ignore region of its class."""
    apart = np.array([bool(reason) for reason in reasons], np.bool_)
    return replace(objects, ignore=objects.ignore | apart)


def _of_other_classes(results: Mapping[str, Published], classes: Sequence[str]) -> list[str]:
    counts = Counter(name for one in results.values() for name in one.columns["class_name"] if name not in classes)
    if not counts:
        return []
    detections = f"{counts.total()} {'detection' if counts.total() == 1 else 'detections'}"
    return [f"{detections} of {listed(sorted(counts))}, which the truth does not know: in no figure"]


def _counted(apart: Mapping[str, tuple[str, ...]]) -> list[str]:
    counts = Counter(reason for reasons in apart.values() for reason in reasons if reason)
    return [
        f"{count} {'object' if count == 1 else 'objects'} {reason}: not judged, neither found nor missed"
        for reason, count in sorted(counts.items())
    ]


def _cut_short(results: Mapping[str, Published]) -> list[str]:
    if not any(one.columns["score"] for one in results.values()):
        return ["nothing was detected: every object that is judged was missed"]
    said = (
        f"the run published nothing below a score of {_least(results):.3g}, so average precision is of the part of the "
        "curve above it: a lower --detector.score_threshold would show more"
    )
    return [said]


def _line(results: Mapping[str, Published]) -> tuple[FloatArray, FloatArray] | None:
    """The calibration that the rows of the results show: their scores, and the precision that stands beside each."""
    rows = [
        pair
        for one in results.values()
        for pair in zip(one.columns["score"], one.columns.get(PRECISION, ()), strict=False)
        if pair[1] is not None
    ]
    if not rows:
        return None
    scores, places = np.unique(np.array([score for score, _ in rows]), return_index=True)
    return scores, np.array([share for _, share in rows])[places]


def _least(results: Mapping[str, Published]) -> float:
    """The score from which on all results tell of their detections."""
    return max(one.score_threshold for one in results.values())
