"""An analyst scores a published run against polygons in another CRS, without the detector."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely

from jobs import evaluate_detector
from pipeline.config import OutputConfig, RunConfig, TilingConfig
from pipeline.engine.local import LocalExecutor
from pipeline.evaluation.sources import judged_files
from pipeline.geometry.obb import obb_to_corners
from pipeline.raster.writer import write_scene
from pipeline.runs.context import SILENT
from pipeline.runs.run import detect
from pipeline.synth.oracle import OracleDetector
from pipeline.types import FloatArray, ModelCard, Window
from tests.support.faults import Refuses

Said = pytest.CaptureFixture[str]
UTM, LAEA = "EPSG:32632", "EPSG:3035"
SIDE_PX, DARK_PX, EAST_PX = 480, 60, 400
"""Of the scene; of its upper part, which shows nothing; and where the area of interest ends."""
BAD = Window(x=192, y=192, width=240, height=240)
"""Of a tile on which the detector fails; its core is 216 to 336 px along both axes."""
GRID = [(float(x), float(y)) for y in range(40, SIDE_PX, 80) for x in range(40, SIDE_PX, 80)]
"""Centres of the ships: of 36, six lie outside the area of interest, five more on dark ground, one in the bad tile."""
BEYOND = (-3.0, 200.0)
UNSEEN, TAKEN_FOR_PLANE, MOVED, PLANE, BUOY = (
    (200.0, 120.0),
    (280.0, 120.0),
    (120.0, 360.0),
    (200.0, 360.0),
    (120.0, 120.0),
)
ALARM = (160.0, 240.0)
NAMES = {PLANE: "plane", BUOY: "buoy"}


def box(centre: tuple[float, float], down: float = 0.0) -> list[float]:
    return [centre[0], centre[1] + down, 24.0, 8.0, 0.0]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Published by the real path, of a detector that knows what is there and errs where it is told to."""
    folder = tmp_path_factory.mktemp("analyst")
    pixels = np.random.default_rng(0).integers(1, 255, (SIDE_PX, SIDE_PX, 3), np.uint8)
    pixels[:DARK_PX] = 0
    write_scene(
        folder / "port.tif", width=SIDE_PX, height=SIDE_PX, bands=3, dtype="uint8", crs=UTM, nodata=0, block_px=128,
        transform=(10.0, 0.0, 400_000.0, 0.0, -10.0, 5_000_000.0),
        render=lambda window: pixels[window.y : window.y1, window.x : window.x1],
    )  # fmt: skip
    extent = shapely.box(400_000, 4_990_000, 400_000 + 10 * EAST_PX, 5_000_000)
    geopandas.GeoDataFrame(geometry=[extent], crs=UTM).to_file(folder / "area.gpkg")
    seen = [one for one in (*GRID, ALARM) if one != UNSEEN]
    boxes = np.array([box(one, 4.0 if one == MOVED else 0.0) for one in seen])
    classes = np.array([int(one in (TAKEN_FOR_PLANE, PLANE)) for one in seen])
    card = ModelCard(name="oracle", classes=("ship", "plane"), gsd_m=None, bands=("red", "green", "blue"), input_px=240,
                     sha256="0" * 64, oriented=True, longest_object_m=None)  # fmt: skip
    config = RunConfig(
        scene=(str(folder / "port.tif"),), out=str(folder / "out"), aoi=str(folder / "area.gpkg"),
        tiling=TilingConfig(tile_px=240, halo_px=48, gsd="native"),
        output=OutputConfig(max_failed_tiles=1, preview_px=0),
    )  # fmt: skip
    executor = LocalExecutor(lambda: Refuses(OracleDetector(boxes, classes, card=card), BAD))
    (scene,) = detect(config, card, executor, SILENT).scenes
    assert (scene.status, scene.tiles_failed) == ("PARTIAL", 1)
    return folder / "out"


def drawn(boxes: FloatArray, crs: str, **columns: Any) -> geopandas.GeoDataFrame:
    """Boxes in scene pixels, as somebody has drawn them on a map."""
    corners = obb_to_corners(boxes) * [10, -10] + [400_000, 5_000_000]
    return geopandas.GeoDataFrame(columns, geometry=list(shapely.polygons(corners)), crs=UTM).to_crs(crs)


@pytest.fixture(scope="module")
def truth(out: Path) -> Path:
    path = out.parent / "truth.gpkg"
    there = [*GRID, BEYOND]
    names = [f"MS {number}" for number in range(len(there))]
    boxes = np.array([box(one) for one in there])
    drawn(boxes, LAEA, kind=[NAMES.get(one, "Ship") for one in there], name=names).to_file(path)
    return path


