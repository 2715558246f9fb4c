"""Round trips and ground lengths for transforms of every kind, against pyproj used directly."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Geod, Transformer

from pipeline.georeference.georeference import Georeference
from pipeline.types import FloatArray, GroundControlPoint, Scene

GEOD = Geod(ellps="WGS84")

ORIGINS = {
    "EPSG:32633": ((250_000.0, 750_000.0), (1e5, 9e6), 10.0),
    "EPSG:32733": ((250_000.0, 750_000.0), (2e6, 9.9e6), 0.5),
    "EPSG:4326": ((-179.0, 179.0), (-80.0, 80.0), 1e-4),
    "EPSG:3857": ((-1.9e7, 1.9e7), (-1.2e7, 1.2e7), 10.0),
    "EPSG:3995": ((-2e6, 2e6), (-2e6, 2e6), 30.0),
    "EPSG:3031": ((-2e6, 2e6), (-2e6, 2e6), 5.0),
}
"""CRS → ranges of the origin in x and y, and the size of a pixel."""


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Turned, sheared, flipped and anisotropic affine scenes, or bent grids of control points, in any CRS."""
    crs = draw(st.sampled_from(sorted(ORIGINS)))
    (x_low, x_high), (y_low, y_high), pixel = ORIGINS[crs]
    turn, shear = draw(st.floats(0, 2 * np.pi)), draw(st.floats(-0.6, 0.6))
    size_x, size_y = draw(st.floats(0.5, 2)), draw(st.floats(0.5, 2)) * draw(st.sampled_from([-1, 1]))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = pixel * rotation @ np.array([[1, shear], [0, 1]]) @ np.diag([size_x, size_y])
    origin = np.array([draw(st.floats(x_low, x_high)), draw(st.floats(y_low, y_high))])
    gcps: tuple[GroundControlPoint, ...] = ()
    if draw(st.booleans()):
        bend = draw(st.floats(0, 15))
        grid = np.array([(c, r) for c in np.linspace(0, 1000, 5) for r in np.linspace(0, 800, 5)])
        wave = np.stack([np.sin(grid[:, 1] / 260), np.cos(grid[:, 0] / 310)], axis=-1)
        world = (grid + bend * wave) @ matrix.T + origin
        gcps = tuple(
            GroundControlPoint(column=c, row=r, x=x, y=y)
            for (c, r), (x, y) in zip(grid.tolist(), world.tolist(), strict=True)
        )
    affine = None if gcps else (*matrix[0].tolist(), float(origin[0]), *matrix[1].tolist(), float(origin[1]))
    return Scene(
        scene_id="s", uris=("s.tif",), width=1000, height=800, bands=(1,), band_count=1, dtype="uint8",
        driver="GTiff", crs_wkt=CRS(crs).to_wkt(),
        transform=affine and (affine[0], affine[1], affine[2], affine[3], affine[4], affine[5]), gcps=gcps,
    )  # fmt: skip


def placed(scene: Scene) -> Georeference:
    made = Georeference.of(scene)
    assert made is not None
    return made


def inside(scene: Scene, seed: int, count: int) -> FloatArray:
    return np.random.default_rng(seed).uniform(0, 1, (count, 2)) * (scene.width, scene.height)


@given(scenes(), st.integers(0, 2**32 - 1))
@settings(max_examples=100)
def test_pixel_to_world_to_pixel_comes_back(scene: Scene, seed: int) -> None:
    made, pixels = placed(scene), inside(scene, seed, 50)
    assert np.abs(made.world_to_scene(made.scene_to_world(pixels)) - pixels).max() < 1e-3


@given(scenes(), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_world_is_the_transform_written_out(scene: Scene, seed: int) -> None:
    """Against the affine's definition term by term, so that no swap of axes can cancel in a round trip."""
    made, pixels = placed(scene), inside(scene, seed, 20)
    if scene.transform is None:
        pixels = np.array([(gcp.column, gcp.row) for gcp in scene.gcps])
        expected = np.array([(gcp.x, gcp.y) for gcp in scene.gcps])
        miss_px = made.world_to_scene(made.scene_to_world(pixels)) - made.world_to_scene(expected)
        assert np.abs(miss_px).max() <= 0.5 + 1e-6
        return
    a, b, c, d, e, f = scene.transform
    expected = np.array([(a * x + b * y + c, d * x + e * y + f) for x, y in pixels])
    np.testing.assert_allclose(made.scene_to_world(pixels), expected, rtol=1e-14, atol=1e-12)


@given(scenes(), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_lengths_and_azimuths_are_pyprojs_geodesics(scene: Scene, seed: int) -> None:
    """Mid-line by mid-line with pyproj's own inverse geodesic, one box at a time; area with its polygon area."""
    made = placed(scene)
    rng = np.random.default_rng(seed)
    centre = inside(scene, seed, 1)
    turn, length, width = rng.uniform(0, np.pi), rng.uniform(20, 90), rng.uniform(4, 15)
    along = np.array([np.cos(turn), np.sin(turn)]) * length / 2
    across = np.array([-np.sin(turn), np.cos(turn)]) * width / 2
    corners = centre + np.array([-along - across, along - across, along + across, -along + across])
    to_lonlat = Transformer.from_crs(CRS.from_wkt(scene.crs_wkt or ""), "EPSG:4326", always_xy=True)

    def lonlat(pixel: FloatArray) -> tuple[float, float]:
        return to_lonlat.transform(*made.scene_to_world(pixel))

    middles = [lonlat((corners[i] + corners[(i + 1) % 4]) / 2) for i in range(4)]
    mid_lines = [GEOD.inv(*middles[0], *middles[2])[2], GEOD.inv(*middles[1], *middles[3])[2]]
    seen = made.measure(corners[None])
    # Through bent control points the middle of a side is not the mean of its ends; 0.1 % is what is promised.
    rtol = 1e-3 if scene.gcps else 1e-5
    np.testing.assert_allclose([seen.length_m[0], seen.width_m[0]], sorted(mid_lines, reverse=True), rtol=rtol)
    ring = [lonlat(corner) for corner in corners]
    area = abs(GEOD.polygon_area_perimeter([p[0] for p in ring], [p[1] for p in ring])[0])
    np.testing.assert_allclose(seen.area_m2[0], area, rtol=1e-3 if scene.gcps else 1e-5)
    side = int(mid_lines[1] > mid_lines[0])
    azimuth = GEOD.inv(*lonlat(corners.mean(axis=0)), *middles[side])[0] % 180
    off = (seen.azimuth_deg[0] - azimuth + 90) % 180 - 90
    # A bent midline passes beside the mean of the corners, by far less than this.
    assert abs(off) < 0.5 if scene.gcps else abs(off) < 0.02
