"""Annotations of whatever format: what it is is found from what is in it, not from what it is called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.annotations.annotations import Annotations, for_classes
from pipeline.annotations.coco import is_coco, read_annotations
from pipeline.annotations.source import Asked, Source, absent_images, check_stems, images_of
from pipeline.annotations.text_sources import text_source, yolo_source
from pipeline.annotations.vector_sources import vector_source, with_regions
from pipeline.errors import ConfigError
from pipeline.names import listed


def read_source(annotations: Path, asked: Asked) -> Source:
    """The annotated images: COCO json; DOTA, YOLO or YOLO-OBB txt, with ``data.yaml`` or without; polygons as GeoJSON,
    GeoPackage, GeoParquet, Shapefile or FlatGeobuf, a corrected result of this program among them.

    Objects of other classes than those asked for become ignore regions. Raises ConfigError for what is none of these,
    for a class that is not there, and where no annotated image is there; SceneError for an image that cannot be read.
    """
    source = _source(annotations, asked)
    if not source.scenes:
        raise ConfigError(f"{annotations} is of no image that is there: say where the images are with --images")
    check_stems([image for image, _ in source.scenes])
    wanted = source.classes if asked.classes is None else asked.classes
    if unknown := sorted(set(wanted) - set(source.classes)):
        raise ConfigError(f"{annotations} has no class {listed(unknown)}; it has {listed(source.classes)}")
    if not wanted:
        raise ConfigError(f"{annotations} names no class: there is nothing to learn")
    notes = list(source.notes)
    if others := [name for name in source.classes if name not in wanted]:
        numbers = [source.classes.index(name) for name in others]
        count = sum(int(np.isin(truth.class_ids[~truth.ignore], numbers).sum()) for _, truth in source.scenes)
        notes.append(f"{count} objects of other classes ({listed(others)}) are ignore regions")
    scenes = tuple((image, for_classes(truth, source.classes, wanted)) for image, truth in source.scenes)
    if asked.ignore is not None:
        scenes, note = with_regions(scenes, asked.ignore, asked)
        notes.append(note)
    return replace(source, classes=wanted, scenes=scenes, notes=tuple(notes))


def _source(annotations: Path, asked: Asked) -> Source:
    if annotations.is_dir():
        return text_source(annotations, asked)
    if annotations.suffix.lower() in (".yaml", ".yml"):
        return yolo_source(annotations, asked)
    if is_coco(annotations):
        return _coco(annotations, asked)
    return vector_source(annotations, asked)


def _coco(path: Path, asked: Asked) -> Source:
    annotated = read_annotations(path)
    folder = images_of(path, asked)
    there: list[tuple[Path, Annotations]] = []
    absent: list[tuple[Path, Annotations]] = []
    for name, truth in annotated.scenes.items():
        image = folder if folder.name == Path(name).name and folder.is_file() else folder / name
        (there if image.is_file() else absent).append((image, truth))
    if absent and not there:
        raise ConfigError(f"none of the {len(absent)} images of {path} is in {folder}: say where with --images")
    notes = [*annotated.notes, *absent_images([image for image, _ in absent])]
    return Source(format="COCO json", classes=annotated.classes, scenes=tuple(there), notes=tuple(notes))