def test_a_published_run_is_judged_without_its_detector(out: Path, truth: Path, capsys: Said) -> None:
    """Of 36 ships 6 are outside, 5 in the dark, 1 in the bad tile, 1 is a buoy; of 23 three go wrong, and one alarm."""
    report, figures = out.parent / "report", out.parent / "figures.json"
    argv = ["--results", str(out), "--truth", str(truth), "--truth-class-column", "kind"]
    assert evaluate_detector.main([*argv, "--report", str(report), "--json", str(figures)]) == 0
    said = capsys.readouterr().out
    for sentence in (
        "6 objects outside the area of interest: not judged, neither found nor missed",
        "5 objects on invalid ground",
        "1 object in a tile that failed",
        "1 object with its centre beyond the scene",
        "the truth's 'Ship' is taken for the detector's 'ship'",
        "the detector does not know buoy: ignore regions",
    ):
        assert sentence in said
    read = json.loads(figures.read_text())
    counts = ("annotations", "right", "wrong", "missed")
    assert [read["per_class"]["ship"][name] for name in counts] == [22, 19, 2, 3]
    assert [read["per_class"]["plane"][name] for name in counts] == [1, 1, 1, 0]
    page = (report / "report.html").read_text(encoding="utf-8")
    assert "Not judged, and in no figure: 13 more" in page
    assert "data:image/jpeg;base64," in page
    assert "Not known: these detections do not say" not in page, "the record tells the tiles"
    rows = csv.DictReader((report / "matches.csv").read_text(encoding="utf-8").splitlines())
    kinds = Counter(row["kind"] for row in rows)
    assert kinds.pop("not judged") >= 1, "the buoy, and whatever was seen of the bad tile by its neighbours"
    assert kinds == {
        "right": 20, "wrong class": 1, "poor localisation": 1, "background": 1, "missed": 1, "not found": 2,
        "outside the area of interest": 6, "on invalid ground": 5, "in a tile that failed": 1,
        "with its centre beyond the scene": 1,
    }  # fmt: skip


def test_ignore_regions_excuse_what_lies_in_them(out: Path, capsys: Said) -> None:
    """Without truth in the west all detections there are wrong, unless the west is an ignore region."""
    east = out.parent / "east.geojson"
    drawn(np.array([box(one) for one in GRID if one[0] > 240]), "EPSG:4326").to_file(east)
    west = out.parent / "west.shp"
    extent = shapely.box(400_000, 4_990_000, 402_400, 5_000_000)
    geopandas.GeoDataFrame(geometry=[extent], crs=UTM).to_crs("EPSG:3857").to_file(west)
    argv = ["--results", str(out / "port"), "--truth", str(east), "--truth-class-column"]
    assert evaluate_detector.main([*argv, "none"]) == 2, "of two classes nobody knows which"
    assert "no column of the truth" in capsys.readouterr().err
    wrong = []
    labelled = drawn(np.array([box(one) for one in GRID if one[0] > 240]), "EPSG:4326").assign(
        label="ship", **{"class": "K7"}
    )
    labelled.to_file(east)
    for more in ([], ["--ignore", str(west)]):
        assert evaluate_detector.main([*argv[:-1], *more]) == 0
        said = capsys.readouterr().out
        wrong.append(int(said.split("  ship: ")[1].split(" wrong")[0].split()[-1]))
    assert wrong == [14, 0]
    assert "1 of 1 polygons of the ignore regions" in said
    assert "2 detections of plane, which the truth does not know: in no figure" in said


def test_what_cannot_be_judged_is_said_in_one_sentence(out: Path, truth: Path, capsys: Said) -> None:
    folder = out.parent
    boats = drawn(np.array([box(one) for one in GRID]), "EPSG:4326").assign(label="boat")
    boats.to_crs(UTM).to_file(folder / "nowhere.shp")
    (folder / "nowhere.prj").unlink()
    boats.set_geometry(boats.translate(yoff=20)).to_file(folder / "north.geojson")
    boats.to_file(folder / "boats.geojson")
    boats[["geometry"]].to_file(folder / "plain.geojson")
    (folder / "empty").mkdir()
    old = shutil.copytree(out, folder / "old")
    record = json.loads((old / "port" / "run.json").read_text())
    del record["lattice"]
    record["versions"]["kestrel"] = "0.0.3"
    (old / "port" / "run.json").write_text(json.dumps(record))
    torn = shutil.copytree(out, folder / "torn")
    (torn / "port" / "run.json").write_text('{"versions": {"kest')
    stopped = shutil.copytree(out, folder / "stopped")
    (stopped / "port" / "manifest.json").unlink()
    results, of_truth = ["--results", str(out), "--truth"], ["--truth", str(truth)]
    for argv, sentence in (
        ([*results, str(folder / "nowhere.shp")], "names no CRS, so nobody knows where it lies"),
        ([*results, str(folder / "north.geojson")], "does not overlap the scenes: it lies at x 7."),
        (
            [*results, str(folder / "boats.geojson")],
            "knows boat, and the detector finds ship, plane: no class is in both",
        ),
        ([*results, str(folder / "plain.geojson")], "name one with --truth-class-column"),
        ([*results, str(truth), "--truth-class-column", "sort"], "has no column 'sort'; it has kind, name"),
        ([*results, str(folder / "absent.gpkg")], "absent.gpkg"),
        (["--results", str(folder / "empty"), *of_truth], "there is no result in"),
        (["--results", str(old), *of_truth], "was written by kestrel 0.0.3 without 'lattice': detect the scene again"),
        (["--results", str(torn), *of_truth], "in another form (JSONDecodeError("),
        (["--results", str(stopped), *of_truth], "holds no result, for its run failed or has not ended"),
        (["--results", str(out)], "--results and --truth go together"),
        (["--ignore", str(truth)], "--results and --truth go together"),
        ([*results, str(truth), "--strategies", "global"], "--results is of one way of looking"),
        ([*results, str(truth), "--data", str(folder)], "leave out --data"),
    ):
        capsys.readouterr()
        assert evaluate_detector.main(argv) == 2, argv
        said = capsys.readouterr().err.strip()
        assert sentence in said
        assert len(said.splitlines()) == 1


