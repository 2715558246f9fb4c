"""DOTA submission files, written and read.

A submission of task 1 (oriented boxes) is one text file per class, ``Task1_<class>.txt``, with a line per detection:
``image score x1 y1 x2 y2 x3 y3 x4 y4``, the image's own name without its suffix, corners in its pixels. The server
refuses archives with empty files, so a class of which nothing was found has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.errors import ConfigError
from pipeline.geometry.obb import corners_to_obb, obb_to_corners
from pipeline.names import listed, quoted, told
from pipeline.types import Detections, Frame

PREFIX = "Task1_"


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
        raise ConfigError(f"a DOTA submission cannot hold the image name {quoted(spaced[0])}: it has white space")
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
            raise ConfigError(f"{path} is of class {quoted(class_name)}, which is not one of {listed(classes)}")
        for number, line in enumerate(path.read_text().splitlines(), 1):
            try:
                image, *values = line.split()
                score, x1, y1, x2, y2, x3, y3, x4, y4 = (float(value) for value in values)
            except ValueError as error:
                raise ConfigError(
                    f"{path}, line {number} is no detection: {quoted(line.strip())} ({told(error)})"
                ) from error
            row = [score, x1, y1, x2, y2, x3, y3, x4, y4]
            rows.setdefault(image, []).append((classes.index(class_name), row))
    return {image: _detections(lines) for image, lines in rows.items()}


def _detections(lines: Sequence[tuple[int, list[float]]]) -> Detections:
    values = np.array([line for _, line in lines], np.float64)
    boxes = corners_to_obb(values[:, 1:].reshape(-1, 4, 2))
    return Detections(boxes, values[:, 0], np.array([class_id for class_id, _ in lines], np.int64), Frame.SCENE)
