"""DOTA: annotated folders in, submission files out.

A submission of task 1 (oriented boxes) is one text file per class, ``Task1_<class>.txt``, with a line per detection:
``image score x1 y1 x2 y2 x3 y3 x4 y4``, the image's own name without its suffix, corners in its pixels. The server
refuses archives with empty files, so a class of which nothing was found has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.errors import ConfigError
from pipeline.evaluation.coco import AnnotatedScenes
from pipeline.evaluation.oriented import Annotations
from pipeline.geometry.obb import corners_to_obb, obb_to_corners
from pipeline.training.dota import HEADER_WORDS, read_dota
from pipeline.types import Detections, Frame

PREFIX = "Task1_"


def read_dota_folder(labels: Path, images: Path) -> tuple[AnnotatedScenes, dict[str, Path]]:
    """Truth and image of every text file in ``labels``; classes are those that occur, by name.

    ``difficult`` objects are ignore regions, boxes without area are left out, an empty file is an image without
    objects. Raises ConfigError when a line is no box, or an image is missing or there twice.
    """
    files = sorted(labels.glob("*.txt"))
    if not files:
        raise ConfigError(f"no DOTA annotations (*.txt) in {labels}")
    classes = tuple(sorted({name for path in files for name in _categories(path)}))
    pictures = _by_stem(images)
    absent = [path.stem for path in files if path.stem not in pictures]
    if absent:
        raise ConfigError(
            f"{len(absent)} annotated images are not in {images}, first {absent[0]}; say where with --images"
        )
    scenes, flat = {}, 0
    for path in files:
        read = read_dota(path, classes)
        kept = read.boxes[:, 2:4].min(axis=1) > 0
        flat += int((~kept).sum())
        scenes[pictures[path.stem].name] = Annotations(read.boxes[kept], read.class_ids[kept], read.ignore[kept])
    notes = (f"{flat} boxes without area were left out",) if flat else ()
    named = {path.name: path for path in pictures.values() if path.name in scenes}
    return AnnotatedScenes(classes=classes, scenes=scenes, notes=notes), named


def _by_stem(images: Path) -> dict[str, Path]:
    """The pictures of a folder by the name that annotations have; ConfigError where two share one."""
    pictures: dict[str, Path] = {}
    for path in sorted(images.iterdir()) if images.is_dir() else ():
        if path.stem in pictures:
            raise ConfigError(f"{pictures[path.stem].name} and {path.name} in {images} have one name; remove one")
        pictures[path.stem] = path
    return pictures


def _categories(path: Path) -> Iterable[str]:
    """The ninth word of every line that has one; what else is wrong with a line is for the reader to say."""
    for line in path.read_text().splitlines():
        words = line.split()
        if len(words) > 8 and words[0].split(":")[0].lower() not in HEADER_WORDS:
            yield words[8]


def write_submission(found: Mapping[str, Detections], classes: Sequence[str], folder: Path) -> list[Path]:
    """Write ``Task1_<class>.txt`` for every class of which something was found; by image, best score first.

    ``found`` are detections in scene pixels by image name; the name in the file is without its suffix. Files of an
    earlier submission in ``folder`` are replaced or removed. Raises ConfigError for image names with white space,
    which the format cannot hold, and for two images of one name.
    """
    names = {name: Path(name).stem for name in found}
    if len(set(names.values())) < len(names):
        raise ConfigError("two images have the same name without its suffix; a DOTA submission cannot tell them apart")
    spaced = [name for name in names.values() if len(name.split()) != 1]
    if spaced:
        raise ConfigError(f"a DOTA submission cannot hold the image name {spaced[0]!r}: it has white space")
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{PREFIX}*.txt"):
        old.unlink()
    written = []
    for class_id, class_name in enumerate(classes):
        lines = [line for name in sorted(found) for line in _lines(names[name], found[name], class_id)]
        if lines:
            path = folder / f"{PREFIX}{class_name}.txt"
            path.write_text("\n".join(lines) + "\n")
            written.append(path)
    return written


def _lines(image: str, found: Detections, class_id: int) -> Iterable[str]:
    own = found[found.class_ids == class_id]
    own = own[np.argsort(-own.scores, kind="stable")]
    for score, corners in zip(own.scores, obb_to_corners(own.boxes), strict=True):
        numbers = " ".join(f"{value:.4f}" for value in corners.ravel())
        yield f"{image} {score:.6f} {numbers}"


def read_submission(folder: Path, classes: Sequence[str]) -> dict[str, Detections]:
    """Detections (frame SCENE) by image name without suffix, of the files that :func:`write_submission` writes.

    Images without a detection are in no file, so they are not in the answer. Raises ConfigError for a file of a class
    that is not among ``classes`` and for lines that are no detection.
    """
    rows: dict[str, list[tuple[int, list[float]]]] = {}
    for path in sorted(folder.glob(f"{PREFIX}*.txt")):
        class_name = path.stem.removeprefix(PREFIX)
        if class_name not in classes:
            raise ConfigError(f"{path} is of class {class_name!r}, which is not one of {', '.join(classes)}")
        for number, line in enumerate(path.read_text().splitlines(), 1):
            try:
                image, *values = line.split()
                score, x1, y1, x2, y2, x3, y3, x4, y4 = (float(value) for value in values)
            except ValueError as error:
                raise ConfigError(f"{path}, line {number} is no detection: {line.strip()!r} ({error})") from error
            row = [score, x1, y1, x2, y2, x3, y3, x4, y4]
            rows.setdefault(image, []).append((classes.index(class_name), row))
    return {image: _detections(lines) for image, lines in rows.items()}


def _detections(lines: Sequence[tuple[int, list[float]]]) -> Detections:
    values = np.array([line for _, line in lines], np.float64)
    boxes = corners_to_obb(values[:, 1:].reshape(-1, 4, 2))
    return Detections(boxes, values[:, 0], np.array([class_id for class_id, _ in lines], np.int64), Frame.SCENE)
