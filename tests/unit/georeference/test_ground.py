"""Known sizes and directions on the ground, for every kind of CRS."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from pipeline.georeference.georeference import Georeference
from tests.support.places import GEOD, PLACES, box_along, place


@pytest.mark.parametrize("made", PLACES.values(), ids=PLACES.keys())
class TestMeasures:
    @pytest.mark.parametrize("azimuth_deg", [0.0, 30.0, 90.0, 117.0, 179.0])
    def test_recover_a_box_laid_out_by_geodesics(self, made: Georeference, azimuth_deg: float) -> None:
        """To a thousandth of the lengths, whatever the CRS, and to the hundredth of a degree from true north."""
        seen = made.measure(box_along(made, azimuth_deg, 400.0, 100.0))
        assert seen.length_m[0] == pytest.approx(400.0, rel=1e-4)
        assert seen.width_m[0] == pytest.approx(100.0, rel=1e-4)
        assert seen.area_m2[0] == pytest.approx(40_000.0, rel=2e-4)
        off = (seen.azimuth_deg[0] - azimuth_deg + 90) % 180 - 90
        assert abs(off) < 0.01
        assert 0 <= seen.azimuth_deg[0] < 180

    def test_do_not_depend_on_the_first_corner_or_the_direction(self, made: Georeference) -> None:
        corners = box_along(made, 40.0, 300.0, 80.0)
        turned = np.concatenate([np.roll(corners, shift, axis=1) for shift in range(4)])
        seen = made.measure(np.concatenate([turned, turned[:, ::-1]]))
        for values in (seen.length_m, seen.width_m, seen.area_m2, seen.azimuth_deg):
            np.testing.assert_allclose(values, values[0], rtol=1e-9)

    def test_gsd_is_the_geodesic_from_pixel_to_pixel(self, made: Georeference) -> None:
        x, y = made.width / 2, made.height / 2
        for step, gsd in (((5.0, 0.0), made.ground_gsd()[0]), ((0.0, 5.0), made.ground_gsd()[1])):
            start, end = made.scene_to_lonlat(np.array([[x - step[0], y - step[1]], [x + step[0], y + step[1]]]))
            assert GEOD.inv(*start, *end)[2] / 10 == pytest.approx(gsd, rel=1e-3)

    def test_survive_a_trip_to_another_process(self, made: Georeference) -> None:
        points = np.array([[0.5, 0.5], [made.width, made.height]])
        copy = pickle.loads(pickle.dumps(made))
        np.testing.assert_array_equal(copy.scene_to_lonlat(points), made.scene_to_lonlat(points))


def test_web_mercator_is_not_believed_about_its_metres() -> None:
    """10 m of EPSG:3857 at 60 degrees north are about 5 m on the ground."""
    gsd = PLACES["web mercator at 60 degrees north"].ground_gsd()
    assert gsd == pytest.approx((5.0, 5.0), rel=0.02)


def test_a_north_to_south_object_has_azimuth_zero_not_180() -> None:
    made = place("EPSG:4326", (1e-4, 0.0, 24.0, 0.0, -1e-4, 60.0))
    down = np.array([[[100.0, 100.0], [102.0, 100.0], [102.0, 180.0], [100.0, 180.0]]])
    assert made.measure(down).azimuth_deg[0] == 0.0
    assert made.measure(down[:, ::-1]).azimuth_deg[0] == 0.0


def test_a_box_over_the_pole_is_measured() -> None:
    made = place("EPSG:3995", (10.0, 0.0, -5000.0, 0.0, -10.0, 4000.0))
    seen = made.measure(np.array([[[480.0, 395.0], [520.0, 395.0], [520.0, 405.0], [480.0, 405.0]]]))
    true_scale = seen.length_m[0] / 400
    assert 1.0 < true_scale < 1.04  # EPSG:3995 is true at 71 degrees north and shrinks towards the pole
    assert seen.area_m2[0] == pytest.approx(seen.length_m[0] * seen.width_m[0], rel=1e-6)


def test_measures_of_no_boxes_are_empty() -> None:
    seen = place().measure(np.zeros((0, 4, 2)))
    assert [len(values) for values in (seen.length_m, seen.width_m, seen.area_m2, seen.azimuth_deg)] == [0] * 4
