"""Polygons drawn on a map → truth of the scenes they lie in: each the smallest rectangle in the scene's own pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from pipeline.annotations.annotations import EVERY_CLASS, Annotations
from pipeline.errors import ConfigError
from pipeline.geometry.enclosing import covering_boxes, enclosing_box
from pipeline.georeference.features import LAYER, Features
from pipeline.georeference.georeference import Georeference, is_geographic
from pipeline.georeference.ground import nearest_turn
from pipeline.names import brief, listed, quoted
from pipeline.types import BoolArray, FloatArray, IntArray

CLASS_COLUMNS = ("class_name", "class", "label", "category", "species", "type", "name", LAYER)
"""Columns that say what an object is, in the order they are looked for, in whatever letters."""
IGNORE_COLUMNS = ("ignore", "iscrowd", "difficult")
OWN_COLUMNS = ("detection_id", "score", "class_name")
"""What a result of this program has."""
SCENE_COLUMN = "scene_id"
SMALLEST_COVER_PX = 16.0
"""Pieces that an ignore region of another shape than a rectangle is cut into are no shorter."""
MARGIN = 0.01
"""Share of a scene's extent by which features may lie beside its outline before they are looked at in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled:
    """Features with what they are."""

    features: Features
    classes: tuple[str, ...]
    class_ids: IntArray
    """(N,) indices into ``classes``; EVERY_CLASS where nothing says what a feature is."""
    ignore: BoolArray
    """(N,)"""
    own: bool
    """Whether the file is a result of this program."""
    notes: tuple[str, ...]


def labelled(features: Features, called: str, *, column: str | None, only_class: str | None) -> Labelled:
    """What each feature is: by ``column``, else the first of :data:`CLASS_COLUMNS` that the file has; where it has none
    all are of ``only_class``.

    Where nothing is written (an object that somebody added by hand) it is of the one class there is; of several it is
    of none, and becomes an ignore region. Raises ConfigError where nothing says what the features are.
    """
    columns = features.columns
    own = all(name in columns for name in OWN_COLUMNS)
    found = column if column is not None else next(
        (one for wanted in CLASS_COLUMNS for one in columns if one.lower() == wanted), None
    )  # fmt: skip
    if column is not None and column not in columns:
        raise ConfigError(f"{called} has no column {quoted(column)}; it has {listed(columns) or 'none'}")
    if found is None and only_class is None:
        raise ConfigError(
            f"no column of {called} says what the objects are (it has {listed(columns) or 'none'}): name one with "
            "--class-column, or give the one class they all have with --classes"
        )
    count = len(features.shapes)
    texts = np.full(count, only_class, object)
    if found is not None:
        texts[:] = [_text(value) for value in columns[found]]
    blank = np.array([one is None for one in texts], np.bool_)
    classes = tuple(sorted({str(one) for one in texts[~blank]})) or ((only_class,) if only_class else ())
    notes = []
    if found is not None:
        notes.append(f"classes are told by the column {quoted(found)}: {listed(classes)}")
    if blank.any() and len(classes) == 1:
        notes.append(f"{blank.sum()} features without a class are taken for {brief(classes[0])}, the only one there is")
        texts[blank], blank = classes[0], np.zeros(count, np.bool_)
    elif blank.any():
        notes.append(f"{blank.sum()} features have no class: they are ignore regions")
    class_ids = np.array([EVERY_CLASS if one is None else classes.index(one) for one in texts], np.int64)
    return Labelled(
        features=features, classes=classes, class_ids=class_ids, ignore=blank | _marked(columns, count), own=own,
        notes=tuple(notes),
    )  # fmt: skip


def _text(value: Any) -> str | None:
    """A class as it is written; None for nothing. GDAL reads whole numbers with gaps as fractions."""
    if value is None or value != value:
        return None
    text = str(int(value)) if isinstance(value, float) and value == int(value) else str(value).strip()
    return text or None


def _marked(columns: dict[str, NDArray[Any]], count: int) -> BoolArray:
    """(N,) whether a column marks a feature to be ignored."""
    out = np.zeros(count, np.bool_)
    for name, values in columns.items():
        if name.lower() in IGNORE_COLUMNS:
            out |= np.array([_text(one) not in (None, "0", "False", "false", "no") for one in values], np.bool_)
    return out