def test_scenes_that_were_moved_are_named_or_do_without_pixels(
    out: Path, truth: Path, tmp_path: Path, capsys: Said
) -> None:
    """Without the scene nobody knows which ships lie in the dark: they are missed. One of another size is none."""
    moved = shutil.copytree(out, tmp_path / "out")
    record = json.loads((moved / "port" / "run.json").read_text())
    (moved / "port" / "run.json").write_text(json.dumps({**record, "origin": ["s3://bucket/port.tif"]}))
    argv = ["--results", str(moved), "--truth", str(truth), "--truth-class-column", "kind", "--report"]
    shutil.copy(out.parent / "port.tif", tmp_path / "port.tif")
    (tmp_path / "small").mkdir()
    write_scene(tmp_path / "small" / "port.tif", width=8, height=8, bands=3, dtype="uint8", crs=UTM, block_px=16,
                transform=(10.0, 0.0, 400_000.0, 0.0, -10.0, 5_000_000.0),
                render=lambda window: np.ones((window.height, window.width, 3), np.uint8))  # fmt: skip
    for more, sentence, missed in (
        ([], "the scene is no file of this machine; say where with --images", 8),
        (["--images", str(tmp_path / "small")], "is another scene now, of 8 x 8 px", 8),
        (["--images", str(tmp_path)], "5 objects on invalid ground", 3),
    ):
        assert evaluate_detector.main([*argv, str(tmp_path / "report"), *more]) == 0
        said = capsys.readouterr().out
        assert sentence in said
        assert f"wrong, {missed} missed" in said.split("  ship: ")[1].splitlines()[0]
        page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
        assert ("data:image/jpeg" in page) == (missed == 3)
        assert ("boxes are drawn without its pixels" in page) == (missed != 3)


def test_coco_json_is_truth_in_the_pixels_of_the_scene(out: Path, truth: Path, capsys: Said) -> None:
    """The truth that a report writes is truth again: the same figures come out."""
    report, printed = out.parent / "again", []
    argv = ["--results", str(out), "--truth", str(truth), "--truth-class-column", "kind", "--report", str(report)]
    for one in (argv, ["--results", str(out), "--truth", str(report / "truth.coco.json")]):
        assert evaluate_detector.main(one) == 0
        printed.append(capsys.readouterr().out.split("(oriented")[0])
    assert printed[0] == printed[1]


def test_files_of_detections_know_their_tiles_by_the_record_beside_them(out: Path, tmp_path: Path) -> None:
    """The page tells recall by distance to a seam for ``--detections`` too: borders lie at 216 and 336 px."""
    known = tmp_path / "truth.json"
    boxes = [(210.0, 40.0), (300.0, 280.0)]
    rows = [
        {"id": n, "image_id": 1, "category_id": 1, "rbox": box(centre), "bbox": [0, 0, 1, 1]}
        for n, centre in enumerate(boxes)
    ]
    known.write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "port.tif"}],
                "categories": [{"id": 1, "name": "ship"}],
                "annotations": rows,
            }
        )
    )
    judged = judged_files([str(out / "port" / "detections.parquet")], known, "val", 0.5)
    assert judged.seam_px["port.tif"].tolist() == [6.0, 36.0]
    alone = tmp_path / "port" / "detections.parquet"
    alone.parent.mkdir()
    shutil.copy(out / "port" / "detections.parquet", alone)
    assert judged_files([str(alone)], known, "val", 0.5).seam_px == {}
    (alone.parent / "run.json").write_text('{"lattice": 5}')
    assert judged_files([str(alone)], known, "val", 0.5).seam_px == {}
