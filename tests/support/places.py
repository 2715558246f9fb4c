"""Places on earth for scenes without pixels, and boxes laid out on the ground there."""

from __future__ import annotations

from typing import Any

import numpy as np
from pyproj import CRS, Geod, Transformer

from pipeline.georeference.georeference import Georeference
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
