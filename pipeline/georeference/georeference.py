"""Pixels ↔ world ↔ longitude and latitude, and sizes on the ground. pyproj's only home.

Scene pixels map to the scene's CRS by an affine transform, or, when ground control points are not affine to within
half a pixel, by a thin-plate spline through them. World coordinates are x (easting, longitude) first whatever the
axis order of the CRS says. Ground sizes are geodesic on the WGS84 ellipsoid for every CRS (ruling 8), so the scale
error of web mercator or of a polar stereographic projection never reaches a column.

Values are frozen, pickle small and may be shared by threads: they hold numbers and WKT only, and the transformers
are made on first use, once per process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from pipeline.errors import ConfigError, SceneNotGeoreferenced
from pipeline.georeference.clipping import clip_to
from pipeline.georeference.crs import REMEDY, WGS84_LONLAT, crs_name, horizontal_crs, reason, transformer
from pipeline.georeference.ground import WGS84, azimuth_deg, geocentric, geodesic_m, nearest_turn
from pipeline.georeference.pixel_maps import PixelMap, affine_map, gcp_map, pixel_grid
from pipeline.georeference.rational import rational_map
from pipeline.georeference.shift import DatumShift, datum_shift
from pipeline.types import FloatArray, GroundMeasures, Scene

WIDE_M = 500_000.0
"""A step on the ground beyond which the way along a pixel is measured in pieces: the shortest way between its ends may
be another, or none at all where a pixel goes around the Earth."""
PIECES = 64


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Georeference:
    """Where the pixels of one scene lie on Earth."""

    pixel_map: PixelMap
    crs_wkt: str
    """The horizontal CRS of the world coordinates."""
    width: int
    """Scene pixels."""
    height: int

    @classmethod
    def of(cls, scene: Scene) -> Georeference | None:
        """From a scene's headers; None for a pixel scene, which has neither CRS nor transform (ruling 3).

        Raises SceneNotGeoreferenced for a CRS without a transform or the reverse, a CRS that is not one of positions
        on Earth, and a transform or control points that do not span the plane.
        """
        placed = scene.transform is not None or bool(scene.gcps) or scene.rpc is not None
        if scene.crs_wkt is None and not placed:
            return None
        name = scene.uris[0]
        if scene.crs_wkt is None or not placed:
            has, lacks = ("a transform", "CRS") if placed else ("a CRS", "transform")
            raise SceneNotGeoreferenced(f"{name} has {has} but no {lacks}; {REMEDY}")
        crs = horizontal_crs(scene.crs_wkt, name)
        pixel_map = _pixel_map(scene, crs, name)
        crs_wkt = scene.crs_wkt if crs == CRS.from_wkt(scene.crs_wkt) else crs.to_wkt()
        made = cls(pixel_map=pixel_map, crs_wkt=crs_wkt, width=scene.width, height=scene.height)
        if not all(np.isfinite(made.ground_gsd())) or min(made.ground_gsd()) <= 0:
            raise SceneNotGeoreferenced(
                f"{name}: its centre is nowhere on Earth in the CRS {crs_name(crs_wkt)}; {REMEDY}"
            )
        return made

    def scene_to_world(self, points: FloatArray) -> FloatArray:
        """(..., 2) scene pixels → (..., 2) coordinates of the scene's CRS, x first."""
        return self.pixel_map.forward(np.reshape(points, (-1, 2))).reshape(np.shape(points))

    def world_to_scene(self, points: FloatArray) -> FloatArray:
        """The inverse of :meth:`scene_to_world`, to better than 1e-3 px."""
        return self.pixel_map.backward(np.reshape(points, (-1, 2))).reshape(np.shape(points))

    def world_to_lonlat(self, points: FloatArray) -> FloatArray:
        """(..., 2) coordinates of the scene's CRS → (..., 2) WGS84 longitude and latitude, degrees.

        Arrays of at least three axes hold rings, (..., corners, 2). A ring across the antimeridian stays in one
        piece: its longitudes follow the first corner's and may pass ±180 by the width of the ring. Single points
        answer in [-180, 180]. NaN where the CRS has no answer.
        """
        return lonlat_of(self.crs_wkt, points)

    def scene_to_lonlat(self, points: FloatArray) -> FloatArray:
        """(..., 2) scene pixels → (..., 2) WGS84 longitude and latitude; rings as in :meth:`world_to_lonlat`."""
        return self.world_to_lonlat(self.scene_to_world(points))

    def measure(self, corners_scene: FloatArray) -> GroundMeasures:
        """Sizes on the ground of (N, 4, 2) boxes given by their corners in scene pixels, in ring order.

        Chords between points of the ellipsoid, lengthened to arcs: within 1e-6 of the geodesic up to 10 km, and within
        1e-4 up to 100 km, at the poles too, at a tenth of the cost of the iterative geodesic.
        """
        lonlat = self.scene_to_lonlat(corners_scene)
        corners = geocentric(lonlat)
        sides = (corners + np.roll(corners, -1, axis=1)) / 2
        axes = sides[:, :2] - sides[:, 2:]
        chords = np.linalg.norm(axes, axis=-1)
        arcs = np.sort(2 * WGS84.a * np.arcsin(chords / (2 * WGS84.a)), axis=1)
        long_axis = np.where((chords[:, 0] >= chords[:, 1])[:, None], axes[:, 0], axes[:, 1])
        diagonals = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
        return GroundMeasures(
            length_m=arcs[:, 1],
            width_m=arcs[:, 0],
            area_m2=np.linalg.norm(diagonals, axis=-1) / 2,
            azimuth_deg=azimuth_deg(long_axis, corners.mean(axis=1)),
        )

    def ground_gsd(self) -> tuple[float, float]:
        """(x, y): metres on the ground from one column, and one row, to the next at the scene's centre."""
        half = 0.5
        x, y = self.width / 2, self.height / 2
        ends = self.scene_to_lonlat(np.array([[x - half, y], [x + half, y], [x, y - half], [x, y + half]]))
        steps = geodesic_m(ends[[0, 2]], ends[[1, 3]])
        if not (steps > 0).all() or (steps > WIDE_M).any():
            along = np.linspace(-half, half, PIECES + 1)
            across = np.column_stack([x + along, np.full_like(along, y)])
            down = np.column_stack([np.full_like(along, x), y + along])
            ways = [self.scene_to_lonlat(way) for way in (across, down)]
            steps = np.array([geodesic_m(way[:-1], way[1:]).sum() for way in ways])
        return float(steps[0]), float(steps[1])

    @property
    def crs_name(self) -> str:
        """For people, with the CRS's code where it has one."""
        return crs_name(self.crs_wkt)

    def datum_shift(self) -> DatumShift:
        """What PROJ does at the scene's centre to come to longitude and latitude, and how exact that is."""
        x, y = self.scene_to_world(np.array([self.width / 2, self.height / 2])).tolist()
        return datum_shift(self.crs_wkt, (x, y))

    def crs_projjson(self) -> dict[str, Any]:
        """The CRS as PROJJSON, as GeoParquet wants it."""
        return dict(CRS.from_wkt(self.crs_wkt).to_json_dict())

    def footprint(self, crs: str) -> tuple[float, float, float, float]:
        """Bounds of the scene in another CRS (anything PROJ understands): x, y, x1, y1. NaN where it has no answer."""
        points = self._outline(transformer(self.crs_wkt, crs))
        finite = points[np.isfinite(points).all(axis=1)]
        if not len(finite):
            return (np.nan,) * 4
        (x, y), (x1, y1) = finite.min(axis=0).tolist(), finite.max(axis=0).tolist()
        return x, y, x1, y1

    def _outline(self, to: Transformer) -> FloatArray:
        """(N, 2) points all over the scene in the CRS that ``to`` leads to."""
        return np.stack(to.transform(*self.scene_to_world(pixel_grid(self.width, self.height)).T), axis=-1)

    def area_to_scene(self, geometry: shapely.Geometry, geometry_crs_wkt: str) -> shapely.Geometry:
        """The part of ``geometry`` at and around the scene, in scene pixels; empty where they do not meet.

        ``geometry_crs_wkt`` is anything PROJ understands. Longitudes may run to either side of the antimeridian.
        Raises ConfigError when that CRS is unusable.
        """
        try:
            area_crs = CRS.from_user_input(geometry_crs_wkt)
            to_area = Transformer.from_crs(CRS.from_wkt(self.crs_wkt), area_crs, always_xy=True)
        except ProjError as error:
            raise ConfigError(
                f"the CRS of the area of interest cannot be used with the scene's: {reason(error)}"
            ) from error
        footprint = self._outline(to_area)
        clipped = clip_to(geometry, footprint, degrees=area_crs.is_geographic)
        if clipped.is_empty:
            return clipped
        back = transformer(area_crs.to_wkt(), self.crs_wkt)
        geographic = CRS.from_wkt(self.crs_wkt).is_geographic
        centre = self.scene_to_world(np.array([self.width / 2, self.height / 2]))

        def to_scene(points: FloatArray) -> FloatArray:
            world = np.stack(back.transform(points[:, 0], points[:, 1]), axis=-1)
            if geographic:
                world[:, 0] = nearest_turn(world[:, 0], centre[0])
            return self.world_to_scene(world)

        return shapely.make_valid(shapely.transform(clipped, to_scene))


def lonlat_of(crs: str, points: FloatArray) -> FloatArray:
    """Coordinates of a CRS (anything PROJ understands) as longitude and latitude; see
    :meth:`Georeference.world_to_lonlat`."""
    flat = np.reshape(points, (-1, 2))
    lon, lat = transformer(crs, WGS84_LONLAT).transform(flat[:, 0], flat[:, 1])
    lon, lat = (np.where(np.isfinite(degrees), degrees, np.nan) for degrees in (lon, lat))
    lon = np.where(np.abs(lon) > 180, (lon + 180) % 360 - 180, lon)
    lonlat = np.stack([lon, lat], axis=-1).reshape(np.shape(points))
    if lonlat.ndim >= 3:
        lonlat[..., 0] = nearest_turn(lonlat[..., 0], lonlat[..., :1, 0])
    return lonlat


def is_geographic(crs: str) -> bool:
    """Whether coordinates of a CRS (anything PROJ understands) are degrees."""
    return bool(CRS.from_user_input(crs).is_geographic)


def _pixel_map(scene: Scene, crs: CRS, name: str) -> PixelMap:
    if scene.transform is not None:
        return affine_map(scene, name)
    return gcp_map(scene, crs, name) if scene.rpc is None else rational_map(scene, name)
