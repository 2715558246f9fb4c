"""Areas of interest in other CRS than the scene's, and far beyond it."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from pyproj import Transformer

from pipeline.errors import ConfigError
from tests.support.places import GEOD, PLACES, ROTATED, place, warped_gcps


class TestAreaOfInterest:
    def test_follows_the_bend_of_its_edges(self) -> None:
        """A long edge along a parallel is a curve in UTM: 10 km of it leave the chord by more than a pixel."""
        made = place(transform=(10.0, 0.0, 2e5, 0.0, -10.0, 6.7e6), width=20_000, height=4000)
        west, east = made.scene_to_lonlat(np.array([[1000.0, 2000.0], [19_000.0, 2000.0]]))[:, 0]
        middle = made.scene_to_lonlat(np.array([10_000.0, 2000.0]))[1]
        area = made.area_to_scene(shapely.box(west, middle, east, middle + 0.05), "OGC:CRS84")
        along = np.array([[lon, middle] for lon in np.linspace(west, east, 50)])
        to_world = Transformer.from_crs("OGC:CRS84", made.crs_wkt, always_xy=True)
        true_edge = made.world_to_scene(np.stack(to_world.transform(*along.T), axis=-1))
        assert np.abs(true_edge[:, 1] - np.linspace(true_edge[0, 1], true_edge[-1, 1], 50)).max() > 20
        assert shapely.distance(area.boundary, shapely.points(true_edge)).max() < 0.5

    def test_in_the_scenes_own_crs_is_exact(self) -> None:
        made = place(transform=ROTATED)
        square = shapely.box(100, 100, 200, 300)
        world = shapely.transform(square, made.scene_to_world)
        assert made.area_to_scene(world, made.crs_wkt).symmetric_difference(square).area < 1e-3

    def test_outside_the_scene_is_empty(self) -> None:
        assert place().area_to_scene(shapely.box(-70, -30, -60, -20), "EPSG:4326").is_empty

    def test_that_covers_the_world_covers_the_scene(self) -> None:
        for made in PLACES.values():
            whole = shapely.box(0, 0, made.width, made.height)
            area = made.area_to_scene(shapely.box(-180, -90, 180, 90), "EPSG:4326")
            assert area.intersection(whole).area == pytest.approx(whole.area, rel=1e-3)

    def test_over_a_pole_covers_it(self) -> None:
        made = place("EPSG:3995", (100.0, 0.0, -50_000.0, 0.0, -100.0, 40_000.0))
        area = made.area_to_scene(shapely.box(-180, 89.8, 180, 90), "EPSG:4326")
        radius_px = GEOD.inv(0, 89.8, 0, 90)[2] / made.ground_gsd()[0]
        assert area.area == pytest.approx(np.pi * radius_px**2, rel=5e-3)

    @pytest.mark.parametrize("shift", [-360.0, 0.0, 360.0])
    def test_is_found_on_either_side_of_the_antimeridian(self, shift: float) -> None:
        made = place("EPSG:32660", (100.0, 0.0, 780_000.0, 0.0, -100.0, 100_000.0))
        area = made.area_to_scene(shapely.box(179.8 + shift, 0.3, 180.2 + shift, 0.6), "EPSG:4326")
        assert area.area == pytest.approx(445.3 * 331.7, rel=0.01)

    def test_in_degrees_reaches_a_geographic_scene_across_the_antimeridian(self) -> None:
        made = place("EPSG:4326", (1e-3, 0.0, 179.5, 0.0, -1e-3, 10.0))
        area = made.area_to_scene(shapely.box(-179.8, 9.4, -179.7, 9.6), "EPSG:4326")
        assert area.bounds == pytest.approx((700, 400, 800, 600), abs=1e-6)

    def test_in_another_projection_keeps_its_place(self) -> None:
        made = place("EPSG:4326", None, warped_gcps(20))
        target = shapely.box(300, 300, 420, 380)
        to_utm = Transformer.from_crs("OGC:CRS84", "EPSG:32634", always_xy=True)
        dense = shapely.segmentize(target, 1.0)
        utm = shapely.transform(dense, lambda p: np.stack(to_utm.transform(*made.scene_to_lonlat(p).T), axis=-1))
        assert made.area_to_scene(utm, "EPSG:32634").symmetric_difference(target).area < 0.5

    def test_with_an_unusable_crs_is_a_mistake_of_the_run(self) -> None:
        with pytest.raises(ConfigError, match="area of interest"):
            place().area_to_scene(shapely.box(0, 0, 1, 1), "PROJCS[nonsense")
