"""Scene pixels ↔ longitude and latitude by rational polynomials (RPCs), at one height.

RPCs lead from the ground to the image, which is exact; the way back is found by Newton's method to a ten-millionth of a
pixel. Both agree with GDAL's transformer, whose own way back stops at a tenth of a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.errors import SceneNotGeoreferenced
from pipeline.georeference.crs import PIXELS_ALONE
from pipeline.georeference.ground import nearest_turn
from pipeline.georeference.pixel_maps import pixel_grid
from pipeline.types import FloatArray, RationalPolynomials, Scene

TERMS = 20
CENTRE_PX = 0.5
"""From the centre of the first pixel, where RPCs count from, to its corner, where we do."""
NEWTON_PX = 1e-7
NEWTON_STEPS = 30
FARTHEST = 8.0
"""In scales from the offsets. The polynomials mean nothing far outside of the scene."""

POWERS = np.array(
    [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (2, 0, 0), (0, 2, 0), (0, 0, 2),
     (1, 1, 1), (3, 0, 0), (1, 2, 0), (1, 0, 2), (2, 1, 0), (0, 3, 0), (0, 1, 2), (2, 0, 1), (0, 2, 1), (0, 0, 3)]
)  # fmt: skip
"""(TERMS, 3) powers of longitude, latitude and height in each term, in the order of RPC00B."""


@dataclass(frozen=True, slots=True, eq=False)
class RationalMap:
    """A :class:`pipeline.georeference.pixel_maps.PixelMap` whose world is longitude and latitude in degrees."""

    rpc: RationalPolynomials

    def forward(self, pixels: FloatArray) -> FloatArray:
        """(N, 2) scene pixels → (N, 2). Raises SceneNotGeoreferenced where the polynomials have no answer."""
        ground, lost = self._ground(pixels)
        if lost:
            raise SceneNotGeoreferenced(
                f"the RPCs have no answer at {lost} of {len(pixels)} positions; orthorectify the scene first "
                f"(gdalwarp -rpc), or {PIXELS_ALONE}"
            )
        return ground

    def backward(self, world: FloatArray) -> FloatArray:
        """(N, 2) longitude and latitude → (N, 2) scene pixels, NaN where a denominator is nought."""
        rpc = self.rpc
        lon = nearest_turn(world[:, 0], rpc.lon[0])
        return self._image(_normal(lon, rpc.lon), _normal(world[:, 1], rpc.lat))[0]

    def lost(self, pixels: FloatArray) -> int:
        """How many of (N, 2) scene pixels have no place on the ground."""
        return self._ground(pixels)[1]

    def _ground(self, pixels: FloatArray) -> tuple[FloatArray, int]:
        """Newton's method from the middle: the ground, and at how many positions it did not arrive."""
        at, left = np.zeros((len(pixels), 2)), np.arange(len(pixels))
        lost = 0
        for _ in range(NEWTON_STEPS):
            image, jacobian = self._image(at[left, 0], at[left, 1])
            error = image - pixels[left]
            far = ~(np.abs(error).max(axis=1, initial=0) < NEWTON_PX)
            determinant = jacobian[:, 0, 0] * jacobian[:, 1, 1] - jacobian[:, 0, 1] * jacobian[:, 1, 0]
            near = (np.abs(at[left]) < FARTHEST).all(axis=1) & np.isfinite(error).all(axis=1)
            solvable = near & (np.abs(determinant) > 0) & np.isfinite(determinant)
            lost += int((far & ~solvable).sum())
            going = far & solvable
            left = left[going]
            if not len(left):
                break
            at[left] -= np.linalg.solve(jacobian[going], error[going][..., None])[..., 0]
        rpc = self.rpc
        ground = np.column_stack([at[:, 0] * rpc.lon[1] + rpc.lon[0], at[:, 1] * rpc.lat[1] + rpc.lat[0]])
        return ground, lost + len(left)

    def _image(self, lon: FloatArray, lat: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(N, 2) scene pixels of (N,) normalised positions, and (N, 2, 2) their derivatives."""
        rpc = self.rpc
        height = (rpc.height_m - rpc.height[0]) / rpc.height[1]
        terms, by_lon, by_lat = _terms(lon, lat, height)
        pixels, jacobian = np.empty((len(lon), 2)), np.empty((len(lon), 2, 2))
        axes = ((rpc.sample_num, rpc.sample_den, rpc.sample), (rpc.line_num, rpc.line_den, rpc.line))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            for axis, (above, below, (offset, scale)) in enumerate(axes):
                num, den = terms @ np.array(above), terms @ np.array(below)
                pixels[:, axis] = num / den * scale + offset + CENTRE_PX
                for way, slopes in enumerate((by_lon, by_lat)):
                    slope = (slopes @ np.array(above) - num / den * (slopes @ np.array(below))) / den
                    jacobian[:, axis, way] = slope * scale
        return pixels, jacobian


def _normal(values: FloatArray, offset_scale: tuple[float, float]) -> FloatArray:
    return (values - offset_scale[0]) / offset_scale[1]


def _terms(lon: FloatArray, lat: FloatArray, height: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(N, TERMS) each: the terms at (N,) positions, and their slopes along longitude and latitude."""
    with np.errstate(over="ignore", invalid="ignore"):
        x, y = ([np.ones_like(values), values, values**2, values**3] for values in (lon, lat))
        z = [1.0, height, height**2, height**3]
        terms = [x[i] * y[j] * z[k] for i, j, k in POWERS]
        by_lon = [i * x[max(i - 1, 0)] * y[j] * z[k] for i, j, k in POWERS]
        by_lat = [j * x[i] * y[max(j - 1, 0)] * z[k] for i, j, k in POWERS]
    return np.stack(terms, axis=-1), np.stack(by_lon, axis=-1), np.stack(by_lat, axis=-1)


def rational_map(scene: Scene, name: str) -> RationalMap:
    """The map of a scene that has RPCs. Raises SceneNotGeoreferenced for some that place it nowhere."""
    rpc = scene.rpc
    assert rpc is not None
    coefficients = (rpc.line_num, rpc.line_den, rpc.sample_num, rpc.sample_den)
    pairs = (rpc.line, rpc.sample, rpc.lat, rpc.lon, rpc.height)
    whole = all(len(one) == TERMS for one in coefficients) and np.isfinite(np.hstack([*coefficients, *pairs])).all()
    made = RationalMap(rpc)
    if not whole or not all(scale for _, scale in pairs) or made.lost(pixel_grid(scene.width, scene.height)):
        raise SceneNotGeoreferenced(
            f"{name}: its RPCs do not place it at {rpc.height_m:g} m: repair or remove them, set "
            f"--raster.rpc_height_m, or {PIXELS_ALONE}"
        )
    return made
