"""Images annotated in text files of their own: DOTA's, YOLO's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.annotations.annotations import Annotations
from pipeline.annotations.dota import read_dota_folder
from pipeline.annotations.source import Asked, Source, absent_images, check_stems, images_of, pictures_in
from pipeline.annotations.yolo import BEYOND, first_line, label_file, lines_of, read_data_file, read_yolo
from pipeline.errors import ConfigError
from pipeline.names import listed

CLASSES_FILE = "classes.txt"
"""Beside YOLO's labels: a class a line, as annotation programs write it."""


def text_source(folder: Path, asked: Asked) -> Source:
    """Text files: of YOLO where their first line begins with a class's number, else of DOTA."""
    for path in (*sorted(folder.glob("*.yaml")), *sorted(folder.glob("*.yml"))):
        return yolo_source(path, asked)
    labels = next((one for one in (folder / "labelTxt", folder / "labels") if one.is_dir()), folder)
    if not any(labels.glob("*.txt")):
        raise ConfigError(
            f"{folder} holds no annotations: give a COCO json, a folder of DOTA or YOLO txt, a data.yaml, or a vector "
            "file (GeoJSON, GeoPackage, GeoParquet, Shapefile)"
        )
    words = (first_line(labels) or "").split()
    if _is_yolo(words):
        classes = _listed_classes(labels) or asked.classes
        if classes is None:
            raise ConfigError(
                f"{folder} holds YOLO labels without names of classes: give its data.yaml, or --classes in the order "
                "of their numbers"
            )
        images = pictures_in(images_of(folder, asked))
        return _yolo_labels(classes, images, {one: labels / f"{one.stem}.txt" for one in images}, str(labels), asked)
    annotated, paths = read_dota_folder(labels, images_of(folder, asked))
    classes = annotated.classes
    if not classes and asked.classes:  # every file is empty: the classes are known only by what is asked for
        classes = asked.classes
    scenes = tuple((paths[name], truth) for name, truth in annotated.scenes.items())
    return Source(format="DOTA txt", classes=classes, scenes=scenes, notes=annotated.notes)


def _is_yolo(words: Sequence[str]) -> bool:
    """Whether a line is one of YOLO: numbers only, of which those after the first are shares of an image's sides."""
    try:
        return len(words) >= 5 and max(abs(float(word)) for word in words[1:]) <= 1 + BEYOND
    except ValueError:
        return False


def _listed_classes(labels: Path) -> tuple[str, ...] | None:
    """By their numbers, which are those of the lines. Raises ConfigError for a line between others that names none, and
    for a class twice."""
    for path in (labels / CLASSES_FILE, labels.parent / CLASSES_FILE):
        if path.is_file():
            classes = lines_of(path)
            while classes and not classes[-1]:
                classes.pop()
            if "" in classes:
                raise ConfigError(f"{path}, line {classes.index('') + 1} names no class: each line is one, from 0 on")
            if len(set(classes)) < len(classes):
                raise ConfigError(f"{path} has a class twice: {listed(classes)}")
            return tuple(classes)
    return None


def yolo_source(path: Path, asked: Asked) -> Source:
    """The images of one split of a ``data.yaml``, with their labels; ``asked.images`` overrides where they are.

    An image without a file of labels shows no object. Raises ConfigError, also when no image has one.
    """
    data = read_data_file(path, asked.split)
    images: list[Path] = []
    for place in [asked.images] if asked.images else data.images:
        if place.is_file() and place.suffix.lower() == ".txt":
            images += [place.parent / line for line in lines_of(place) if line]
        else:
            images += pictures_in(place)
    check_stems(images)
    return _yolo_labels(
        data.classes, images, {one: label_file(one) for one in images}, f"{path.name}, split {asked.split}", asked
    )


def _yolo_labels(
    classes: tuple[str, ...], images: Sequence[Path], labels: dict[Path, Path], name: str, asked: Asked
) -> Source:
    there = [one for one in images if one.is_file()]
    scenes, bare, oriented = [], 0, False
    for image in there:
        if not labels[image].is_file():
            bare += 1
            scenes.append((image, Annotations.empty()))
            continue
        scene = asked.opened(image)
        truth = read_yolo(labels[image], classes, (scene.width, scene.height))
        oriented = oriented or bool((truth.boxes[:, 4] % (np.pi / 2) != 0).any())
        scenes.append((image, truth))
    if there and bare == len(there):
        raise ConfigError(f"none of the {bare} images has labels, such as {labels[there[0]]}")
    notes = [*absent_images([one for one in images if not one.is_file()])]
    if bare:
        notes.append(f"{bare} images have no file of labels: they are taken to show no object")
    folders = {labels[one].parent for one in there}
    known = {labels[one] for one in there}
    alone = [path for at in folders for path in at.glob("*.txt") if path not in known and path.name != CLASSES_FILE]
    if alone:
        notes.append(f"{len(alone)} files of labels have no image here and were left out, first {min(alone).name}")
    kind = "YOLO-OBB labels" if oriented else "YOLO labels"
    return Source(format=f"{kind} ({name})", classes=classes, scenes=tuple(scenes), notes=tuple(notes))
