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
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import shapely
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import ProjError
from scipy.interpolate import RBFInterpolator
from shapely import affinity

from pipeline.errors import ConfigError, SceneNotGeoreferenced
from pipeline.types import FloatArray, GroundControlPoint, Scene

WGS84_LONLAT = "OGC:CRS84"
WGS84 = Geod(ellps="WGS84")

AFFINE_GCP_PX = 0.5
"""Ground control points that an affine transform meets to within this many pixels are taken as affine."""

NEWTON_PX = 1e-7
NEWTON_STEPS = 50
FOLD = 1e-6
"""Area, in pixels of the affine trend, below which a pixel bent by control points counts as folded."""

BEYOND_EARTH = 1e12
"""No pixel and no coordinate of a control point is as large, in any unit."""

AREA_MARGIN = 0.1
"""An area of interest is clipped to the scene's bounds, widened by this share, before it is reprojected: far from
the scene a projection may have no answer, and nobody needs one."""

AREA_SEGMENTS = 256
"""Edges of an area of interest are cut to this share of the clip box, because a straight edge bends in another CRS."""


class PixelMap(Protocol):
    """A smooth, invertible map from scene pixels to world coordinates, both (N, 2) float64."""

    def forward(self, pixels: FloatArray) -> FloatArray: ...

    def backward(self, world: FloatArray) -> FloatArray: ...


@dataclass(frozen=True, slots=True, eq=False)
class AffineMap:
    """``world = pixels @ matrix.T + origin``."""

    matrix: FloatArray
    """(2, 2)."""
    origin: FloatArray
    """(2,) world position of the corner of pixel (0, 0)."""

    def forward(self, pixels: FloatArray) -> FloatArray:
        return pixels @ self.matrix.T + self.origin

    def backward(self, world: FloatArray) -> FloatArray:
        return (world - self.origin) @ np.linalg.inv(self.matrix).T


@dataclass(frozen=True, slots=True, eq=False)
class SplineMap:
    """Affine trend plus a thin-plate spline through what it leaves over, in pixels of the trend."""

    trend: AffineMap
    bend: RBFInterpolator
    """(N, 2) pixels → (N, 2) correction in pixels."""

    def forward(self, pixels: FloatArray) -> FloatArray:
        return self.trend.forward(pixels + self._bend(pixels))

    def backward(self, world: FloatArray) -> FloatArray:
        """Newton's method from the affine guess. Raises SceneNotGeoreferenced where the points fold the scene."""
        target = self.trend.backward(world)
        pixels = target - self._bend(target)
        left = np.arange(len(pixels))
        for _ in range(NEWTON_STEPS):
            error = pixels[left] + self._bend(pixels[left]) - target[left]
            far = ~(np.abs(error).max(axis=1, initial=0) < NEWTON_PX)
            left, error = left[far], error[far]
            if not len(left):
                return pixels
            jacobian = self._jacobian(pixels[left])
            if not (_area(jacobian) > FOLD).all():
                break
            pixels[left] -= np.linalg.solve(jacobian, error[..., None])[..., 0]
        raise SceneNotGeoreferenced(
            f"the ground control points have no inverse at {len(left)} of {len(world)} positions; "
            "remove wrong points from the file, or warp the scene to a regular grid first"
        )

    def folds(self, pixels: FloatArray) -> bool:
        """True when the map turns the scene's skin over at any of (N, 2) positions."""
        return not (_area(self._jacobian(pixels)) > FOLD).all()

    def _bend(self, pixels: FloatArray) -> FloatArray:
        return np.asarray(self.bend(pixels), np.float64) if len(pixels) else np.zeros((0, 2))

    def _jacobian(self, pixels: FloatArray, step: float = 0.5) -> FloatArray:
        """(N, 2, 2) central differences of pixels + bend."""
        across, down = np.array([step, 0.0]), np.array([0.0, step])
        by_column = (self._bend(pixels + across) - self._bend(pixels - across)) / (2 * step)
        by_row = (self._bend(pixels + down) - self._bend(pixels - down)) / (2 * step)
        return np.eye(2) + np.stack([by_column, by_row], axis=-1)


def _area(jacobian: FloatArray) -> FloatArray:
    """(N,) determinants of (N, 2, 2), NaN where an entry is."""
    return jacobian[:, 0, 0] * jacobian[:, 1, 1] - jacobian[:, 0, 1] * jacobian[:, 1, 0]


