"""Scene pixels ↔ world coordinates: an affine transform, or a spline through ground control points.

Control points that are affine to within half a pixel are an affine transform; others bend it by a thin-plate spline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from pyproj import CRS

from pipeline.errors import SceneNotGeoreferenced
from pipeline.georeference.ground import nearest_turn
from pipeline.types import FloatArray, GroundControlPoint, Scene

if TYPE_CHECKING:
    from scipy.interpolate import RBFInterpolator

AFFINE_GCP_PX = 0.5
"""Ground control points that an affine transform meets to within this many pixels are taken as affine."""

NEWTON_PX = 1e-7
NEWTON_STEPS = 50
FOLD = 1e-6
"""Area, in pixels of the affine trend, below which a pixel bent by control points counts as folded."""

BEYOND_EARTH = 1e12
"""No pixel and no coordinate of a control point is as large, in any unit."""


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


def pixel_grid(width: int, height: int, count: int = 33) -> FloatArray:
    """(count², 2) scene pixels spread over the whole scene: its bounds in any CRS, a pole inside included."""
    x, y = np.meshgrid(np.linspace(0, width, count), np.linspace(0, height, count))
    return np.stack([x.ravel(), y.ravel()], axis=-1)


def affine_map(scene: Scene, name: str) -> AffineMap:
    """The transform of a scene that has one. Raises SceneNotGeoreferenced when it does not span the plane."""
    assert scene.transform is not None
    a, b, c, d, e, f = scene.transform
    matrix, origin = np.array([[a, b], [d, e]]), np.array([c, f])
    area, sides = abs(a * e - b * d), np.hypot(a, d) * np.hypot(b, e)
    if not (np.isfinite(scene.transform).all() and area > 1e-9 * sides):
        raise SceneNotGeoreferenced(f"{name}: its transform {scene.transform} does not span the plane")
    return AffineMap(matrix, origin)


def gcp_map(scene: Scene, crs: CRS, name: str) -> PixelMap:
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
    """See :func:`gcp_map`; ``pixels`` and ``world`` (N, 2) are finite."""
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
    from scipy.interpolate import RBFInterpolator  # late: it takes half a second, and few scenes need it

    spline = SplineMap(trend, RBFInterpolator(pixels, left, kernel="thin_plate_spline", degree=1))
    if spline.folds(pixel_grid(scene.width, scene.height)):
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
        table[:, 2] = nearest_turn(table[:, 2], table[0, 2])
    return table[:, :2], table[:, 2:]
