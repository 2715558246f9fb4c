"""Files that were meant for something else than an area of interest: nothing is followed, run or fetched."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely

from pipeline.errors import ConfigError
from pipeline.georeference.area_files import read_aoi
from tests.support.areas import geojson
from tests.support.witness import witness


def test_an_area_is_read_from_files_only(tmp_path: Path) -> None:
    """GDAL would take database addresses and read other files through a VRT; an area of interest may do neither."""
    with pytest.raises(ConfigError, match="there is no file"):
        read_aoi("PG:host=localhost dbname=secrets")
    (tmp_path / "other.geojson").write_text(json.dumps(shapely.geometry.mapping(shapely.box(0, 0, 1, 1))))
    layer = '<OGRVRTLayer name="other"><SrcDataSource relativeToVRT="1">other.geojson</SrcDataSource></OGRVRTLayer>'
    (tmp_path / "aoi.geojson").write_text(f"<OGRVRTDataSource>{layer}</OGRVRTDataSource>")
    with pytest.raises(ConfigError, match="no vector file of an allowed format"):
        read_aoi(str(tmp_path / "aoi.geojson"))


@pytest.mark.parametrize("kind", ["link", "URL", "proj4"])
def test_the_crs_of_a_geojson_is_not_fetched(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with witness(monkeypatch) as listener:
        address = {"href": f"{listener.url}/crs", "url": f"{listener.url}/crs", "type": "proj4"}
        for crs in ({"type": kind, "properties": address}, {"properties": address, "type": kind}):
            with pytest.raises(ConfigError, match="CRS as an address"):
                read_aoi(geojson(tmp_path / "a.geojson", crs=crs))
        text = Path(geojson(tmp_path / "b.geojson", crs={"type": kind, "properties": address})).read_text()
        named = '"crs": {"type": "name", "properties": {"name": "EPSG:4326"}}, "features"'
        (tmp_path / "b.geojson").write_text(text.replace('"features"', named))  # the key twice: either is judged
        with pytest.raises(ConfigError, match="CRS as an address"):
            read_aoi(str(tmp_path / "b.geojson"))
        assert not listener.called()


def test_a_crs_by_name_is_taken_and_nonsense_is_wgs84(tmp_path: Path) -> None:
    def named(name: str) -> dict[str, object]:
        return {"type": "name", "properties": {"name": name}}

    assert read_aoi(geojson(tmp_path / "a.geojson", crs=named("urn:ogc:def:crs:EPSG::3857")))[1] == "EPSG:3857"
    for name in ("/etc/passwd", "http://127.0.0.1:9/crs", "+proj=longlat +nadgrids=/etc/passwd"):
        assert read_aoi(geojson(tmp_path / "b.geojson", crs=named(name)))[0].area == 1


POINTER = "/vsicurl/http://127.0.0.1:9/x.geojson"
LAYER = f"<OGRVRTLayer name='a'><SrcDataSource>{POINTER}</SrcDataSource></OGRVRTLayer>"
VIRTUAL_LAYER = f"<OGRVRTDataSource>{LAYER}</OGRVRTDataSource>"
FOREIGN = {
    "virtual layer": VIRTUAL_LAYER,
    "virtual layer behind a comment": f"<!--{'x' * 5000}-->{VIRTUAL_LAYER}",
    "pipeline": json.dumps({"type": "gdal_streamed_alg", "command_line": f"gdal vector pipeline ! read {POINTER}"}),
    "pipeline behind spaces": "{" + " " * 5000 + f'"type": "gdal_streamed_alg", "command_line": "read {POINTER}"' + "}",
    "topojson": '{"type":"Topology","objects":{},"arcs":[]}',
    "gml": "<gml:FeatureCollection xmlns:gml='http://www.opengis.net/gml'/>",
    "csv": 'id,WKT\n1,"POLYGON((0 0,1 0,1 1,0 0))"\n',
    "kml": "<kml xmlns='http://www.opengis.net/kml/2.2'/>",
    "nothing": "",
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("suffix", ["geojson", "vrt", "gml", "json"])
def test_formats_outside_the_list_are_refused_whatever_they_are_called(kind: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"aoi.{suffix}"
    path.write_text(FOREIGN[kind])
    with pytest.raises(ConfigError, match="no vector file of an allowed format"):
        read_aoi(str(path))
    assert [one.name for one in tmp_path.iterdir()] == [path.name], "nothing is written beside it"


@pytest.mark.parametrize("name", ["/vsicurl/http://127.0.0.1:9/a.geojson", "a\nb", "a\0b", "PG:dbname=x", "x" * 300])
def test_hostile_names_of_areas_are_refused(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_aoi(name)
    assert str(caught.value).isprintable()


def test_a_name_means_the_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``!`` divides archive and member for some libraries: here it is a letter."""
    (tmp_path / "inside.geojson").write_text(json.dumps(shapely.geometry.mapping(shapely.box(0, 0, 3, 3))))
    monkeypatch.chdir(tmp_path)
    assert read_aoi(geojson(tmp_path / "x.zip!inside.geojson"))[0].area == 1


@pytest.mark.parametrize(
    "sql",
    ["CREATE VIEW endless AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
     "CREATE VIRTUAL TABLE words USING fts4(body)"],
)  # fmt: skip
def test_a_geopackage_with_programs_is_refused(sql: str, tmp_path: Path) -> None:
    wkb = np.array([shapely.to_wkb(shapely.box(0, 0, 1, 1))], object)
    pyogrio.raw.write(tmp_path / "a.gpkg", wkb, [], [], driver="GPKG", geometry_type="Polygon", crs="EPSG:4326")
    with closing(sqlite3.connect(tmp_path / "a.gpkg")) as database:
        database.execute(sql)
        database.commit()
    with pytest.raises(ConfigError, match="is a program"):
        read_aoi(str(tmp_path / "a.gpkg"))


@pytest.mark.parametrize("magic", [b"SQLite format 3\0", b"fgb\x03fgb\x01", b"\x00\x00\x27\x0a"])
def test_the_right_first_bytes_alone_are_not_enough(magic: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(magic + bytes(200))
    with pytest.raises(ConfigError) as caught:
        read_aoi(str(tmp_path / "a.bin"))
    assert "\n" not in str(caught.value)
