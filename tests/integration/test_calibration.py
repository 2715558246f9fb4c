"""A score that means something, from annotated scenes to every file of a result; and four looks in place of one."""

from __future__ import annotations

import html
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest

from jobs import detect_scene, evaluate_detector, make_scene
from pipeline.config import DetectorConfig, RunConfig
from pipeline.detectors.card import read_card
from pipeline.detectors.loading import load_detector
from pipeline.detectors.weights import builtin_folder
from pipeline.notebook import detect_frame
from pipeline.types import Calibration

SIDE_PX = 360
SEEDS = (20_000_008, 20_000_031)
Said = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two harbours that training never saw, as one COCO file and its images."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    (folder / "annotations").mkdir()
    document: dict[str, Any] = {"images": [], "annotations": []}
    for number, seed in enumerate(SEEDS):
        name = f"harbour{number}"
        argv = ["--kind", "harbour", "--seed", str(seed), "--width", str(SIDE_PX), "--height", str(SIDE_PX)]
        assert make_scene.main([*argv, "--out", str(folder / "images" / f"{name}.tif")]) == 0
        made = json.loads((folder / "images" / f"{name}.coco.json").read_text())
        document["images"] += [{**image, "id": number} for image in made["images"]]
        document["annotations"] += [{**one, "image_id": number} for one in made["annotations"]]
        document["categories"] = made["categories"]
    (folder / "annotations" / "val.json").write_text(json.dumps(document))
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the embedded detector, which has no calibration."""
    folder = shutil.copytree(builtin_folder("ships-s2"), tmp_path_factory.mktemp("plain") / "ships")
    assert read_card(folder).calibration is None, "the tests below need a detector without one"
    return folder


@pytest.fixture(scope="module")
def calibrated(plain: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shutil.copytree(plain, tmp_path_factory.mktemp("calibrated") / "ships")
    figures = folder.parent / "figures.json"
    argv = ["--weights", str(folder), "--data", str(data), "--calibrate", "--json", str(figures)]
    assert evaluate_detector.main([*argv, "--report", str(folder.parent / "report")]) == 0
    assert json.loads(figures.read_text())["calibration"]["boxes"] == calibration_of(folder).boxes
    return folder


def calibration_of(folder: Path) -> Calibration:
    calibration = read_card(folder).calibration
    assert calibration is not None
    return calibration


def detect(weights: Path, data: Path, out: Path, *more: str) -> int:
    scene = ["--scene", str(data / "images" / "harbour0.tif"), "--out", str(out), "--weights", str(weights)]
    return detect_scene.main([*scene, "--executor", "local", "--output.preview_px", "0", *more])


def everywhere(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of every file, by its suffix."""
    web = json.loads((folder / "detections.geojson").read_text())["features"]
    return {
        "parquet": pq.read_table(folder / "detections.parquet").to_pylist(),
        "gpkg": pyogrio.read_arrow(folder / "detections.gpkg")[1].to_pylist(),
        "geojson": [one["properties"] for one in web],
    }


def test_the_card_says_what_was_measured_and_keeps_all_else(plain: Path, calibrated: Path) -> None:
    calibration = calibration_of(calibrated)
    assert calibration.scenes == ("harbour0.tif", "harbour1.tif")
    assert calibration.boxes >= 50
    assert calibration.ece_after is not None
    assert calibration.ece_after < calibration.ece_before
    before, after = (json.loads((folder / "card.json").read_text()) for folder in (plain, calibrated))
    assert {key: after[key] for key in before} == before
    assert load_detector(calibrated).card == read_card(calibrated)


def test_the_report_of_a_detector_shows_its_scenes_and_knows_its_tiles(calibrated: Path) -> None:
    page = (calibrated.parent / "report" / "report.html").read_text(encoding="utf-8")
    assert "data:image/jpeg;base64," in page
    assert "distance, lattice pixels" in page
    assert "boxes are drawn without" not in page
    assert "the column precision" not in page, "it had none when its scores were judged"


def test_without_a_calibration_every_file_has_nulls_and_a_precision_is_refused(
    plain: Path, data: Path, tmp_path: Path, capsys: Said
) -> None:
    assert detect(plain, data, tmp_path, "--detector.precision", "0.8") == 2
    assert "ships-s2 has no calibration; give detector.score_threshold, or make one" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert detect(plain, data, tmp_path, "--detector.precision", "0.8", "--dry-run") == 2
    assert detect(plain, data, tmp_path) == 0
    for rows in everywhere(tmp_path / "harbour0").values():
        assert rows
        assert {row["precision"] for row in rows} == {None}


