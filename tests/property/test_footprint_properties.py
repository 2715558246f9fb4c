"""Footprints of scenes anywhere, turned any way, across ±180° and around a pole: they hold what the scenes hold."""

from __future__ import annotations

import json

import numpy as np
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from pipeline.georeference.footprint import Footprint, footprint
from pipeline.georeference.georeference import Georeference
from pipeline.outputs.stac_collection import extent
from pipeline.types import FloatArray, Scene

WIDTH, HEIGHT = 1000, 800
MARGIN_PX = 12.0
"""Outlines are told to a few ten-thousandths of their extent, so points near the edge say nothing."""

PLACES = {
    "EPSG:32660": ((500_000.0, 833_000.0), (1e6, 7.5e6)),
    "EPSG:32701": ((166_000.0, 500_000.0), (3e6, 9e6)),
    "EPSG:3832": ((2.8e6, 3.6e6), (-6e6, 6e6)),
    "EPSG:4326": ((179.0, 180.5), (-70.0, 70.0)),
    "EPSG:3995": ((-3e5, 3e5), (-3e5, 3e5)),
    "EPSG:3031": ((-3e5, 3e5), (-3e5, 3e5)),
    "EPSG:32632": ((200_000.0, 800_000.0), (1e6, 9e6)),
}
"""CRS → ranges of the centre of a scene: on both sides of the antimeridian, at the poles, and far from both."""


@st.composite
def places(draw: st.DrawFn) -> Georeference:
    crs = draw(st.sampled_from(sorted(PLACES)))
    x, y = (draw(st.floats(*bounds)) for bounds in PLACES[crs])
    gsd = draw(st.sampled_from([0.3, 10.0, 120.0])) / (111_000.0 if crs == "EPSG:4326" else 1.0)
    turn = draw(st.floats(0, 2 * np.pi))
    mirrored = draw(st.sampled_from([-1.0, 1.0]))
    a, b = gsd * np.cos(turn), -mirrored * gsd * np.sin(turn)
    d, e = gsd * np.sin(turn), mirrored * gsd * np.cos(turn)
    corner = x - a * WIDTH / 2 - b * HEIGHT / 2, y - d * WIDTH / 2 - e * HEIGHT / 2
    made = Georeference.of(
        Scene(
            scene_id="s", uris=("s.tif",), width=WIDTH, height=HEIGHT, bands=(1,), band_count=1, dtype="uint8",
            driver="GTiff", crs_wkt=CRS.from_user_input(crs).to_wkt(),
            transform=(float(a), float(b), float(corner[0]), float(d), float(e), float(corner[1])),
        )
    )  # fmt: skip
    assert made is not None
    return made


def told(place: Georeference) -> Footprint:
    made = footprint(place)
    assert made is not None
    return made


def points(margin: float, *, outside: bool) -> FloatArray:
    """A grid of scene pixels: well inside the scene, or well outside all around it."""
    grid = np.stack(np.meshgrid(np.linspace(-0.5, 1.5, 41), np.linspace(-0.5, 1.5, 41)), axis=-1).reshape(-1, 2)
    grid = grid * (WIDTH, HEIGHT)
    beyond = np.maximum(-grid, grid - (WIDTH, HEIGHT)).max(axis=1)
    return grid[beyond > margin] if outside else grid[beyond < -margin]


@given(places())
def test_a_footprint_holds_what_the_scene_holds_and_nothing_else(place: Georeference) -> None:
    shape = shapely.from_geojson(json.dumps(told(place).geometry))
    for outside in (False, True):
        lonlat = place.scene_to_lonlat(points(MARGIN_PX, outside=outside))
        lonlat = lonlat[np.isfinite(lonlat).all(axis=1)]
        assert (shapely.intersects_xy(shape, lonlat[:, 0], lonlat[:, 1]) != outside).all()


@given(places())
def test_a_footprint_is_valid_and_cut_at_the_antimeridian_as_geojson_wants_it(place: Georeference) -> None:
    made = told(place)
    shape = shapely.from_geojson(json.dumps(made.geometry))
    assert shape.is_valid
    west, south, east, north = shape.bounds
    assert -180 <= west < east <= 180
    assert -90 <= south < north <= 90
    parts = list(shapely.get_parts(shape))
    assert all(part.exterior.is_ccw for part in parts)
    assert (made.bbox[1], made.bbox[3]) == (south, north)
    if made.bbox[0] > made.bbox[2]:
        assert len(parts) > 1
        assert (west, east) == (-180, 180)
        assert made.bbox[0] >= 0 >= made.bbox[2]
    else:
        assert (made.bbox[0], made.bbox[2]) == (west, east)


INTERVALS = st.tuples(st.floats(-180, 179.9), st.floats(0.01, 60), st.floats(-80, 70), st.floats(0.1, 10))


@given(st.lists(INTERVALS, min_size=1, max_size=6))
def test_the_extent_of_many_is_the_shortest_way_around_that_holds_them_all(drawn: list[tuple[float, ...]]) -> None:
    boxes = np.array([[west, south, west + span, south + high] for west, span, south, high in drawn])
    wrapped = boxes.copy()
    wrapped[:, 2] = np.where(boxes[:, 2] > 180, boxes[:, 2] - 360, boxes[:, 2])
    west, south, east, north = extent(wrapped)
    assert south == boxes[:, 1].min()
    assert north == boxes[:, 3].max()
    width = (east - west) % 360 or 360.0
    for start, _, end, _ in boxes.tolist():
        offset = (start - west + 1e-6) % 360 - 1e-6
        assert width == 360 or offset + (end - start) <= width + 1e-5
    # No narrower one: every way that holds them all begins at the west end of one of them.
    starts, spans = boxes[:, 0], boxes[:, 2] - boxes[:, 0]
    ways = [float((((starts - start) % 360) + spans).max()) for start in starts]
    assert width <= min(min(ways), 360.0) + 1e-5