@dataclass(frozen=True, slots=True, eq=False)
class GroundMeasures:
    """Sizes of N boxes on the ground, geodesic on the WGS84 ellipsoid; (N,) float64 each."""

    length_m: FloatArray
    """Between the midpoints of those opposite sides that lie farther apart."""
    width_m: FloatArray
    """Between the midpoints of the other two."""
    area_m2: FloatArray
    azimuth_deg: FloatArray
    """Of the length, at the box's centre, clockwise from true north, in [0, 180)."""


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
        placed = scene.transform is not None or bool(scene.gcps)
        if scene.crs_wkt is None and not placed:
            return None
        name = scene.uris[0]
        if scene.crs_wkt is None or not placed:
            has, lacks = ("a transform", "CRS") if placed else ("a CRS", "transform")
            raise SceneNotGeoreferenced(f"{name} has {has} but no {lacks}; add it with gdal_edit, or remove both")
        crs = _horizontal_crs(scene.crs_wkt, name)
        pixel_map = _affine_map(scene, name) if scene.transform is not None else _gcp_map(scene, crs, name)
        crs_wkt = scene.crs_wkt if crs == CRS.from_wkt(scene.crs_wkt) else crs.to_wkt()
        made = cls(pixel_map=pixel_map, crs_wkt=crs_wkt, width=scene.width, height=scene.height)
        if not all(np.isfinite(made.ground_gsd())) or min(made.ground_gsd()) <= 0:
            raise SceneNotGeoreferenced(f"{name}: its centre is nowhere on Earth in its own CRS {crs.name!r}")
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
        flat = np.reshape(points, (-1, 2))
        lon, lat = _transformer(self.crs_wkt, WGS84_LONLAT).transform(flat[:, 0], flat[:, 1])
        lon, lat = (np.where(np.isfinite(degrees), degrees, np.nan) for degrees in (lon, lat))
        lon = np.where(np.abs(lon) > 180, (lon + 180) % 360 - 180, lon)
        lonlat = np.stack([lon, lat], axis=-1).reshape(np.shape(points))
        if lonlat.ndim >= 3:
            lonlat[..., 0] = _near(lonlat[..., 0], lonlat[..., :1, 0])
        return lonlat

    def scene_to_lonlat(self, points: FloatArray) -> FloatArray:
        """(..., 2) scene pixels → (..., 2) WGS84 longitude and latitude; rings as in :meth:`world_to_lonlat`."""
        return self.world_to_lonlat(self.scene_to_world(points))

    def measure(self, corners_scene: FloatArray) -> GroundMeasures:
        """Sizes on the ground of (N, 4, 2) boxes given by their corners in scene pixels, in ring order.

        Chords between points of the ellipsoid, lengthened to arcs: within 1e-6 of the geodesic up to 10 km, and within
        1e-4 up to 100 km, at the poles too, at a tenth of the cost of the iterative geodesic.
        """
        lonlat = self.scene_to_lonlat(corners_scene)
        corners = _geocentric(lonlat)
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
            azimuth_deg=_azimuth(long_axis, corners.mean(axis=1)),
        )

    def ground_gsd(self) -> tuple[float, float]:
        """(x, y): metres on the ground from one column, and one row, to the next at the scene's centre."""
        half = 0.5
        x, y = self.width / 2, self.height / 2
        ends = self.scene_to_lonlat(np.array([[x - half, y], [x + half, y], [x, y - half], [x, y + half]]))
        steps = _distance(ends[[0, 2]], ends[[1, 3]])
        return float(steps[0]), float(steps[1])

    def crs_projjson(self) -> dict[str, Any]:
        """The CRS as PROJJSON, as GeoParquet wants it."""
        return dict(CRS.from_wkt(self.crs_wkt).to_json_dict())

    def area_to_scene(self, geometry: shapely.Geometry, geometry_crs_wkt: str) -> shapely.Geometry:
        """The part of ``geometry`` at and around the scene, in scene pixels; empty where they do not meet.

        ``geometry_crs_wkt`` is anything PROJ understands. Longitudes may run to either side of the antimeridian.
        Raises ConfigError when that CRS is unusable.
        """
        try:
            area_crs = CRS.from_user_input(geometry_crs_wkt)
            to_area = Transformer.from_crs(CRS.from_wkt(self.crs_wkt), area_crs, always_xy=True)
        except ProjError as error:
            raise ConfigError(f"the CRS of the area of interest cannot be used with the scene's: {error}") from error
        footprint = np.stack(to_area.transform(*self.scene_to_world(_grid(self.width, self.height)).T), axis=-1)
        clipped = _clip_to(geometry, footprint, degrees=area_crs.is_geographic)
        if clipped.is_empty:
            return clipped
        back = _transformer(area_crs.to_wkt(), self.crs_wkt)
        geographic = CRS.from_wkt(self.crs_wkt).is_geographic
        centre = self.scene_to_world(np.array([self.width / 2, self.height / 2]))

        def to_scene(points: FloatArray) -> FloatArray:
            world = np.stack(back.transform(points[:, 0], points[:, 1]), axis=-1)
            if geographic:
                world[:, 0] = _near(world[:, 0], centre[0])
            return self.world_to_scene(world)

        return shapely.make_valid(shapely.transform(clipped, to_scene))