def test_with_one_every_file_says_what_its_scores_are_worth_and_a_precision_picks_the_score(
    calibrated: Path, plain: Path, data: Path, tmp_path: Path, capsys: Said
) -> None:
    """From what the uncalibrated detector found before: no detector runs for it."""
    calibration, out = calibration_of(calibrated), tmp_path / "out"
    assert detect(plain, data, out) == 0
    wanted = 0.5
    assert detect(calibrated, data, out, "--from", "merge", "--detector.precision", str(wanted)) == 0
    record = json.loads((out / "harbour0" / "run.json").read_text())
    assert record["tiles"]["done_before"] == record["tiles"]["done"]
    assert record["score_threshold"] == calibration.score_at(wanted)
    assert record["config"]["detector"]["precision"] == wanted
    files = everywhere(out / "harbour0")
    assert len({len(rows) for rows in files.values()}) == 1
    for rows in files.values():
        assert rows
        expected = calibration.expected(np.array([row["score"] for row in rows]))
        np.testing.assert_allclose([row["precision"] for row in rows], expected, atol=1e-4)
        assert min(row["precision"] for row in rows) >= wanted - 1e-6
    frame = detect_frame(
        str(data / "images" / "harbour0.tif"),
        load_detector(calibrated),
        RunConfig(detector=DetectorConfig(precision=wanted)),
    )
    assert sorted(frame.precision) == pytest.approx(sorted(row["precision"] for row in files["parquet"]), abs=1e-6)
    truth, report = str(data / "annotations" / "val.json"), tmp_path / "report"
    assert evaluate_detector.main(["--results", str(out), "--truth", truth, "--report", str(report)]) == 0
    page = (report / "report.html").read_text(encoding="utf-8")
    assert "By the detector's calibration, the column precision of its results, it is 0." in html.unescape(page)
    capsys.readouterr()
    assert detect(calibrated, data, out, "--detector.precision", "1") == 2
    assert "no box of ships-s2 is right with more than" in capsys.readouterr().err


def test_four_looks_cost_four_and_have_no_share_in_the_calibration_of_one(
    calibrated: Path, data: Path, tmp_path: Path, capsys: Said
) -> None:
    assert detect(calibrated, data, tmp_path / "one") == 0
    lower = ("--detector.score_threshold", "0.3")
    assert detect(calibrated, data, tmp_path / "four", "--detector.flips", "true", *lower) == 0
    records = [json.loads((tmp_path / name / "harbour0" / "run.json").read_text()) for name in ("one", "four")]
    assert records[1]["network_mpx"] == pytest.approx(4 * records[0]["network_mpx"], rel=1e-3)
    assert records[0]["run_id"] != records[1]["run_id"]
    rows = everywhere(tmp_path / "four" / "harbour0")["parquet"]
    assert len(rows) >= 2
    assert {row["precision"] for row in rows} == {None}
    capsys.readouterr()
    assert detect(calibrated, data, tmp_path / "four", "--detector.flips", "true", "--detector.precision", "0.5") == 2
    assert "was measured without detector.flips" in capsys.readouterr().err


def test_results_of_others_calibrate_a_detector_too_and_the_card_says_so(
    plain: Path, calibrated: Path, data: Path, tmp_path: Path
) -> None:
    """As of folds: detectors that each held some scenes out, for the one that was trained on all of them."""
    scenes = [str(data / "images" / f"harbour{number}.tif") for number in (0, 1)]
    argv = ["--scene", *scenes, "--out", str(tmp_path / "folds"), "--weights", str(plain), "--executor", "local"]
    assert detect_scene.main([*argv, "--detector.score_threshold", "0.01", "--work.keep_score", "0.01"]) == 0
    weights = shutil.copytree(plain, tmp_path / "ships")
    files = [str(tmp_path / "folds" / f"harbour{number}" / "detections.parquet") for number in (0, 1)]
    truth = str(data / "annotations" / "val.json")
    argv = ["--weights", str(weights), "--detections", *files, "--annotations", truth, "--calibrate"]
    assert evaluate_detector.main(argv) == 0
    theirs, ours = calibration_of(weights), calibration_of(calibrated)
    assert theirs.method == "beta calibration, boxes of published results"
    assert ours.method == "beta calibration, boxes of the detector itself"
    assert replace(theirs, method=ours.method) == ours, "the same detector, the same scenes: the same line"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--weights", "builtin:ships-s2"], "is no folder here"),
        (["--weights", "s3://bucket/ships"], "is no folder here"),
        (["--weights", "WEIGHTS", "--strategies", "global"], "leave out --strategies"),
    ],
)
def test_what_cannot_be_calibrated_is_said_before_anything_runs(
    more: list[str], said: str, plain: Path, data: Path, capsys: Said
) -> None:
    given = [str(plain) if word == "WEIGHTS" else word for word in more]
    assert evaluate_detector.main(["--data", str(data), "--calibrate", *given]) == 2
    assert said in capsys.readouterr().err
    assert read_card(plain).calibration is None


def test_a_number_format_in_the_old_place_is_a_warning_in_the_journal_and_the_same_run(
    plain: Path, data: Path, tmp_path: Path, capsys: Said
) -> None:
    """With --log json each line of stderr stays JSON."""
    old = ("--detector.precision", "float32", "--log", "json")
    assert detect(plain, data, tmp_path, *old) == 0
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    told = [one["message"] for one in events if "detector.dtype" in one.get("message", "")]
    assert len(told) == 1
    assert told[0].startswith("warning: detector.precision=float32 is taken as detector.dtype=float32")
    before = json.loads((tmp_path / "harbour0" / "run.json").read_text())
    assert before["config"]["detector"]["dtype"] == "float32"
    assert detect(plain, data, tmp_path) == 0
    after = json.loads((tmp_path / "harbour0" / "run.json").read_text())
    assert after == before, "nothing was left to do: the same request"
