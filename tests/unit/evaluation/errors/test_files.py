"""The matches as files, read back by those who read such files."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

from pycocotools.coco import COCO

from pipeline.annotations.coco import read_annotations
from pipeline.annotations.dota import read_dota
from pipeline.evaluation.dota_submission import read_submission
from pipeline.evaluation.errors.files import write_coco, write_csv, write_dota
from pipeline.evaluation.errors.kinds import judge
from pipeline.evaluation.judged import Judged
from tests.support.judging import found, ship, truth

OBJECTS = truth([ship(0), ship(100), ship(200), ship(300)], [0, 1, 0, 0], [False, False, False, True])
JUDGED = Judged(
    detector="d", data="t", classes=("ship", 'plane, "jet"'), score_threshold=0.5,
    found={"b.tif": found([], []), "a.tif": found([ship(0), ship(1), ship(101)], [0.9, 0.8, 0.7])},
    truth={"b.tif": truth([ship(50)]), "a.tif": OBJECTS}, apart={"a.tif": ("", "", "", "in a failed tile")},
)  # fmt: skip
JUDGEMENT = judge([JUDGED.found[name] for name in JUDGED.truth], list(JUDGED.truth.values()))


def test_csv_has_a_row_for_every_detection_and_every_object_that_none_found(tmp_path: Path) -> None:
    write_csv(JUDGED, JUDGEMENT, tmp_path / "matches.csv")
    rows = list(csv.DictReader((tmp_path / "matches.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["scene"], row["kind"], row["detection"], row["object"]) for row in rows] == [
        ("b.tif", "missed", "", "0"),
        ("a.tif", "right", "0", "0"),
        ("a.tif", "duplicate", "1", "0"),
        ("a.tif", "wrong class", "2", "1"),
        ("a.tif", "not found", "", "1"),
        ("a.tif", "missed", "", "2"),
        ("a.tif", "in a failed tile", "", "3"),
    ]
    assert rows[3]["class_detected"] == "ship"
    assert rows[3]["class_true"] == 'plane, "jet"'
    middle = sum(float(rows[3][f"px_x{corner}"]) for corner in (1, 2, 3, 4)) / 4
    assert abs(middle - 101) < 0.01


def test_no_name_in_the_csv_is_a_formula_and_none_breaks_it(tmp_path: Path) -> None:
    """Out of a COCO json may come half of a letter, too."""
    names = {"=1+1.tif": found([ship(0)], [0.9])}
    judged = replace(JUDGED, classes=("@SUM(1)", "+\ud800"), found=names, truth={"=1+1.tif": OBJECTS}, apart={})
    write_csv(judged, judge([names["=1+1.tif"]], [OBJECTS]), tmp_path / "matches.csv")
    rows = list(csv.DictReader((tmp_path / "matches.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["scene"] for row in rows} == {"'=1+1.tif"}
    assert [(row["class_detected"], row["class_true"]) for row in rows[:2]] == [
        ("'@SUM(1)", "'@SUM(1)"),
        ("", "'+\\ud800"),
    ]


def test_coco_files_are_a_data_set_and_results_of_it(tmp_path: Path) -> None:
    write_coco(JUDGED, JUDGEMENT, tmp_path)
    with contextlib.redirect_stdout(io.StringIO()):
        index = COCO(str(tmp_path / "truth.coco.json"))
        results = index.loadRes(str(tmp_path / "detections.coco.json"))
    assert len(results.anns) == 3
    known = Counter(one["kind"] for one in index.anns.values())
    assert known == {"found": 1, "not found": 1, "missed": 2, "not judged": 1}
    read = read_annotations(tmp_path / "truth.coco.json")
    assert abs(read.scenes["a.tif"].boxes - OBJECTS.boxes).max() < 1e-3
    assert read.scenes["a.tif"].ignore.tolist() == OBJECTS.ignore.tolist()
    said = json.loads((tmp_path / "detections.coco.json").read_text())
    assert [index.anns[one["annotation_id"]]["id"] for one in said] == [2, 2, 3]


def test_dota_files_are_read_back_and_never_leave_their_folder(tmp_path: Path) -> None:
    assert "class name" in str(write_dota(JUDGED, tmp_path / "dota")), "white space ends a word of the format"
    for name in ("../../ship", "a/b", ""):
        evil = Judged(detector="d", data="t", classes=("ship", name), found=JUDGED.found, truth=JUDGED.truth,
                      score_threshold=0.5)  # fmt: skip
        assert write_dota(evil, tmp_path / "deep" / "dota") is not None
    assert not list(tmp_path.iterdir())
    plain = Judged(detector="d", data="t", classes=("ship", "plane"), found=JUDGED.found, truth=JUDGED.truth,
                   score_threshold=0.5)  # fmt: skip
    assert write_dota(plain, tmp_path / "dota") is None
    assert {name: len(one) for name, one in read_submission(tmp_path / "dota", plain.classes).items()} == {"a": 3}
    read = read_dota(tmp_path / "dota" / "labelTxt" / "a.txt", plain.classes)
    assert read.class_ids.tolist() == [0, 1, 0, 0]
    assert read.ignore.tolist() == [False, False, False, True]
