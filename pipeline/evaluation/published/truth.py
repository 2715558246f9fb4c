"""Truth of any format, in the pixels of the scenes of a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import shapely

from pipeline.annotations.annotations import Annotations, for_classes
from pipeline.annotations.coco import is_coco, read_annotations
from pipeline.annotations.vector import CLASS_COLUMNS, Labelled, Placement, boxes_of, labelled, regions_of
from pipeline.errors import ConfigError
from pipeline.evaluation.published.results import Published
from pipeline.georeference.features import Features, read_features
from pipeline.names import brief, listed, quoted, shown

ALL_ALIKE = "none"
"""In place of a column: all objects are of the only class that the detector finds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What is known of the scenes of a result."""

    classes: tuple[str, ...]
    """Those of the truth that the detector knows, by the names that it has for them."""
    scenes: Mapping[str, Annotations]
    """By scene id, class numbers of ``classes``, scene pixels. Objects of other classes are ignore regions."""
    notes: tuple[str, ...]


def truth_of(
    path: str, results: Mapping[str, Published], *, class_column: str | None = None, ignore: str | None = None
) -> Truth:
    """The truth of every scene of ``results``: polygons on a map in any CRS, or a COCO json file in scene pixels.

    Polygons become their smallest rectangles in the scene's pixels. ``class_column`` says what they are, by default
    one of the columns that usually do; where there is none all are of the only class that the detector finds. The
    polygons of ``ignore`` are ignore regions. Raises ConfigError for a file that cannot be read, that names no CRS, of
    which nothing lies in the scenes, or none of whose classes the detector finds; StorageError when a store cannot be
    read.
    """
    called = f"the truth {shown(path)}"
    known = _classes_of(results)
    if is_coco(Path(path)):
        classes, scenes, notes = _from_coco(Path(path), results)
    else:
        features = read_features(path, called)
        _check_crs(features, called, results)
        marked = _labelled(features, called, class_column, known)
        classes, scenes, notes = _placed(marked, called, results)
    own, renamed = _named_as(classes, known)
    judged = tuple(name for name in own if name in known)
    if not judged:
        raise ConfigError(
            f"{called} knows {listed(classes)}, and the detector finds {listed(known)}: no class is in both; name the "
            f"column of the classes with --truth-class-column ({ALL_ALIKE}: all are of the detector's only class)"
        )
    other = [name for name in own if name not in known]
    notes = (*notes, *renamed, *([f"the detector does not know {listed(other)}: ignore regions"] if other else []))
    scenes = {name: for_classes(one, own, judged) for name, one in scenes.items()}
    if ignore is not None:
        scenes, note = _with_regions(scenes, ignore, results)
        notes = (*notes, note)
    return Truth(classes=judged, scenes=scenes, notes=notes)


def _classes_of(results: Mapping[str, Published]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for one in results.values() for name in one.classes))


Read = tuple[tuple[str, ...], dict[str, Annotations], tuple[str, ...]]
"""Classes, truth by scene, notes."""


def _from_coco(path: Path, results: Mapping[str, Published]) -> Read:
    known = read_annotations(path)
    by_stem = {Path(name).stem: one for name, one in known.scenes.items()}
    absent = [name for name in results if name not in by_stem]
    if len(absent) == len(results):
        raise ConfigError(
            f"{shown(str(path))} annotates {listed(known.scenes)}, and the results are of {listed(results)}: image and "
            "scene must have one name"
        )
    notes = [f"{shown(str(path))} says nothing of {listed(absent)}: not judged"] if absent else []
    scenes = {name: by_stem[name] for name in results if name in by_stem}
    return known.classes, scenes, (*known.notes, *notes)


def _check_crs(features: Features, called: str, results: Mapping[str, Published]) -> None:
    if features.crs is None and any(one.georeference is not None for one in results.values()):
        raise ConfigError(f"{called} names no CRS, so nobody knows where it lies: name it (in its .prj, or as GeoJSON)")
    pixel = [name for name, one in results.items() if one.georeference is None]
    if pixel and features.crs is not None:
        raise ConfigError(
            f"the scene {brief(pixel[0])} has no georeference, and {called} has: give the truth in pixels, as COCO json"
        )


def _labelled(features: Features, called: str, column: str | None, known: Sequence[str]) -> Labelled:
    """What the features are. Of the columns that usually say it the first counts that names a class of the detector:
    a column may as well hold the names of ships."""
    if column == ALL_ALIKE:
        features, column = replace(features, columns={}), None
    usual = [one for wanted in CLASS_COLUMNS for one in features.columns if one.lower() == wanted]
    if column is None and not usual and len(known) > 1:
        raise ConfigError(
            f"no column of {called} says what the objects are (it has {listed(features.columns) or 'none'}): name one "
            "with --truth-class-column"
        )  # labelled would name the flag of another command
    plain = {name.casefold() for name in known}
    telling = [one for one in usual if plain & {str(value).strip().casefold() for value in features.columns[one]}]
    only = known[0] if len(known) == 1 else None
    return labelled(features, called, column=column or next(iter(telling), None), only_class=only)


def _placed(marked: Labelled, called: str, results: Mapping[str, Published]) -> Read:
    placement, scenes, inside = Placement(marked.features, called), dict[str, Annotations](), set[int]()
    for name, result in results.items():
        numbers, polygons = placement.in_scene(result.georeference, (result.scene.width, result.scene.height))
        inside |= set(numbers.tolist())
        ignore = marked.ignore[numbers]
        objects = [one for one, region in zip(polygons, ignore, strict=True) if not region]
        regions = [one for one, region in zip(polygons, ignore, strict=True) if region]
        own = Annotations(boxes_of(objects), marked.class_ids[numbers[~ignore]], np.zeros(len(objects), np.bool_))
        scenes[name] = Annotations.concat(own, regions_of(regions))
    count = len(marked.features.shapes)
    if not inside:
        raise ConfigError(f"{called} does not overlap the scenes: {_extents(marked.features, results)}")
    beyond = count - len(inside)
    notes = [f"{beyond} of {count} features of {called} lie in no scene and were left out"] if beyond else []
    return marked.classes, scenes, (*marked.features.notes, *marked.notes, *notes)


def _extents(features: Features, results: Mapping[str, Published]) -> str:
    """Where truth and a scene lie, in the CRS of the truth."""
    if not len(features.shapes):
        return "it holds no polygon"
    x, y, x1, y1 = shapely.total_bounds(features.shapes).tolist()
    name, result = next(iter(results.items()))
    there = ""
    if result.georeference is not None:
        west, south, east, north = result.georeference.footprint(str(features.crs))
        there = f"; {brief(name)} at x {west:.6g} to {east:.6g}, y {south:.6g} to {north:.6g}"
    return f"it lies at x {x:.6g} to {x1:.6g}, y {y:.6g} to {y1:.6g}{there}"


def _named_as(classes: Sequence[str], known: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The classes by the detector's names where only the letters' case differs, and a sentence for each such."""
    names, notes = [], []
    plain = {name.casefold(): name for name in known}
    for name in classes:
        theirs = plain.get(name.casefold(), name)
        if name in known or theirs in classes:
            theirs = name
        if theirs != name:
            notes.append(f"the truth's {quoted(name)} is taken for the detector's {quoted(theirs)}")
        names.append(theirs)
    return tuple(names), tuple(notes)


def _with_regions(
    scenes: Mapping[str, Annotations], path: str, results: Mapping[str, Published]
) -> tuple[dict[str, Annotations], str]:
    called = f"the ignore regions {shown(path)}"
    features = read_features(path, called)
    _check_crs(features, called, results)
    placement, out, used = Placement(features, called), dict[str, Annotations](), set[int]()
    for name, truth in scenes.items():
        size = (results[name].scene.width, results[name].scene.height)
        numbers, polygons = placement.in_scene(results[name].georeference, size)
        used |= set(numbers.tolist())
        out[name] = Annotations.concat(truth, regions_of(polygons))
    return out, f"{len(used)} of {len(features.shapes)} polygons of {called} lie in the scenes"
