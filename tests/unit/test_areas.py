"""Areas of interest: four formats, whatever they are called, and nothing that leads anywhere else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyogrio
import pyproj
import pytest
import shapely

from pipeline.areas import read_aoi
from pipeline.errors import ConfigError

SQUARES = shapely.MultiPolygon([shapely.box(9, 50, 10, 51), shapely.box(9.5, 50, 11, 51)])


@pytest.mark.parametrize(
    ("suffix", "driver"), [("geojson", "GeoJSON"), ("gpkg", "GPKG"), ("shp", "ESRI Shapefile"), ("fgb", "FlatGeobuf")]
)
def test_an_area_of_interest_is_the_union_of_a_files_polygons(suffix: str, driver: str, tmp_path: Path) -> None:
    path = tmp_path / f"aoi.{suffix}"
    wkb = np.array([shapely.to_wkb(part) for part in SQUARES.geoms], object)
    pyogrio.raw.write(path, wkb, [], [], driver=driver, geometry_type="Polygon", crs="EPSG:4326")
    area, crs = read_aoi(str(path))
    assert area.equals(shapely.box(9, 50, 11, 51))
    assert crs is not None
    assert pyproj.CRS.from_user_input(crs).equals(4326, ignore_axis_order=True)


def test_an_area_in_another_crs_keeps_it(tmp_path: Path) -> None:
    wkb = np.array([shapely.to_wkb(shapely.box(4e5, 5e6, 5e5, 6e6))], object)
    pyogrio.raw.write(tmp_path / "a.gpkg", wkb, [], [], driver="GPKG", geometry_type="Polygon", crs="EPSG:32632")
    assert "32632" in read_aoi(str(tmp_path / "a.gpkg"))[1]


def test_a_bow_tie_is_repaired(tmp_path: Path) -> None:
    bow_tie = {"type": "Polygon", "coordinates": [[[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]]}
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "Feature", "properties": {}, "geometry": bow_tie}))
    area, _ = read_aoi(str(tmp_path / "a.geojson"))
    assert area.is_valid
    assert area.area == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "there is no file"),
        ("not a map", "no vector file"),
        ('{"type":"FeatureCollection","features":[]}', "holds no polygon"),
        ('{"type":"Feature","properties":{},"geometry":{"type":"Point","coordinates":[1,2]}}', "holds no polygon"),
        ('{"type":"Feature","properties":{},"geometry":null}', "holds no polygon"),
    ],
)
def test_what_is_no_area_is_refused_in_one_sentence(content: str | None, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "aoi.geojson"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=reason) as caught:
        read_aoi(str(path))
    assert "\n" not in str(caught.value)


def test_an_area_is_read_from_files_only(tmp_path: Path) -> None:
    """GDAL would take database addresses and read other files through a VRT; an area of interest may do neither."""
    with pytest.raises(ConfigError, match="there is no file"):
        read_aoi("PG:host=localhost dbname=secrets")
    (tmp_path / "other.geojson").write_text(json.dumps(shapely.geometry.mapping(shapely.box(0, 0, 1, 1))))
    layer = '<OGRVRTLayer name="other"><SrcDataSource relativeToVRT="1">other.geojson</SrcDataSource></OGRVRTLayer>'
    (tmp_path / "aoi.geojson").write_text(f"<OGRVRTDataSource>{layer}</OGRVRTDataSource>")
    with pytest.raises(ConfigError, match="no vector file of an allowed format"):
        read_aoi(str(tmp_path / "aoi.geojson"))
