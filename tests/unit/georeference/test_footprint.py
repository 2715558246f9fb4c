"""Outlines of scenes that are no plain rectangle somewhere in the middle of a map."""

from __future__ import annotations

import json

import numpy as np
import pytest
import shapely

from pipeline.georeference.footprint import footprint, outlined
from tests.support.places import place, warped_gcps


def test_a_scene_of_the_whole_earth_is_one_box() -> None:
    made = footprint(place("EPSG:4326", (0.36, 0.0, -180.0, 0.0, -0.225, 90.0)))
    assert made is not None
    assert made.bbox == (-180, -90, 180, 90)
    assert shapely.from_geojson(json.dumps(made.geometry)).equals(shapely.box(-180, -90, 180, 90))


@pytest.mark.parametrize("east", [179.0, 179.9, 180.0])
def test_a_scene_that_ends_at_the_antimeridian_does_not_cross_it(east: float) -> None:
    made = footprint(place("EPSG:4326", (1e-3, 0.0, east - 1, 0.0, -1e-3, 10.0)))
    assert made is not None
    assert made.geometry["type"] == "Polygon"
    assert made.bbox == pytest.approx((east - 1, 9.2, east, 10))


def test_control_points_bend_the_outline() -> None:
    bent, straight = (footprint(place("EPSG:4326", None, warped_gcps(bend))) for bend in (30.0, 0.0))
    assert bent is not None
    assert straight is not None
    assert len(straight.geometry["coordinates"][0]) == 5
    assert len(bent.geometry["coordinates"][0]) > 20


def test_what_has_no_place_has_no_outline() -> None:
    assert outlined(np.full((8, 2), np.nan)) is None
    assert outlined(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [3.0, 4.0]])) is None