def _grid(width: int, height: int, count: int = 33) -> FloatArray:
    """(count², 2) scene pixels spread over the whole scene: its bounds in any CRS, a pole inside included."""
    x, y = np.meshgrid(np.linspace(0, width, count), np.linspace(0, height, count))
    return np.stack([x.ravel(), y.ravel()], axis=-1)


@lru_cache(maxsize=64)
def _transformer(source: str, target: str) -> Transformer:
    """Thread-safe since pyproj 3.1; made once per process and pair."""
    return Transformer.from_crs(CRS.from_user_input(source), CRS.from_user_input(target), always_xy=True)


def _horizontal_crs(crs_wkt: str, name: str) -> CRS:
    """The two-dimensional part of a CRS, known to lead to longitude and latitude."""
    try:
        crs = CRS.from_wkt(crs_wkt)
        if crs.is_compound:
            crs = crs.sub_crs_list[0]
        crs = crs.to_2d()
        _transformer(crs.to_wkt(), WGS84_LONLAT)
    except ProjError as error:
        raise SceneNotGeoreferenced(f"{name}: its CRS cannot be brought to longitude and latitude: {error}") from error
    if not (crs.is_projected or crs.is_geographic):
        raise SceneNotGeoreferenced(f"{name}: its CRS {crs.name!r} is neither projected nor geographic")
    return crs


def _affine_map(scene: Scene, name: str) -> AffineMap:
    assert scene.transform is not None
    a, b, c, d, e, f = scene.transform
    matrix, origin = np.array([[a, b], [d, e]]), np.array([c, f])
    area, sides = abs(a * e - b * d), np.hypot(a, d) * np.hypot(b, e)
    if not (np.isfinite(scene.transform).all() and area > 1e-9 * sides):
        raise SceneNotGeoreferenced(f"{name}: its transform {scene.transform} does not span the plane")
    return AffineMap(matrix, origin)


def _gcp_map(scene: Scene, crs: CRS, name: str) -> PixelMap:
    """The affine transform nearest to the control points, bent through them where it misses by AFFINE_GCP_PX.

    Raises SceneNotGeoreferenced for points that are not finite, do not span the plane, or fold it.
    """
    pixels, world = _gcp_arrays(scene.gcps, degrees=crs.is_geographic)
    try:
        if not (np.abs([pixels, world]) < BEYOND_EARTH).all():  # NaN is not, either
            raise SceneNotGeoreferenced(f"{name}: a ground control point lies beyond the Earth; remove it")
        return _fitted_map(scene, pixels, world, name)
    except np.linalg.LinAlgError as error:
        raise SceneNotGeoreferenced(
            f"{name}: no transform fits its {len(pixels)} ground control points; remove the wrong ones"
        ) from error


def _fitted_map(scene: Scene, pixels: FloatArray, world: FloatArray, name: str) -> PixelMap:
    """See :func:`_gcp_map`; ``pixels`` and ``world`` (N, 2) are finite."""
    centre, spread = pixels.mean(axis=0), pixels.std(axis=0).max() or 1.0
    design = np.column_stack([(pixels - centre) / spread, np.ones(len(pixels))])
    world_centre = world.mean(axis=0)
    solution, _, rank, singular = np.linalg.lstsq(design, world - world_centre, rcond=None)
    linear = solution[:2].T / spread
    flat = abs(np.linalg.det(linear)) <= 1e-9 * np.prod(np.linalg.norm(linear, axis=0))
    if rank < 3 or singular[-1] < 1e-6 * singular[0] or flat:
        raise SceneNotGeoreferenced(
            f"{name}: its {len(pixels)} different ground control points do not span the plane; at least 3 are needed"
        )
    trend = AffineMap(linear, solution[2] + world_centre - linear @ centre)
    left = trend.backward(world) - pixels
    if np.abs(left).max() <= AFFINE_GCP_PX:
        return trend
    spline = SplineMap(trend, RBFInterpolator(pixels, left, kernel="thin_plate_spline", degree=1))
    if spline.folds(_grid(scene.width, scene.height)):
        raise SceneNotGeoreferenced(
            f"{name}: its {len(pixels)} ground control points fold the scene over itself; some are "
            f"{np.abs(left).max():.0f} px off an affine transform: remove the wrong ones"
        )
    return spline


