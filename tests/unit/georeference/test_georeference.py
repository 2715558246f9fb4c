"""Known places, known sizes, known directions; areas of interest; and headers that cannot work."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import shapely
from pyproj import CRS, Geod, Transformer

from pipeline.errors import ConfigError, SceneNotGeoreferenced
from pipeline.georeference.georeference import Georeference
from pipeline.georeference.pixel_maps import AffineMap, SplineMap
from pipeline.types import FloatArray, GroundControlPoint, Scene

GEOD = Geod(ellps="WGS84")


def make_scene(
    crs: str | None = "EPSG:32633", transform: tuple[float, ...] | None = (10.0, 0.0, 5e5, 0.0, -10.0, 5e6),
    gcps: tuple[GroundControlPoint, ...] = (), width: int = 1000, height: int = 800,
) -> Scene:  # fmt: skip
    return Scene(
        scene_id="s", uris=("s.tif",), width=width, height=height, bands=(1,), band_count=1, dtype="uint8",
        driver="GTiff", crs_wkt=None if crs is None else CRS.from_user_input(crs).to_wkt(),
        transform=transform, gcps=gcps,  # type: ignore[arg-type]
    )  # fmt: skip


def place(*args: Any, **kwargs: Any) -> Georeference:
    made = Georeference.of(make_scene(*args, **kwargs))
    assert made is not None
    return made


def warped_gcps(bend_px: float, crs_degrees: bool = True, count: int = 9) -> tuple[GroundControlPoint, ...]:
    """A grid of points over 1000 x 800 px, up to ``bend_px`` pixels off an affine transform."""
    points = []
    for column in np.linspace(0, 1000, count):
        for row in np.linspace(0, 800, count):
            x = column + bend_px * np.sin(row / 300) * np.cos(column / 500)
            y = row + bend_px * np.sin(column / 350 + 1)
            world = (20 + 1e-4 * x + 2e-5 * y, 55 - 1e-4 * y + 1e-5 * x) if crs_degrees else (10 * x, -10 * y)
            points.append(GroundControlPoint(column=float(column), row=float(row), x=world[0], y=world[1]))
    return tuple(points)


def box_along(georeference: Georeference, azimuth_deg: float, length_m: float, width_m: float) -> FloatArray:
    """(1, 4, 2) scene corners of a box on the ground, laid out from the scene's centre by pyproj's direct geodesic."""
    lon, lat = georeference.scene_to_lonlat(np.array([georeference.width / 2, georeference.height / 2]))
    to_world = Transformer.from_crs("OGC:CRS84", CRS.from_wkt(georeference.crs_wkt), always_xy=True)
    corners = []
    for along, across in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        a_lon, a_lat, back = GEOD.fwd(lon, lat, azimuth_deg, along * length_m / 2)
        # Perpendicular to the geodesic where we now stand: its forward azimuth there is the back azimuth + 180.
        corners.append(GEOD.fwd(a_lon, a_lat, back + 180 + 90, across * width_m / 2)[:2])
    world = np.array([to_world.transform(*corner) for corner in corners])
    return georeference.world_to_scene(world)[None]


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


class TestGroundControlPoints:
    def test_nearly_affine_ones_become_affine(self) -> None:
        made = place("EPSG:4326", None, warped_gcps(0.4))
        assert isinstance(made.pixel_map, AffineMap)

    def test_others_are_met_exactly_by_a_spline(self) -> None:
        gcps = warped_gcps(20)
        made = place("EPSG:4326", None, gcps)
        assert isinstance(made.pixel_map, SplineMap)
        pixels = np.array([(gcp.column, gcp.row) for gcp in gcps])
        world = np.array([(gcp.x, gcp.y) for gcp in gcps])
        # 1e-9 degrees is a tenth of a millimetre.
        np.testing.assert_allclose(made.scene_to_world(pixels), world, atol=1e-9, rtol=0)

    def test_across_the_antimeridian_stay_one_scene(self) -> None:
        gcps = tuple(
            GroundControlPoint(column=c, row=r, x=(179.95 + c * 1e-4 + 180) % 360 - 180, y=10 - r * 1e-4)
            for c in (0.0, 500.0, 1000.0) for r in (0.0, 400.0, 800.0)
        )  # fmt: skip
        made = place("EPSG:4326", None, gcps)
        assert made.ground_gsd()[0] == pytest.approx(1e-4 * 111_320 * np.cos(np.radians(10)), rel=2e-3)

    def test_that_fold_the_scene_are_refused(self) -> None:
        gcps = list(warped_gcps(0))
        a, b = gcps[12], gcps[60]
        gcps[12] = GroundControlPoint(column=a.column, row=a.row, x=b.x, y=b.y)
        gcps[60] = GroundControlPoint(column=b.column, row=b.row, x=a.x, y=a.y)
        with pytest.raises(SceneNotGeoreferenced, match="81 ground control points fold the scene"):
            place("EPSG:4326", None, tuple(gcps))

    def test_a_position_without_an_inverse_is_an_error_not_a_guess(self) -> None:
        made = place("EPSG:4326", None, warped_gcps(20))
        with pytest.raises(SceneNotGeoreferenced, match="no inverse at 1 of 1 positions"):
            made.world_to_scene(np.array([[np.nan, np.nan]]))


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


ROTATED = (8.660254, 5.0, 5e5, 5.0, -8.660254, 5e6)
PLACES: dict[str, Georeference] = {
    "utm": place(),
    "utm rotated 30 degrees": place(transform=ROTATED),
    "utm sheared": place(transform=(10.0, 3.0, 5e5, -2.0, -11.0, 5e6)),
    "utm far from its central meridian": place(transform=(10.0, 0.0, 9e5, 0.0, -10.0, 7e6)),
    "utm south-up, southern hemisphere": place("EPSG:32733", (10.0, 0.0, 3e5, 0.0, 10.0, 4e6)),
    "geographic at 60 degrees north": place("EPSG:4326", (2e-4, 0.0, 24.0, 0.0, -1e-4, 60.0)),
    "geographic sheared, southern hemisphere": place("EPSG:4326", (1e-4, 3e-5, -70.0, 2e-5, -1e-4, -33.0)),
    "web mercator at 60 degrees north": place("EPSG:3857", (10.0, 0.0, 2.7e6, 0.0, -10.0, 8.4e6)),
    "web mercator, southern hemisphere": place("EPSG:3857", (10.0, 0.0, -7.9e6, 0.0, -10.0, -5e6)),
    "polar stereographic north": place("EPSG:3995", (10.0, 0.0, 4e5, 0.0, -10.0, 7e5)),
    "polar stereographic south": place("EPSG:3031", (10.0, 0.0, -9e5, 0.0, -10.0, 1e6)),
    "feet": place("EPSG:2263", (30.0, 0.0, 9.8e5, 0.0, -30.0, 2e5)),
    "control points": place("EPSG:4326", None, warped_gcps(20)),
}


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


def test_threads_may_share_one() -> None:
    made = place("EPSG:3857", (10.0, 0.0, 2.7e6, 0.0, -10.0, 8.4e6))
    points = np.random.default_rng(0).uniform(0, 800, (2000, 4, 2))
    alone = made.measure(points).azimuth_deg
    with ThreadPoolExecutor(8) as pool:
        for together in pool.map(lambda _: made.measure(points).azimuth_deg, range(32)):
            np.testing.assert_array_equal(together, alone)


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
