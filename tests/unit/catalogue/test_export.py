"""``kestrel export``: what is asked for, in every format, from scenes of several CRS; what cannot be, in a sentence."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pyogrio
import pytest

from jobs.export_detections import main
from pipeline.catalogue.detections import update
from pipeline.catalogue.results import published_results
from pipeline.catalogue.withdrawn import Withdrawal, note_withdrawn
from pipeline.errors import StorageError
from tests.support.results import MadeScene, boxes_at

A = MadeScene(
    scene_id="a",
    boxes=boxes_at([[100, 100], [300, 500], [800, 800]]),
    scores=np.array([0.9, 0.6, 0.3]),
    class_ids=[0, 1, 0],
)
TWIN = replace(A, scene_id="twin", scores=np.array([0.8, 0.5, 0.2]), acquired="2023-07-14T10:20:50Z")
"""The same place twenty seconds later: every object is seen again."""
B = MadeScene(
    scene_id="b", boxes=boxes_at([[200, 700]]), epsg=32733, origin=(300_000, 6_200_000), acquired="2024-01-31"
)
KIRIBATI = MadeScene(
    scene_id="kiribati",
    boxes=boxes_at([[500, 90], [600, 90]]),
    epsg=32701,
    origin=(161_021.0, 9_999_000.0),
    acquired=None,
)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Four scenes, collected."""
    folder = str(tmp_path_factory.mktemp("out"))
    for scene in (A, TWIN, B, KIRIBATI):
        scene.publish(folder)
    update(folder, published_results(folder))
    return folder


def exported(out: str, file: Path, *flags: str) -> int:
    return main([out, "--file", str(file), *flags], "kestrel export")