def _gcp_arrays(gcps: tuple[GroundControlPoint, ...], *, degrees: bool) -> tuple[FloatArray, FloatArray]:
    """(N, 2) pixels and (N, 2) world, each pixel position once, longitudes on one side of the antimeridian."""
    table = np.array([(gcp.column, gcp.row, gcp.x, gcp.y) for gcp in gcps], np.float64)
    _, first = np.unique(table[:, :2], axis=0, return_index=True)
    table = table[np.sort(first)]
    if degrees:
        table[:, 2] = _near(table[:, 2], table[0, 2])
    return table[:, :2], table[:, 2:]


def _near(longitude: FloatArray, anchor: FloatArray | float) -> FloatArray:
    """Longitudes moved by whole turns to within 180 degrees of ``anchor``."""
    return np.asarray(longitude - 360.0 * np.round((longitude - anchor) / 360.0))


def _distance(start: FloatArray, end: FloatArray) -> FloatArray:
    """(N,) geodesic metres between (N, 2) longitudes and latitudes."""
    return np.asarray(WGS84.inv(start[:, 0], start[:, 1], end[:, 0], end[:, 1])[2], np.float64)


def _geocentric(lonlat: FloatArray) -> FloatArray:
    """(..., 2) longitude and latitude on the ellipsoid → (..., 3) geocentric metres."""
    lon, lat = np.radians(lonlat[..., 0]), np.radians(lonlat[..., 1])
    vertical = WGS84.a / np.sqrt(1 - WGS84.es * np.sin(lat) ** 2)
    across = vertical * np.cos(lat)
    return np.stack([across * np.cos(lon), across * np.sin(lon), vertical * (1 - WGS84.es) * np.sin(lat)], axis=-1)


def _azimuth(direction: FloatArray, place: FloatArray) -> FloatArray:
    """(N,) degrees in [0, 180) clockwise from true north of (N, 3) geocentric directions seen at (N, 3) places."""
    x, y, z = place.T
    across = np.hypot(x, y)
    lon, lat = np.arctan2(y, x), np.arctan2(z, across * (1 - WGS84.es))
    dx, dy, dz = direction.T
    outward = dx * np.cos(lon) + dy * np.sin(lon)
    east = dy * np.cos(lon) - dx * np.sin(lon)
    north = dz * np.cos(lat) - outward * np.sin(lat)
    # To a millionth of a degree, which is noise for any object, so that due south is 0 and not 179.9999999.
    return np.asarray(np.round(np.degrees(np.arctan2(east, north)), 6) % 180, np.float64)


def _clip_to(geometry: shapely.Geometry, footprint: FloatArray, *, degrees: bool) -> shapely.Geometry:
    """``geometry`` cut to the bounds of ``footprint`` (N, 2) and a margin, its edges cut short.

    In degrees, copies of the geometry one turn to the west and east are cut too, because the footprint may reach
    across the antimeridian where the geometry is written on the other side.
    """
    finite = footprint[np.isfinite(footprint).all(axis=1)]
    if not len(finite):
        return shapely.Polygon()
    if degrees:
        middle = finite[len(finite) // 2, 0]
        finite = np.column_stack([_near(finite[:, 0], middle), finite[:, 1]])
    low, high = finite.min(axis=0), finite.max(axis=0)
    margin = AREA_MARGIN * (high - low)
    low, high = low - margin, high + margin
    if degrees:
        low, high = np.maximum(low, (middle - 180, -90)), np.minimum(high, (middle + 180, 90))
    box = shapely.box(*low, *high)
    turns = (-360.0, 0.0, 360.0) if degrees else (0.0,)
    valid = shapely.make_valid(geometry)
    pieces = [shapely.intersection(affinity.translate(valid, turn), box) for turn in turns]
    return shapely.segmentize(shapely.union_all(pieces), float((high - low).max()) / AREA_SEGMENTS)
