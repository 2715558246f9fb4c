"""Known places, headers that cannot work, and longitudes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pyproj import CRS

from pipeline.errors import SceneNotGeoreferenced
from pipeline.georeference.georeference import Georeference
from pipeline.types import Scene
from tests.support.places import make_scene, place, warped_gcps


class TestOf:
    def test_a_pixel_scene_has_none(self) -> None:
        assert Georeference.of(make_scene(None, None)) is None

    @pytest.mark.parametrize(
        ("scene", "said"),
        [
            (make_scene("EPSG:32633", None), "has a CRS but no transform"),
            (make_scene(None), "has a transform but no CRS"),
            (make_scene(transform=(10.0, 0.0, 0.0, 10.0, 0.0, 0.0)), "does not span the plane"),
            (make_scene(transform=(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)), "does not span the plane"),
            (make_scene(transform=(np.nan, 0.0, 0.0, 0.0, 1.0, 0.0)), "does not span the plane"),
            (make_scene(transform=(10.0, 0.0, 1e12, 0.0, -10.0, 1e12)), "nowhere on Earth"),
            (make_scene("EPSG:4978"), "neither projected nor geographic"),
            (make_scene('LOCAL_CS["site grid",UNIT["metre",1]]'), "CRS"),
            (make_scene(transform=None, gcps=warped_gcps(0)[:2]), "at least 3"),
            (make_scene(transform=None, gcps=warped_gcps(0)[:9]), "at least 3"),
            (make_scene(transform=None, gcps=(warped_gcps(0)[0],) * 5), "1 different ground control points"),
        ],
    )
    def test_headers_that_cannot_work_are_refused_in_a_sentence(self, scene: Scene, said: str) -> None:
        with pytest.raises(SceneNotGeoreferenced, match=said):
            Georeference.of(scene)

    def test_an_unreadable_crs_is_refused(self) -> None:
        broken = Scene(
            scene_id="s", uris=("s.tif",), width=9, height=9, bands=(1,), band_count=1, dtype="uint8", driver="GTiff",
            crs_wkt="PROJCS[nonsense", transform=(1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
        )  # fmt: skip
        with pytest.raises(SceneNotGeoreferenced, match="longitude and latitude"):
            Georeference.of(broken)

    def test_the_height_part_of_a_compound_crs_is_left_out(self) -> None:
        made = place("EPSG:25832+7837", (10.0, 0.0, 5e5, 0.0, -10.0, 5.5e6))
        assert made.crs_projjson()["id"] == {"authority": "EPSG", "code": 25832}

    def test_crs_comes_back_as_wkt_and_projjson(self) -> None:
        made = place()
        assert CRS.from_wkt(made.crs_wkt) == CRS("EPSG:32633") == CRS.from_json_dict(made.crs_projjson())


class TestLonLat:
    def test_pixels_of_a_south_up_scene_go_north_with_the_rows(self) -> None:
        made = place("EPSG:32733", (10.0, 0.0, 5e5, 0.0, 10.0, 6e6))
        lonlat = made.scene_to_lonlat(np.array([[0.0, 0.0], [0.0, 800.0]]))
        assert lonlat[1, 1] > lonlat[0, 1]
        assert lonlat[0, 0] == pytest.approx(15.0)

    def test_a_ring_across_the_antimeridian_stays_in_one_piece(self) -> None:
        made = place("EPSG:32660", (10.0, 0.0, 830_000.0, 0.0, -10.0, 100_000.0))
        x = float(made.world_to_scene(np.array([833_978.0, 99_000.0]))[0])
        ring = np.array([[[x - 200, 50], [x + 200, 50], [x + 200, 100], [x - 200, 100]]])
        points = made.scene_to_lonlat(ring[0])
        assert points[:, 0].max() - points[:, 0].min() > 350
        lonlat = made.scene_to_lonlat(ring)
        assert np.ptp(lonlat[..., 0]) < 0.1
        assert 179.9 < lonlat[..., 0].min() < 180 < lonlat[..., 0].max() < 180.1

    def test_a_scene_written_in_0_to_360_degrees_answers_in_the_western_half(self) -> None:
        made = place("EPSG:4326", (1e-3, 0.0, 250.0, 0.0, -1e-3, 10.0))
        assert made.scene_to_lonlat(np.array([0.0, 0.0])) == pytest.approx([-110.0, 10.0])

    def test_world_and_scene_answer_alike(self) -> None:
        made, points = place(), np.array([[[3.0, 4.0], [500.0, 2.0], [9.0, 700.0]]])
        np.testing.assert_array_equal(made.world_to_lonlat(made.scene_to_world(points)), made.scene_to_lonlat(points))


def test_threads_may_share_one() -> None:
    made = place("EPSG:3857", (10.0, 0.0, 2.7e6, 0.0, -10.0, 8.4e6))
    points = np.random.default_rng(0).uniform(0, 800, (2000, 4, 2))
    alone = made.measure(points).azimuth_deg
    with ThreadPoolExecutor(8) as pool:
        for together in pool.map(lambda _: made.measure(points).azimuth_deg, range(32)):
            np.testing.assert_array_equal(together, alone)
