"""Every format that is written keeps the contract of formats, by readers that are not ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pyogrio

from pipeline.outputs.formats import FORMATS
from tests.contracts.output_format import FormatContract


class TestGeoParquet(FormatContract):
    name = "parquet"
    files = frozenset({"detections.parquet"})
    placeless = files

    def read(self, folder: Path) -> list[dict[str, Any]]:
        with duckdb.connect() as database:
            found = database.execute(f"SELECT * EXCLUDE (geometry) FROM read_parquet('{folder}/detections.parquet')")
            names = [column[0] for column in found.description]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


class TestGeoPackage(FormatContract):
    name = "gpkg"
    files = frozenset({"detections.gpkg", "detections.qml"})
    placeless = files

    def read(self, folder: Path) -> list[dict[str, Any]]:
        return pyogrio.read_arrow(folder / "detections.gpkg")[1].to_pylist()


class TestGeoJson(FormatContract):
    name = "geojson"
    files = frozenset({"detections.geojson"})
    placeless = frozenset[str]()

    def read(self, folder: Path) -> list[dict[str, Any]]:
        collection = json.loads((folder / "detections.geojson").read_text())
        return [feature["properties"] for feature in collection["features"]]


def test_every_format_is_under_contract() -> None:
    assert {kind.name for kind in FormatContract.__subclasses__()} == set(FORMATS)
