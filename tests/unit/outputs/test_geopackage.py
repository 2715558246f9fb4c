"""GeoPackage files: the same bytes whenever written, and what they hold."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pyogrio
import pytest

from pipeline.errors import StorageError
from pipeline.outputs.geopackage import write, write_gpkg
from pipeline.outputs.result import Result
from pipeline.outputs.tables import DETECTION_SCHEMA
from tests.support.outputs import UTM_32N, sample


@pytest.mark.parametrize("n", [0, 500])
@pytest.mark.parametrize("crs", [UTM_32N.to_wkt(), None])
def test_gpkg_bytes_are_the_same_whenever_it_is_written(n: int, crs: str | None, tmp_path: Path) -> None:
    table = sample(n).table()
    write_gpkg(table, tmp_path / "a.gpkg", crs)
    time.sleep(1.1)  # GeoPackage times have milliseconds, SQLite's own change counters seconds
    write_gpkg(table, tmp_path / "b.gpkg", crs)
    assert (tmp_path / "a.gpkg").read_bytes() == (tmp_path / "b.gpkg").read_bytes()


def test_gpkg_of_a_pixel_scene_has_the_undefined_cartesian_crs(tmp_path: Path) -> None:
    write_gpkg(sample(5, georeferenced=False).table(), tmp_path / "d.gpkg", None)
    with sqlite3.connect(tmp_path / "d.gpkg") as database:
        assert database.execute("SELECT table_name, srs_id FROM gpkg_contents").fetchall() == [("detections", -1)]
        assert database.execute("SELECT srs_id FROM gpkg_geometry_columns").fetchall() == [(-1,)]
    database.close()


def test_gpkg_has_every_column_of_the_table(tmp_path: Path) -> None:
    write_gpkg(sample(5).table(), tmp_path / "d.gpkg", UTM_32N.to_wkt())
    info = pyogrio.read_info(tmp_path / "d.gpkg", layer="detections")
    assert list(info["fields"]) == [name for name in DETECTION_SCHEMA.names if name not in ("geometry", "bbox")]


def test_gpkg_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot write d\.gpkg"):
        write_gpkg(sample(5).table(), tmp_path / "missing" / "d.gpkg", None)


def test_the_gdal_options_of_the_process_are_left_as_they_were(tmp_path: Path) -> None:
    write_gpkg(sample(1).table(), tmp_path / "d.gpkg", None)
    assert pyogrio.get_gdal_config_option("OGR_CURRENT_DATE") is None


@pytest.mark.parametrize("scene_id", ["gpkg_1", "2023.v2-x", "sqlite_sequence", "select", "a" * 120])
def test_the_layer_carries_the_scene_whatever_its_name(scene_id: str, tmp_path: Path) -> None:
    """Names that SQLite or the format keep for themselves too; also where nothing was found."""
    for rows in (0, 5):
        folder = tmp_path / str(rows)
        folder.mkdir()
        write(Result(table=sample(rows).table(), georeference=None, scene_id=scene_id), folder)
        assert pyogrio.list_layers(folder / "detections.gpkg")[:, 0].tolist() == [f"detections_{scene_id}"]
        info = pyogrio.read_info(folder / "detections.gpkg")
        assert (info["features"], (folder / "detections.qml").exists()) == (rows, True)


def test_where_no_database_can_be_written_in_place_it_is_made_elsewhere_and_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a mounted bucket, where a file is written from its beginning to its end."""
    write_gpkg(sample(20).table(), tmp_path / "plain.gpkg", UTM_32N.to_wkt())
    bucket, plain = tmp_path / "bucket", pyogrio.write_arrow
    bucket.mkdir()

    def no_database(table: object, path: Path, **how: object) -> None:
        if path.parent == bucket:
            path.write_bytes(b"half")
            raise pyogrio.errors.DataSourceError("disk I/O error")
        plain(table, path, **how)

    monkeypatch.setattr(pyogrio, "write_arrow", no_database)
    write_gpkg(sample(20).table(), bucket / "d.gpkg", UTM_32N.to_wkt())
    assert (bucket / "d.gpkg").read_bytes() == (tmp_path / "plain.gpkg").read_bytes()
