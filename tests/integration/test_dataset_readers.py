"""The table of all detections as others read it: DuckDB, GeoPandas and the GeoParquet validator."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pytest

from pipeline.catalogue.compaction import compact
from pipeline.catalogue.detections import update
from pipeline.catalogue.results import published_results
from tests.support.results import MadeScene, boxes_at, dataset_rows

SCENE = MadeScene(
    scene_id="a", boxes=boxes_at(np.random.default_rng(0).uniform(20, 980, (200, 2))), scores=np.linspace(0.3, 0.9, 200)
)
SCENES = (
    SCENE,
    replace(SCENE, scene_id="again", acquired="2023-07-14T10:21:00Z"),
    replace(SCENE, scene_id="south", epsg=32733, origin=(300_000, 6_200_000), acquired="2023-08-01"),
    replace(SCENE, scene_id="timeless", origin=(700_000, 5_600_000), acquired=None),
)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("out"))
    for scene in SCENES:
        scene.publish(folder)
    update(folder, published_results(folder))
    compact(folder, parts=2)
    return folder


def files(out: str) -> list[str]:
    base = Path(out) / "_catalogue/detections"
    return [str(base / one["path"]) for one in json.loads((base / "snapshot.json").read_text())["files"]]


def test_duckdb_counts_by_month_and_cell_what_the_snapshot_lists(out: str) -> None:
    """As the page says it: the list of files straight from ``snapshot.json``, the months from the folders' names."""
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    base = f"{out}/_catalogue/detections"
    with duckdb.connect() as database:
        database.execute(
            f"set variable files = (select list('{base}/' || file.path) from "
            f"(select unnest(files) as file from read_json('{base}/snapshot.json')))"
        )
        found = database.execute(
            "select month, floor(lon / 0.05), floor(lat / 0.05), count(*) "
            "from read_parquet(getvariable('files'), hive_partitioning = true) where \"primary\" group by all"
        ).fetchall()
    months = {"a": "2023-07", "south": "2023-08", "timeless": "unknown"}
    expected = Counter(
        (months[row["scene_id"]], row["lon"] // 0.05, row["lat"] // 0.05)
        for row in dataset_rows(out)
        if row["scene_id"] != "again"
    )
    assert {row[:3]: row[3] for row in found} == expected
    assert sum(expected.values()) == 600


def test_geopandas_reads_it_as_one_frame_and_by_bounds(out: str) -> None:
    frames = [geopandas.read_parquet(file) for file in files(out)]
    assert {str(frame.crs) for frame in frames} == {"OGC:CRS84"}
    assert sum(len(frame) for frame in frames) == 800
    (north,) = [frame for frame in frames if set(frame["scene_id"]) == {"a", "again"}]
    window = (*np.quantile(north[["lon", "lat"]], 0.4, axis=0), *np.quantile(north[["lon", "lat"]], 0.6, axis=0))
    few = geopandas.read_parquet(_file_of(out, "again"), bbox=window)
    assert 0 < len(few) < 200
    assert set(north.cx[window[0] : window[2], window[1] : window[3]]["detection_id"]) <= set(few["detection_id"])


def _file_of(out: str, scene_id: str) -> str:
    (file,) = [file for file in files(out) if scene_id in set(geopandas.read_parquet(file)["scene_id"])]
    return file


def test_the_geoparquet_validator_finds_every_file_conformant(out: str) -> None:
    tool = Path(sys.executable).with_name("geoparquet-validator")
    for file in files(out):
        said = subprocess.run([tool, "check", file], capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stdout
        assert "FAIL" not in said.stdout
        assert not [line for line in said.stdout.splitlines() if line.strip().startswith("warn")], said.stdout
