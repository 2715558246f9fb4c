"""Images annotated by polygons on a map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.annotations.annotations import Annotations
from pipeline.annotations.source import Asked, Source, images_of, pictures_in
from pipeline.annotations.vector import SCENE_COLUMN, Labelled, Placement, boxes_of, labelled, regions_of
from pipeline.errors import ConfigError
from pipeline.georeference.features import read_features
from pipeline.georeference.georeference import Georeference
from pipeline.names import shown
from pipeline.types import BoolArray, IntArray, Scene


def vector_source(path: Path, asked: Asked) -> Source:
    """The images of ``asked.images`` with the polygons that lie in them, of whatever CRS.

    One whose centre lies beyond an image's edge is an ignore region there. Raises ConfigError for several images in
    pixels alone where nothing says which a polygon is of, and as
    :func:`~pipeline.georeference.features.read_features` and :func:`~pipeline.annotations.vector.labelled` do.
    """
    called = f"the annotations {shown(str(path))}"
    only = asked.classes[0] if asked.classes is not None and len(asked.classes) == 1 else None
    known = labelled(read_features(str(path), called), called, column=asked.class_column, only_class=only)
    placement = Placement(known.features, called)
    images = pictures_in(images_of(path, asked))
    named = {image.stem for image in images}
    placed = np.zeros(len(known.class_ids), np.bool_)
    scenes, cut, bare = [], 0, 0
    for image in images:
        scene = asked.opened(image)
        place = Georeference.of(scene)
        bare += place is None
        if bare > 1 and SCENE_COLUMN not in known.features.columns:
            raise ConfigError(
                f"several images have no georeference, such as {shown(image.name)}, and {called} has no column "
                f"{SCENE_COLUMN} that says which of them a polygon is of: give one image with --images"
            )
        numbers, polygons = placement.in_scene(place, (scene.width, scene.height))
        mine = _of_scene(known, numbers, image.stem, named)
        truth, beyond = _truth(known, numbers[mine], [polygons[at] for at in np.flatnonzero(mine)], scene)
        placed[numbers[mine]] = True
        scenes.append((image, truth))
        cut += beyond
    notes = [*known.features.notes, *known.notes]
    if bare < len(images) and known.features.crs is None:
        notes.append(f"{shown(path.name)} names no CRS, and is taken to be in that of each image")
    if not placed.all():
        notes.append(f"{(~placed).sum()} features lie in none of the images and were left out")
    if cut:
        notes.append(f"{cut} objects have their centre beyond an image's edge: ignore regions there")
    if known.own:
        notes.append("a result of this program: its scores are not read, every polygon in it is taken for true")
    kind = "a corrected result of this program" if known.own else "polygons"
    return Source(
        format=f"{kind} ({shown(path.name)})", classes=known.classes, scenes=tuple(scenes), notes=tuple(notes)
    )


def _of_scene(known: Labelled, numbers: IntArray, stem: str, named: set[str]) -> BoolArray:
    """(N,) whether each feature is this image's: one that says it is of another of the images is not."""
    column = known.features.columns.get(SCENE_COLUMN)
    if column is None:
        return np.ones(len(numbers), np.bool_)
    return np.array([column[at] not in named or column[at] == stem for at in numbers], np.bool_)


def _truth(known: Labelled, numbers: IntArray, polygons: list[Any], scene: Scene) -> tuple[Annotations, int]:
    """Truth of one image, and how many of its objects have their centre outside of it."""
    ignore = known.ignore[numbers]
    boxes = boxes_of([one for one, region in zip(polygons, ignore, strict=True) if not region])
    inside = np.all((boxes[:, :2] >= 0) & (boxes[:, :2] < (scene.width, scene.height)), axis=1)
    outside = np.asarray(~inside, np.bool_)
    objects = Annotations(boxes, known.class_ids[numbers[~ignore]], outside)
    regions = regions_of([one for one, region in zip(polygons, ignore, strict=True) if region])
    return Annotations.concat(objects, regions), int(outside.sum())


def with_regions(
    scenes: Sequence[tuple[Path, Annotations]], path: Path, asked: Asked
) -> tuple[tuple[tuple[Path, Annotations], ...], str]:
    """``scenes`` with the polygons of a vector file as ignore regions, and a note of it. Raises ConfigError."""
    called = f"the ignore regions {shown(str(path))}"
    placement = Placement(read_features(str(path), called), called)
    out, used = [], set()
    for image, truth in scenes:
        scene = asked.opened(image)
        numbers, polygons = placement.in_scene(Georeference.of(scene), (scene.width, scene.height))
        used |= set(numbers.tolist())
        out.append((image, Annotations.concat(truth, regions_of(polygons))))
    return tuple(out), f"{len(used)} of {len(placement.features.shapes)} ignore regions lie in the images"
