"""The matches as files that other programs read: CSV, COCO json, DOTA text."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.annotations.annotations import EVERY_CLASS, Annotations
from pipeline.errors import ConfigError
from pipeline.evaluation.dota_submission import write_submission
from pipeline.evaluation.errors.kinds import Judgement, Kind
from pipeline.evaluation.judged import Judged
from pipeline.geometry.obb import obb_to_aabb, obb_to_corners
from pipeline.names import quoted
from pipeline.types import FloatArray

CORNERS = tuple(f"px_{axis}{corner}" for corner in (1, 2, 3, 4) for axis in "xy")
COLUMNS = ("scene", "kind", "score", "class_detected", "class_true", "iou", "detection", "object", *CORNERS)
"""Of ``matches.csv``. ``detection`` and ``object`` count the rows of their scene from 0; corners are those of the
detection or, of an object that no detection found, of the object, in scene pixels."""
COMPUTED = ("=", "+", "-", "@", "\t", "\r")
"""What begins a formula in spreadsheets."""
NOT_FOUND = "not found"
"""Kind of an object that was not found though a detection of wrong class or poor localisation is about it."""


def write_csv(judged: Judged, judgement: Judgement, path: Path) -> None:
    """One row for every detection, and one for every object that none found. Raises OSError.

    A name that a spreadsheet would compute has an apostrophe before it: names come out of strangers' files.
    """
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(_rows(judged, judgement))


def _rows(judged: Judged, judgement: Judgement) -> Iterator[list[object]]:
    first_found = first_truth = 0
    missed, unfound = judgement.missed(), judgement.unfound()
    for name, truth in judged.truth.items():
        found = judged.found[name]
        for row, corners in enumerate(obb_to_corners(found.boxes)):
            one = first_found + row
            target = int(judgement.target[one])
            about = "" if target < 0 else _class(judged, int(judgement.annotation_class[target]))
            yield [
                _plain(name), Kind(judgement.kind[one]).text, f"{found.scores[row]:.6f}",
                _class(judged, int(found.class_ids[row])), about, f"{judgement.iou[one]:.4f}", row,
                "" if target < 0 else target - first_truth, *_rounded(corners),
            ]  # fmt: skip
        apart = judged.apart.get(name, ("",) * len(truth))
        for row, corners in enumerate(obb_to_corners(truth.boxes)):
            one = first_truth + row
            if unfound[one] or apart[row]:
                kind = apart[row] or (Kind.MISSED.text if missed[one] else NOT_FOUND)
                yield [
                    _plain(name),
                    kind,
                    "",
                    "",
                    _class(judged, int(truth.class_ids[row])),
                    "",
                    "",
                    row,
                    *_rounded(corners),
                ]
        first_found, first_truth = first_found + len(found), first_truth + len(truth)


def _class(judged: Judged, class_id: int) -> str:
    return "" if class_id == EVERY_CLASS else _plain(judged.classes[class_id])


def _plain(name: str) -> str:
    return f"'{name}" if name.startswith(COMPUTED) else name


def _rounded(corners: FloatArray) -> list[str]:
    return [f"{value:.3f}" for value in corners.ravel()]


def write_coco(judged: Judged, judgement: Judgement, folder: Path) -> None:
    """``truth.coco.json``, a data set, and ``detections.coco.json``, results of it as pycocotools' ``loadRes`` reads.

    Both carry the corners as ``segmentation`` and the kind as ``kind``. An ignore region for every class stands in a
    category of its own, ``dont_care``. Raises OSError.
    """
    names, classes = list(judged.truth), [*judged.classes, "dont_care"]
    missed, unfound = judgement.missed(), judgement.unfound()
    annotations, results = list[dict[str, Any]](), list[dict[str, Any]]()
    for scene, name in enumerate(names):
        truth, found = judged.truth[name], judged.found[name]
        for row, box in enumerate(_coco_boxes(truth.boxes)):
            one = len(annotations)
            kind = Kind.MISSED.text if missed[one] else NOT_FOUND if unfound[one] else "found"
            class_id = int(truth.class_ids[row])
            annotations.append({
                "id": one + 1, "image_id": scene, "category_id": class_id if class_id >= 0 else len(judged.classes),
                "iscrowd": int(truth.ignore[row]), "kind": Kind.NOT_JUDGED.text if truth.ignore[row] else kind, **box,
            })  # fmt: skip
        for row, box in enumerate(_coco_boxes(found.boxes)):
            one, target = len(results), int(judgement.target[len(results)])
            results.append({
                "image_id": scene, "category_id": int(found.class_ids[row]), "score": float(found.scores[row]),
                "kind": Kind(judgement.kind[one]).text, "annotation_id": target + 1 if target >= 0 else None,
                "iou": round(float(judgement.iou[one]), 4), **box,
            })  # fmt: skip
    images = [{"id": scene, "file_name": name} for scene, name in enumerate(names)]
    categories = [{"id": number, "name": name} for number, name in enumerate(classes)]
    document = {"images": images, "categories": categories, "annotations": annotations}
    (folder / "truth.coco.json").write_text(json.dumps(document) + "\n")
    (folder / "detections.coco.json").write_text(json.dumps(results) + "\n")


def _coco_boxes(boxes: FloatArray) -> Iterator[dict[str, Any]]:
    bounds, corners = obb_to_aabb(boxes), obb_to_corners(boxes)
    for (x, y, x1, y1), ring, area in zip(bounds.tolist(), corners, (boxes[:, 2] * boxes[:, 3]).tolist(), strict=True):
        yield {
            "bbox": [round(one, 4) for one in (x, y, x1 - x, y1 - y)],
            "area": round(area, 4),
            "segmentation": [ring.ravel().round(4).tolist()],
        }


def write_dota(judged: Judged, folder: Path) -> str | None:
    """``Task1_<class>.txt`` of the detections and ``labelTxt/<image>.txt`` of the truth in ``folder``.

    A sentence in their place where a name cannot stand in the format, which ends words at white space and makes names
    of files. Ignore regions of a class are ``difficult``; those for every class the format does not know. Raises
    OSError.
    """
    unfit = [name for name in judged.classes if not _fits(name)]
    if unfit:
        return f"no DOTA files were written: they cannot hold the class name {quoted(unfit[0])}"
    try:
        write_submission(judged.found, judged.classes, folder)
    except ConfigError as error:
        return f"no DOTA files were written: {error}"
    (folder / "labelTxt").mkdir(parents=True)
    for name, truth in judged.truth.items():
        lines = _dota_lines(judged, truth)
        (folder / "labelTxt" / f"{Path(name).stem}.txt").write_text("".join(lines), encoding="utf-8")
    return None


def _fits(name: str) -> bool:
    return bool(name) and name.isprintable() and not any(letter.isspace() or letter in "/\\" for letter in name)


def _dota_lines(judged: Judged, truth: Annotations) -> list[str]:
    rows = np.flatnonzero(truth.class_ids != EVERY_CLASS)
    return [
        f"{' '.join(f'{value:.4f}' for value in corners.ravel())} {judged.classes[truth.class_ids[row]]} "
        f"{int(truth.ignore[row])}\n"
        for row, corners in zip(rows.tolist(), obb_to_corners(truth.boxes[rows]), strict=True)
    ]
