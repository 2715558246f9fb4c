"""``validate --report``: the page of an evaluation, of prepared scenes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from jobs.train_detector import main
from tests.support.fitted import SHIPS, Said, fit, folder_of


def test_validate_writes_the_page_that_evaluate_writes(small: Path, tmp_path: Path, capsys: Said) -> None:
    """With pixels from the scenes, every object and every detection in the table, and the distance to a seam known."""
    prep, page = folder_of(tmp_path / "prep", ("car", "van"), ("a", "b"), gsd_m=6.0), tmp_path / "page"
    assert fit(small, tmp_path / "run", prep) == 0
    validate = ["validate", "--run", str(tmp_path / "run"), "--scenes", str(prep), "--tile", "128", "--halo", "32"]
    capsys.readouterr()
    assert main([*validate, "--report", str(page)]) == 0
    said = capsys.readouterr().out
    assert f"the report is {page / 'report.html'}" in said
    text = (page / "report.html").read_text()
    assert "data:image/jpeg" in text
    assert "boxes are drawn without" not in text
    assert "distance, lattice pixels" in text
    with (page / "matches.csv").open() as file:
        rows = list(csv.DictReader(file))
    truth = json.loads((page / "truth.coco.json").read_text())
    assert {row["scene"] for row in rows} == {"a", "b"}
    assert len(truth["annotations"]) == 2 * len(SHIPS)
    found = json.loads((page / "detections.coco.json").read_text())
    figures = json.loads(said[: said.rindex("}") + 1])
    told = [one for one in found if one["score"] >= figures["score_threshold"] - 1e-4]
    assert len(told) == figures["right"] + figures["wrong"]


def test_a_folder_of_something_else_is_refused_before_anything_is_detected(tmp_path: Path, capsys: Said) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    validate = ["validate", "--run", str(tmp_path / "none"), "--scenes", str(tmp_path), "--report", str(tmp_path)]
    assert main(validate) == 2
    assert "holds 'mine.txt', which no report has written" in capsys.readouterr().err