class Placement:
    """Where the polygons of one file lie in scenes, which may have CRSs of their own."""

    def __init__(self, features: Features, called: str) -> None:
        self.features, self._called = features, called
        self._starts = np.concatenate([[0], np.cumsum(shapely.get_num_coordinates(features.shapes))]).astype(np.int64)
        self._known: dict[str | None, FloatArray] = {}

    def in_scene(self, place: Georeference | None, size: tuple[int, int]) -> tuple[IntArray, list[Any]]:
        """Features that may touch a scene of ``size`` (width, height), and each as a polygon in its pixels.

        A scene without a georeference has coordinates in pixels; so must the file. Raises ConfigError where it names a
        CRS there.
        """
        crs = None if place is None else place.crs_wkt
        if place is None and self.features.crs is not None:
            raise ConfigError(
                f"{self._called} lies in the CRS {brief(self.features.crs)}, but the image has no georeference: "
                "nothing says where it is on Earth"
            )
        if crs not in self._known:
            self._known[crs] = self.features.points_in(crs)
        outline = _outline(place, size)
        points = _turned(self._known[crs], crs, outline)
        near = self._near(points, outline)
        out, kept = [], []
        for number in near:
            ring = points[self._starts[number] : self._starts[number + 1]]
            ring = ring if place is None else place.world_to_scene(ring)
            if np.isfinite(ring).all() and ((ring.min(axis=0) < size) & (ring.max(axis=0) > 0)).all():
                kept.append(number)
                out.append(_moved(self.features.shapes[number], ring))
        return np.array(kept, np.int64), out

    def _near(self, points: FloatArray, outline: FloatArray) -> IntArray:
        """Features whose bounds touch those of the outline."""
        if len(self._starts) == 1:
            return np.zeros(0, np.int64)
        low = np.minimum.reduceat(points, self._starts[:-1], axis=0)
        high = np.maximum.reduceat(points, self._starts[:-1], axis=0)
        margin = np.ptp(outline, axis=0) * MARGIN
        touch = (low <= outline.max(axis=0) + margin) & (high >= outline.min(axis=0) - margin)
        return np.flatnonzero(touch.all(axis=1)).astype(np.int64)


def _moved(shape: Any, points: FloatArray) -> Any:
    """The same polygon with other vertices."""
    return shapely.transform(shape, lambda _: points)


def _turned(points: FloatArray, crs: str | None, outline: FloatArray) -> FloatArray:
    """(P, 2) ``points`` on the side of the antimeridian where a scene lies whose longitudes go on beyond it."""
    if crs is None or not is_geographic(crs) or not (np.abs(outline[:, 0]) > 180).any():
        return points
    with np.errstate(invalid="ignore"):  # what has no place there has none on the other side
        return np.column_stack([nearest_turn(points[:, 0], outline[:, 0].mean()), points[:, 1]])


def _outline(place: Georeference | None, size: tuple[int, int]) -> FloatArray:
    """(K, 2) points along the edges of a scene, in its CRS."""
    along = np.linspace(0, 1, 33)
    zero, one = np.zeros_like(along), np.ones_like(along)
    edges = [(along, zero), (along, one), (zero, along), (one, along)]
    points = np.concatenate([np.column_stack(edge) for edge in edges]) * size
    if place is None:
        return points
    world = place.scene_to_world(points)
    return world[np.isfinite(world).all(axis=1)]


def boxes_of(polygons: Sequence[Any]) -> FloatArray:
    """(N, 5) the smallest rectangle of every polygon."""
    return np.concatenate([np.zeros((0, 5)), *(enclosing_box(shapely.get_coordinates(one)) for one in polygons)])


def regions_of(polygons: Sequence[Any]) -> Annotations:
    """Polygons as ignore regions for every class; one that fills its rectangle badly is covered by several."""
    boxes = np.concatenate([np.zeros((0, 5)), *(covering_boxes(one, smallest=SMALLEST_COVER_PX) for one in polygons)])
    return Annotations(boxes, np.full(len(boxes), EVERY_CLASS), np.ones(len(boxes), np.bool_))
