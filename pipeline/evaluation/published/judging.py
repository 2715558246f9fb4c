"""A result against truth: what can be judged of it, what cannot, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import shapely

from pipeline.annotations.annotations import Annotations, annotations_on_lattice
from pipeline.errors import PipelineError
from pipeline.evaluation.judged import Judged
from pipeline.evaluation.published.results import Published, published_results
from pipeline.evaluation.published.truth import truth_of
from pipeline.evaluation.report import detections_from_columns
from pipeline.evaluation.seams import seam_distance
from pipeline.names import brief, shown
from pipeline.pixels.validity import may_be_invalid
from pipeline.planning.tiles import plan_tiles
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
    out: str, truth: str, *, class_column: str | None = None, ignore: str | None = None, threshold: float | None = None
) -> Judged:
    """The results in ``out`` against the truth in a file; see :func:`pipeline.evaluation.published.truth.truth_of`.

    Objects that the run did not look at are not judged, and counted by the reason. Raises ConfigError, StorageError.
    """
    results, notes = published_results(out)
    known = truth_of(truth, results, class_column=class_column, ignore=ignore)
    least = max(one.score_threshold for one in results.values()) if threshold is None else threshold
    scenes, apart, images, said = dict[str, Annotations](), dict[str, tuple[str, ...]](), dict[str, str](), list[str]()
    for name, objects in known.scenes.items():
        raster, note = _at_hand(results[name])
        said += [] if note is None else [f"{brief(name)}: {note}"]
        images |= {} if raster is None else {name: str(results[name].address)}
        scenes[name], apart[name] = _set_apart(objects, _reasons(objects, results[name], raster))
    used = {name: results[name] for name in scenes}
    return Judged(
        detector=", ".join(sorted({one.detector for one in used.values()})),
        data=shown(truth.rsplit("/", 1)[-1]),
        classes=known.classes,
        found={name: detections_from_columns(one.columns, known.classes) for name, one in used.items()},
        truth=scenes,
        score_threshold=least,
        notes=(*notes, *known.notes, *said, *_counted(apart), *_cut_short(used)),
        images=images,
        raster=next(iter(used.values())).raster,
        seam_px={name: _seams(scenes[name], one) for name, one in used.items()},
        apart=apart,
    )


def _at_hand(result: Published) -> tuple[Scene | None, str | None]:
    """The raster of a result, opened; or why there is none."""
    if result.address is None:
        return None, "the scene is no file of this machine, so its invalid ground is not known and no crops are shown"
    try:
        scene = open_scene(result.address, result.raster)
    except PipelineError as error:
        return None, f"invalid ground is not known and no crops are shown, for {error}"
    if (scene.width, scene.height) != (result.scene.width, result.scene.height):
        return None, (
            f"{shown(result.address)} is another scene now, of {scene.width} x {scene.height} px, so invalid ground is "
            "not known and no crops are shown"
        )
    return scene, None


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


def _set_apart(objects: Annotations, reasons: tuple[str, ...]) -> tuple[Annotations, tuple[str, ...]]:
    """What is not judged becomes an ignore region of its class."""
    apart = np.array([bool(reason) for reason in reasons], np.bool_)
    return replace(objects, ignore=objects.ignore | apart), reasons


def _counted(apart: Mapping[str, tuple[str, ...]]) -> list[str]:
    counts = Counter(reason for reasons in apart.values() for reason in reasons if reason)
    return [
        f"{count} {'object' if count == 1 else 'objects'} {reason}: not judged, neither found nor missed"
        for reason, count in sorted(counts.items())
    ]


def _cut_short(results: Mapping[str, Published]) -> list[str]:
    least = max(one.score_threshold for one in results.values())
    if not any(one.columns["score"] for one in results.values()):
        return ["nothing was detected: every object that is judged was missed"]
    said = (
        f"the run published nothing below a score of {least:.3g}, so average precision is of the part of the curve "
        "above it: a lower --detector.score_threshold would show more"
    )
    return [said]


def _seams(objects: Annotations, result: Published) -> FloatArray:
    tiles = plan_tiles(result.lattice, result.tile_px, result.halo_px)
    return seam_distance(annotations_on_lattice(objects, result.lattice).boxes[:, :2], tiles, result.lattice)
