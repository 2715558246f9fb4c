"""DOTA's annotation files → truth: a text file per image, ``x1 y1 x2 y2 x3 y3 x4 y4 category difficult`` per line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite, nan
from pathlib import Path

import numpy as np

from pipeline.annotations.annotations import FLAT, AnnotatedScenes, Annotations, left_out
from pipeline.errors import ConfigError
from pipeline.geometry.obb import corners_to_obb
from pipeline.names import listed, quoted

IMAGE_SUFFIXES = (".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg")
HEADER_WORDS = ("imagesource", "gsd")
"""First words of the two lines that may come before the boxes (DOTA 1.0 development kit)."""


def read_dota(path: Path, classes: Sequence[str]) -> Annotations:
    """Oriented truth of one image; ``difficult`` objects become ignore regions, as DOTA's own evaluation has it.

    Raises ConfigError for a line that is no box or a category that is not among ``classes``.
    """
    corners, class_ids, ignore = [], [], []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split()
        if not words or words[0].split(":")[0].lower() in HEADER_WORDS:
            continue
        if len(words) < 9:
            raise ConfigError(f"{path}, line {number}: expected 8 coordinates and a category, found {len(words)} words")
        try:
            numbers = [float(word) for word in words[:8]]
        except ValueError:
            numbers = [nan]
        if not all(isfinite(one) for one in numbers):
            raise ConfigError(f"{path}, line {number}: a coordinate is not a number: {quoted(line.strip())}")
        corners.append(numbers)
        if words[8] not in classes:
            raise ConfigError(f"{path}, line {number}: category {quoted(words[8])} is not one of {listed(classes)}")
        class_ids.append(classes.index(words[8]))
        ignore.append(len(words) > 9 and words[9] != "0")
    if not corners:
        return Annotations.empty()
    boxes = corners_to_obb(np.array(corners).reshape(-1, 4, 2))
    return Annotations(boxes, np.array(class_ids, np.int64), np.array(ignore, np.bool_))


def read_dota_folder(labels: Path, images: Path) -> tuple[AnnotatedScenes, dict[str, Path]]:
    """Truth and image of every text file in ``labels``; classes are those that occur, by name.

    ``difficult`` objects are ignore regions, boxes without area are left out, an empty file is an image without
    objects. Raises ConfigError when a line is no box, or an image is missing or there twice.
    """
    pictures = pictures_of(labels, images)
    classes = tuple(sorted({name for path in pictures for name in _categories(path)}))
    scenes, flat = {}, 0
    for path, picture in pictures.items():
        read = read_dota(path, classes)
        kept = read.boxes[:, 2:4].min(axis=1) > 0
        flat += int((~kept).sum())
        scenes[picture.name] = read[kept]
    named = {picture.name: picture for picture in pictures.values()}
    return AnnotatedScenes(classes=classes, scenes=scenes, notes=left_out(flat, FLAT)), named


def pictures_of(labels: Path, images: Path) -> dict[Path, Path]:
    """Every text file of ``labels``, by name, and the picture in ``images`` (a folder, or one picture) of its stem.

    Only files with one of IMAGE_SUFFIXES are pictures, so that side-cars of the same stem do no harm. Raises
    ConfigError when there is no text file, or a picture is missing or there twice.
    """
    files = sorted(labels.glob("*.txt"))
    if not files:
        raise ConfigError(f"no DOTA annotations (*.txt) in {labels}")
    stems = {path.stem for path in files}
    found: dict[str, Path] = {}
    for path in sorted(images.iterdir()) if images.is_dir() else [images]:
        if path.stem not in stems or path.suffix.lower() not in IMAGE_SUFFIXES or not path.is_file():
            continue
        if path.stem in found:
            raise ConfigError(f"{found[path.stem].name} and {path.name} in {images} have one name; remove one")
        found[path.stem] = path
    absent = [path.stem for path in files if path.stem not in found]
    if absent:
        raise ConfigError(
            f"{len(absent)} annotated images are not in {images}, first {absent[0]}, with any of "
            f"{', '.join(IMAGE_SUFFIXES)}; say where with --images"
        )
    return {path: found[path.stem] for path in files}


def _categories(path: Path) -> Iterable[str]:
    """The ninth word of every line that has one; what else is wrong with a line is for the reader to say."""
    for line in path.read_text().splitlines():
        words = line.split()
        if len(words) > 8 and words[0].split(":")[0].lower() not in HEADER_WORDS:
            yield words[8]
