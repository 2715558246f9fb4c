"""The Parquet file of the detections table, by GeoParquet 1.1."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq

from pipeline.outputs.geoparquet import read_detections
from pipeline.outputs.tables import ROW_GROUP_ROWS
from pipeline.outputs.wkb import polygon_corners
from tests.support.outputs import sample, write_sample


def test_file_metadata_follows_geoparquet_1_1(tmp_path: Path) -> None:
    file = pq.ParquetFile(write_sample(sample(100).table(), tmp_path / "d.parquet"))
    metadata = {key.decode(): value.decode() for key, value in file.schema_arrow.metadata.items()}
    geo = json.loads(metadata["geo"])
    column = geo["columns"]["geometry"]
    assert (geo["version"], geo["primary_column"], column["encoding"]) == ("1.1.0", "geometry", "WKB")
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 32632}
    assert column["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    corners = polygon_corners(read_detections(tmp_path / "d.parquet"))
    assert column["bbox"] == [*corners.min(axis=(0, 1)), *corners.max(axis=(0, 1))]
    assert (metadata["sensor"], metadata["acquired"]) == ("S2", "2026")
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_a_pixel_scene_has_crs_null_and_an_empty_file_no_row_group(tmp_path: Path) -> None:
    file = pq.ParquetFile(write_sample(sample(0, georeferenced=False).table(), tmp_path / "d.parquet", crs=None))
    column = json.loads(file.schema_arrow.metadata[b"geo"])["columns"]["geometry"]
    assert column["crs"] is None
    assert "crs" in column, "a missing crs would mean longitude and latitude"
    assert "bbox" not in column
    assert file.metadata.num_row_groups == 0


def test_row_groups_are_bounded(tmp_path: Path) -> None:
    file = pq.ParquetFile(write_sample(sample(ROW_GROUP_ROWS + 1).table(), tmp_path / "d.parquet"))
    assert [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)] == [ROW_GROUP_ROWS, 1]
