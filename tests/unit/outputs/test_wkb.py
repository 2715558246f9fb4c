"""Polygons as WKB, by shapely."""

from __future__ import annotations

import shapely

from tests.support.outputs import sample


def test_rings_are_closed_counter_clockwise_rectangles_by_shapely() -> None:
    geometry = shapely.from_wkb(sample(200).table()["geometry"].to_pylist())
    assert set(shapely.get_type_id(geometry)) == {3}
    assert shapely.is_valid(geometry).all()
    assert shapely.is_ccw(shapely.get_exterior_ring(geometry)).all()
    assert (shapely.get_num_coordinates(geometry) == 5).all()
