"""YOLO's label files → truth: a text file per image, a line an object, coordinates as shares of the image's sides.

A line is ``class cx cy w h`` (a horizontal box), ``class x1 y1 x2 y2 x3 y3 x4 y4`` (an oriented one) or ``class`` and
three or more corners (an outline). ``data.yaml`` names the classes and says where the images of each split are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline.annotations.annotations import Annotations
from pipeline.errors import ConfigError
from pipeline.geometry.enclosing import enclosing_box
from pipeline.geometry.obb import aabb_to_obb
from pipeline.names import listed, quoted, told

BEYOND = 1.0
"""Corners of oriented boxes may lie outside their image, but by no more than its side: such numbers are pixels."""

MOST_NESTED = 50
"""Brackets within each other in a ``data.yaml``."""
LONGEST_NUMBER = 9
"""Digits of a class's number: Python refuses those of thousands by an error of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """What a ``data.yaml`` says."""

    classes: tuple[str, ...]
    images: tuple[Path, ...]
    """Folders of images, or text files that list them."""


def read_data_file(path: Path, split: str) -> DataFile:
    """The classes and the images of one split (``train``, ``val``, ``test``).

    ``names`` is a list, or number → name. Paths are relative to ``path:`` of the file, that to the file itself; where
    nothing lies there, to the file's folder, with or without a leading ``../``, as some exporters have it. Raises
    ConfigError for a file that says something else, and for a split that it has not or whose images are not there.
    """
    try:
        content, as_written = _parsed(path.read_text())
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YOLO's data.yaml ({told(error)})") from error
    if not isinstance(content, dict) or "names" not in content:
        raise ConfigError(f"{path} is no data.yaml of YOLO: it has no 'names'")
    # `yes`, `null` and `1.0` are names, not values; what is merged in from elsewhere in the file is there as values
    classes = _names(path, as_written.get("names", content["names"]))
    count = content.get("nc")
    if count is not None and not (isinstance(count, int | float) and count == len(classes)):
        told_as = quoted(count) if isinstance(count, int | float | str) else "no number"
        raise ConfigError(f"{path}: nc is {told_as}, but names has {len(classes)}: make them agree")
    said = content.get(split)
    places = [said] if isinstance(said, str) else said
    if not isinstance(places, list) or not places or not all(isinstance(one, str) for one in places):
        known = [key for key in ("train", "val", "test") if content.get(key)]
        raise ConfigError(f"{path} has no images for the split {quoted(split)}; it has {listed(known) or 'none'}")
    if not isinstance(content.get("path"), str | None):
        raise ConfigError(f"{path}: 'path' is no text")
    root = path.parent / (content.get("path") or "")
    return DataFile(classes=classes, images=tuple(_place(path, root, one) for one in places))


def _parsed(text: str) -> tuple[Any, Any]:
    """What it says to YAML, and the same with every scalar as the text it is."""
    if max(accumulate((letter in "[{") - (letter in "]}") for letter in text), default=0) > MOST_NESTED:
        raise ValueError(f"it nests more than {MOST_NESTED} brackets")  # half a second of the parser's, for nothing
    return yaml.safe_load(text), yaml.load(text, yaml.BaseLoader)  # noqa: S506 - the safest of them


def _names(path: Path, said: Any) -> tuple[str, ...]:
    """The classes in the order of their numbers."""
    if isinstance(said, dict):
        try:
            numbered = {int(number): name for number, name in said.items()}
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{path}: a key of 'names' is no number of a class") from error
        if sorted(numbered) != list(range(len(said))):
            raise ConfigError(f"{path}: 'names' numbers its classes {listed(sorted(numbered))}, not from 0 on")
        said = [numbered[number] for number in range(len(numbered))]
    if not isinstance(said, list) or not said:
        raise ConfigError(f"{path}: 'names' is neither a list of classes nor number → name")
    if not all(isinstance(name, str) and name for name in said):
        raise ConfigError(f"{path}: a class of 'names' is no text")
    classes = tuple(said)
    if len(set(classes)) < len(classes):
        raise ConfigError(f"{path}: 'names' has a class twice: {listed(classes)}")
    return classes


def _place(path: Path, root: Path, said: str) -> Path:
    bare = said
    while bare.startswith("../"):
        bare = bare.removeprefix("../")
    candidates = (root / said, path.parent / said, path.parent / bare)
    for one in candidates:
        if one.exists():
            return one
    raise ConfigError(f"{path}: there is nothing at {candidates[0]}, where {quoted(said)} leads; correct 'path' in it")


def label_file(image: Path) -> Path:
    """Where the labels of an image lie: in ``labels/`` for its last folder ``images/``, else beside it."""
    parts = list(image.parts)
    folders = [at for at, part in enumerate(parts[:-1]) if part == "images"]
    if folders:
        parts[folders[-1]] = "labels"
    return Path(*parts).with_suffix(".txt")


def read_yolo(path: Path, classes: Sequence[str], size: tuple[int, int]) -> Annotations:
    """Oriented truth of one image of ``size`` (width, height), scene pixels; an empty file is an image without objects.

    Raises ConfigError for a line that is no object, a class number without a name, and coordinates that are no shares
    of the image's sides.
    """
    boxes, class_ids = [np.zeros((0, 5))], []
    for number, line in enumerate(lines_of(path), 1):
        words = line.split()
        if not words:
            continue
        where = f"{path}, line {number}"
        if len(words) != 5 and (len(words) < 7 or len(words) % 2 == 0):
            raise ConfigError(f"{where}: {len(words)} words are neither a box (5), nor corners (7, 9, 11 …) of YOLO")
        try:
            values = np.array([float(word) for word in words[1:]])
        except ValueError:
            values = np.array([nan])
        if not all(isfinite(one) for one in values):
            raise ConfigError(f"{where}: a coordinate is not a number: {quoted(line)}")
        if values.min() < -BEYOND or values.max() > 1 + BEYOND:
            raise ConfigError(f"{where}: {quoted(line)} are no shares of the image's sides: 0 to 1")
        if not words[0].isdecimal() or len(words[0]) > LONGEST_NUMBER or int(words[0]) >= len(classes):
            raise ConfigError(f"{where}: class {quoted(words[0])} has no name; there is {listed(classes)}, from 0")
        boxes.append(_box(values, size))
        class_ids.append(int(words[0]))
    return Annotations(np.concatenate(boxes), np.array(class_ids, np.int64), np.zeros(len(class_ids), np.bool_))


def lines_of(path: Path) -> list[str]:
    """The lines of a text, without white space around them. Raises ConfigError for a file that is no text."""
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as a text of annotations ({told(error)})") from error


def _box(values: np.ndarray[tuple[int], np.dtype[np.float64]], size: tuple[int, int]) -> Any:
    if len(values) == 4:
        centre, sides = values[:2], np.maximum(values[2:], 0)
        return aabb_to_obb(np.concatenate([centre - sides / 2, centre + sides / 2]) * np.tile(size, 2))
    return enclosing_box(values.reshape(-1, 2) * size)


def first_line(labels: Path) -> str | None:
    """The first line that says something in the text files of a folder; None where none does."""
    files = sorted(one for one in labels.glob("*.txt") if one.name != "classes.txt")
    return next((line for path in files for line in lines_of(path) if line), None)
