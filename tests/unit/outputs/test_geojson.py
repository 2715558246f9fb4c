"""GeoJSON by the letter of RFC 7946."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.outputs.geojson import write_geojson
from pipeline.outputs.wkb import polygon_corners
from tests.support.outputs import Sample, box_corners, sample, utm_to_lonlat


def degrees(points: np.ndarray) -> np.ndarray:
    """World coordinates that are longitude and latitude already."""
    return points


def in_degrees(boxes: list[tuple[float, float, float, float, float]]) -> Sample:
    """A sample whose boxes are given in degrees."""
    few, array = sample(len(boxes)), np.array(boxes, np.float64).reshape(-1, 5)
    return Sample(box_corners(array), few.px_boxes, few.measures, few.detections, few.identity, few.tile_ids)


def features(table, path: Path, to_lonlat=utm_to_lonlat, **how) -> list[dict]:
    write_geojson(table, path, to_lonlat, **how)
    collection = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda text: pytest.fail(text))
    assert set(collection) == {"type", "features"}, "RFC 7946 knows no crs member"
    assert collection["type"] == "FeatureCollection"
    return collection["features"]


@pytest.mark.parametrize("n", [0, 1, 99, 100, 101, 200])
def test_geojson_is_valid_for_any_number_of_features(n: int, tmp_path: Path) -> None:
    """Also at the seams between streamed chunks."""
    assert len(features(sample(n).table(), tmp_path / "d.geojson", chunk_rows=100)) == n


def test_geojson_tells_all_properties_as_the_table_has_them(tmp_path: Path) -> None:
    table = sample(300).table()
    expected = table.drop_columns(["geometry", "bbox"]).to_pylist()
    for feature, row in zip(features(table, tmp_path / "d.geojson"), expected, strict=True):
        assert list(feature["properties"]) == list(row)
        for name, value in row.items():
            told = feature["properties"][name]
            assert told == (pytest.approx(value, rel=1e-5, abs=1e-4) if isinstance(value, float) else value), name


def test_geojson_places_corners_to_a_millimetre(tmp_path: Path) -> None:
    table = sample(300).table()
    rings = np.array([f["geometry"]["coordinates"][0] for f in features(table, tmp_path / "d.geojson")])
    truth = utm_to_lonlat(polygon_corners(table).reshape(-1, 2)).reshape(-1, 4, 2)
    assert np.abs(rings[:, :4] - truth).max() <= 0.51e-8  # degrees; 1e-8 is 1.1 mm


@pytest.mark.parametrize("georeferenced", [True, False])
def test_rings_are_closed_and_right_handed(georeferenced: bool, tmp_path: Path) -> None:
    """RFC 7946 §3.1.6, also where the map from world to degrees mirrors (a pixel frame has y pointing down)."""
    table = sample(200, georeferenced=georeferenced).table()
    mirror = utm_to_lonlat if georeferenced else (lambda points: points * (1e-4, -1e-4))
    rings = [shapely.LinearRing(f["geometry"]["coordinates"][0]) for f in features(table, tmp_path / "d", mirror)]
    assert all(ring.is_ccw for ring in rings)
    assert all(len(ring.coords) == 5 and ring.coords[0] == ring.coords[-1] for ring in rings)


@given(
    longitude=st.sampled_from([180.0, -180.0, 179.9999, -179.9999]),
    latitude=st.floats(-80, 80),
    angle=st.floats(-1.5, 1.5),
    convention=st.sampled_from(["signed", "0 to 360"]),
)
@settings(max_examples=30)
def test_a_box_across_the_antimeridian_is_cut_there(
    longitude: float, latitude: float, angle: float, convention: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Both parts lie in [-180, 180], are right-handed, and together are as large as the box."""
    table = in_degrees([(longitude, latitude, 0.01, 0.004, angle)]).table()

    def wrapped(points: np.ndarray) -> np.ndarray:
        shift = 180 if convention == "signed" else 0
        return np.column_stack([(points[:, 0] + shift) % 360 - shift, points[:, 1]])

    (feature,) = features(table, tmp_path_factory.mktemp("cut") / "d.geojson", wrapped)
    shape = shapely.geometry.shape(feature["geometry"])
    assert isinstance(shape, shapely.MultiPolygon)
    assert len(shape.geoms) == 2
    west, _, east, _ = shape.bounds
    assert (west, east) == (-180.0, 180.0)
    assert all(part.exterior.is_ccw for part in shape.geoms)
    assert shape.area == pytest.approx(0.01 * 0.004, rel=1e-3)
    assert all(part.bounds[2] - part.bounds[0] < 0.02 for part in shape.geoms)


@pytest.mark.parametrize(("epsg", "pole"), [(3413, 90.0), (3031, -90.0)])
def test_a_box_around_a_pole_reaches_to_it(epsg: int, pole: float, tmp_path: Path) -> None:
    """On a map of degrees it is all between its corners and the pole; straight edges are other ones there."""
    to_degrees = pyproj.Transformer.from_crs(epsg, "OGC:CRS84", always_xy=True)
    table = in_degrees([(20.0, -10.0, 100.0, 60.0, 0.3)]).table()  # metres, in fact
    (feature,) = features(table, tmp_path / "a", lambda points: np.column_stack(to_degrees.transform(*points.T)))
    (part,) = shapely.geometry.shape(feature["geometry"]).geoms
    assert part.is_valid
    assert part.exterior.is_ccw
    assert {part.bounds[0], part.bounds[2]} == {-180.0, 180.0}
    assert pole in (part.bounds[1], part.bounds[3])
    assert part.contains(shapely.Point(*to_degrees.transform(30.0, -10.0)))
    assert not part.contains(shapely.Point(*to_degrees.transform(20.0, 60.0)))


def test_longitudes_beyond_180_come_home_and_what_has_no_place_is_null(tmp_path: Path) -> None:
    table = in_degrees([(200.0, 10.0, 0.01, 0.004, 0.3)]).table()
    (feature,) = features(table, tmp_path / "a", degrees)
    assert shapely.geometry.shape(feature["geometry"]).centroid.x == pytest.approx(-160.0, abs=1e-6)
    (feature,) = features(table, tmp_path / "b", lambda points: np.full_like(points, np.inf))
    assert feature["geometry"] is None


def test_geojson_streams(tmp_path: Path) -> None:
    """Memory at ten chunks of features is hardly above that at two: no list of everything."""
    peaks = []
    for n in (1_000, 5_000):
        table = sample(n).table()
        tracemalloc.start()
        write_geojson(table, tmp_path / "d.geojson", utm_to_lonlat, chunk_rows=500)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.25 * peaks[0], f"{peaks[0] / 1e6:.0f} and {peaks[1] / 1e6:.0f} MB"