@pytest.mark.parametrize("suffix", ["gpkg", "fgb", "geojson", "parquet"])
def test_geopandas_opens_every_format_and_finds_the_same(out: str, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"all of it.{suffix}"
    assert exported(out, file) == 0
    frame = geopandas.read_parquet(file) if suffix == "parquet" else geopandas.read_file(file)
    assert len(frame) == 6
    assert frame.crs.is_geographic
    assert sorted(frame["scene_id"]) == ["a"] * 3 + ["b"] + ["kiribati"] * 2
    assert frame["score"].max() == pytest.approx(0.9)
    inside = frame[frame["scene_id"] != "kiribati"]
    assert inside.geometry.contains(
        geopandas.GeoSeries.from_xy(inside["lon"], inside["lat"], index=inside.index, crs=frame.crs)
    ).all()
    assert frame.geometry.is_valid.all()
    assert set(frame.geometry.geom_type) == {"Polygon", "MultiPolygon"}  # one box lies across ±180°
    if suffix == "gpkg":
        assert pyogrio.list_layers(file)[0, 0] == "all_of_it"
    assert sorted(path.name for path in tmp_path.iterdir()) == [file.name]


def test_it_is_said_how_many_rows_are_of_withdrawn_scenes(
    out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = Withdrawal(sentence="its feed shows it no more", since="2026-11-28T12:00:00+00:00")
    note_withdrawn(out, dict.fromkeys(("twin", "kiribati"), gone), ())
    try:
        assert exported(out, tmp_path / "all.csv") == 0
        assert "note: 2 of the detections are of 1 scenes that are withdrawn" in capsys.readouterr().err
        assert exported(out, tmp_path / "all.csv", "--all-views") == 0
        assert "note: 5 of the detections are of 2 scenes that are withdrawn" in capsys.readouterr().err
        assert exported(out, tmp_path / "all.csv", "--class", "none") == 0
        assert "withdrawn" not in capsys.readouterr().err
    finally:
        note_withdrawn(out, {}, ("twin", "kiribati"))


def test_csv_and_tiles(out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exported(out, tmp_path / "all.csv") == 0
    assert "3 further views" in capsys.readouterr().err
    assert exported(out, tmp_path / "all.csv", "--all-views") == 0
    assert capsys.readouterr().err == ""
    with (tmp_path / "all.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9
    assert {row["acquired_utc"] for row in rows} == {
        "2023-07-14T10:20:30Z",
        "2023-07-14T10:20:50Z",
        "2024-01-31T00:00:00Z",
        "",
    }
    assert all(row["geometry"].startswith(("POLYGON", "MULTIPOLYGON")) for row in rows)
    assert exported(out, tmp_path / "all.pmtiles") == 0
    assert (tmp_path / "all.pmtiles").read_bytes()[:7] == b"PMTiles"


@pytest.mark.parametrize(
    ("flags", "scenes"),
    [
        (("--all-views", "--min-score", "0.55"), ["a", "a", "twin"]),
        (("--class", "plane", "--all-views"), ["a", "twin"]),
        (("--since", "2023-08"), ["b"]),
        (("--until", "2023-07"), ["a", "a", "a"]),
        (("--since", "2023-07-14T10:20:40Z", "--until", "2023-07-14", "--all-views"), ["twin"] * 3),
        (("--bbox", "179,-20,-179,15"), ["kiribati", "kiribati"]),
        (("--bbox", "-180,-90,-179.95,90"), ["kiribati"]),
        (("--bbox", "12,-40,20,0"), ["b"]),
        (("--where", "score BETWEEN .55 AND 0.95 and not class_name = 'ship'"), ["a"]),
        (("--where", "acquired is null or scene_id in ('b', 'x')"), ["b", "kiribati", "kiribati"]),
        (("--where", "acquired_utc >= '2024-01-01' and (px_cx > 100) and edge = false"), ["b"]),
        (("--where", "score > 1"), []),
        (("--where", "acquired not in ('x') and not acquired in ('y')"), ["a", "a", "a", "b"]),
        (("--where", "n_merged in (0.5, 99999999999999999999) or class_id >= 99999999999999999999"), []),
    ],
)  # fmt: skip
def test_what_is_asked_for_and_nothing_else(
    out: str, tmp_path: Path, flags: tuple[str, ...], scenes: list[str]
) -> None:
    file = tmp_path / "some.geojson"
    assert exported(out, file, *flags) == 0
    found = json.loads(file.read_text())["features"]
    assert sorted(one["properties"]["scene_id"] for one in found) == scenes


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--where", "scor > 0.5"), "did you mean score?"),
        (("--where", "nonsense > 0.5"), "there are detection_id, scene_id"),
        (("--where", "score > 'high'"), "compares score with ''high'', and it is a number"),
        (("--where", "class_name = 3"), "a text in single quotes"),
        (("--where", "score > 0.5 edge"), "where it should end"),
        (("--where", "(score > 0.5"), "lacks ')' before 'its end'"),
        (("--where", "score > __import__('os')"), "compares score with"),
        (("--where", "score ; drop"), "makes no sense from"),
        (("--where", "acquired_utc > '0001-01-01T00:00:00+05:00'"), "no ISO 8601 time"),
        (("--where", "(" * 9000 + "edge"), "more than 50 brackets"),
        (("--where", ""), "name of a column"),
        (("--bbox", "1,2,3"), "WEST,SOUTH,EAST,NORTH"),
        (("--bbox", "1,50,3,40"), "south first"),
        (("--since", "yesterday"), "is no time"),
        (("--since", "2023-08", "--until", "2023-06"), "ends before --since '2023-08' begins"),
        (("--min-score", "50"), "--min-score 50 is no score"),
        (("--min-score", "nan"), "--min-score nan is no score"),
    ],
)  # fmt: skip
def test_nonsense_is_one_sentence(
    out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], said: str
) -> None:
    assert exported(out, tmp_path / "none.csv", *flags) == 2
    sentence = capsys.readouterr().err
    assert said in sentence
    assert sentence.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_it_works_where_nobody_has_collected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    for scene in (A, TWIN, replace(B, epsg=None)):
        scene.publish(out)
    assert exported(out, tmp_path / "x.csv") == 0
    said = capsys.readouterr()
    assert "3 detections" in said.out
    assert "kestrel collect makes it faster" in said.err
    assert "1 scenes have no place on Earth" in said.err
    assert not (Path(out) / "_catalogue").exists()
    update(out, published_results(out, ["a"]))
    assert exported(out, tmp_path / "x.csv") == 0
    assert "2 results are not among them yet" in capsys.readouterr().err
    assert exported(f"{out}/a", tmp_path / "x.csv") == 2
    assert exported(str(tmp_path / "nowhere"), tmp_path / "x.csv") == 2
    assert "holds no results" in capsys.readouterr().err


def test_a_damaged_file_of_the_catalogue_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    for scene in (A, B):
        scene.publish(out)
    update(out, published_results(out))
    for part in Path(out).glob("_catalogue/detections/model=*/*/*.parquet"):
        part.write_bytes(b"PAR1")
    for to in ("csv", "gpkg"):
        assert exported(out, tmp_path / f"x.{to}") == 5
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "damaged or gone: remove the folder _catalogue/detections" in said
    TWIN.publish(out)
    with pytest.raises(StorageError, match="damaged or gone"):
        update(out, published_results(out))


def test_a_file_that_was_there_stays_when_the_export_fails(out: str, tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("old")
    assert exported(out, tmp_path / "old.csv", "--where", "nothing") == 2
    assert (tmp_path / "old.csv").read_text() == "old"
    assert exported(out, tmp_path / "no folder" / "x.csv") == 2
    assert exported(out, tmp_path) == 2
    assert exported(out, tmp_path / "x.shp") == 2


def test_help_answers_without_heavy_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "--where" in capsys.readouterr().out
    assert sys.modules["jobs.export_detections"]
