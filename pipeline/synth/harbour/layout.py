"""Where things stand in a procedural harbour: coastline, ports, ships. Metres, x right and y down, no pixels.

Everything is a pure function of the seed and the place. One coast runs through the scene's centre; ports stand along
it at hashed places; ships lie alongside their quays, ride at anchor with the wind or are under way.
numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pipeline.synth.noise import FloatImage, fractal_at, fractal_grid, generator
from pipeline.types import BoolArray, FloatArray, IntArray

SHIP_CLASSES = ("tanker", "container", "bulk", "passenger", "grey", "barge")
FILL, BASIN, PIER, BREAKWATER, YARD, ROOF, TANK, JETTY, BOATS = range(9)
LAND_KINDS = (FILL, PIER, BREAKWATER, JETTY)

_COAST_OCTAVES = (
    (24000.0, 4500.0), (9000.0, 1700.0), (3700.0, 750.0), (1500.0, 300.0), (610.0, 110.0), (260.0, 42.0), (110.0, 15.0)
)  # fmt: skip
_PORT_REACH_M = 2600.0
_ANCHORAGE_CELL_M = 1300.0
_RIVER_OCTAVES = ((5200.0, 900.0), (1900.0, 260.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What distinguishes one harbour: drawn once from its seed."""

    seed: int
    centre_x_m: float
    centre_y_m: float
    seaward_rad: float
    """Direction of the open sea."""
    offset_m: float
    """Land is pushed seaward by this much at the scene's centre."""
    wind_rad: float
    port_spacing_m: float
    occupancy: float
    """Share of the quays' length that is taken."""
    anchored: float
    """Chance of a ship in an anchorage cell."""
    river_half_width_m: float
    """0 without a river."""
    river_at_m: float
    cloudiness: float
    """0 for a clear sky, up to 1."""


def place_of(seed: int, width_m: float, height_m: float) -> Place:
    """The harbour of ``seed`` in a scene of this size, its coast near the scene's centre."""
    rng = generator(seed, 1)
    draw = rng.random(10)
    reach = min(width_m, height_m, 9000.0)
    return Place(
        seed=seed,
        centre_x_m=width_m / 2,
        centre_y_m=height_m / 2,
        seaward_rad=float(2 * np.pi * draw[0]),
        offset_m=float((draw[1] - 0.55) * 0.5 * reach),
        wind_rad=float(2 * np.pi * draw[2]),
        port_spacing_m=float(1900 + 900 * draw[3]),
        occupancy=float(0.35 + 0.5 * draw[4]),
        anchored=float(0.08 + 0.4 * draw[5] ** 2),
        river_half_width_m=float(60 + 160 * draw[7]) if draw[6] < 0.4 else 0.0,
        river_at_m=float((draw[8] - 0.5) * 0.7 * reach),
        cloudiness=float(max(0.0, (draw[9] - 0.55) / 0.45)),
    )


def along_and_out(place: Place, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Metres along the mean coast, and seaward of the scene's centre."""
    dx, dy = x - place.centre_x_m, y - place.centre_y_m
    cos, sin = np.cos(place.seaward_rad), np.sin(place.seaward_rad)
    return np.asarray(dx * sin - dy * cos), np.asarray(dx * cos + dy * sin)


def point_at(place: Place, along: FloatArray, out: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The inverse of :func:`along_and_out`."""
    cos, sin = np.cos(place.seaward_rad), np.sin(place.seaward_rad)
    return place.centre_x_m + along * sin + out * cos, place.centre_y_m - along * cos + out * sin


@lru_cache(maxsize=64)
def _relief_at_centre(place: Place) -> float:
    centre = np.array([place.centre_x_m]), np.array([place.centre_y_m])
    return float(fractal_at(place.seed + 11, *centre, _COAST_OCTAVES)[0])


def _shore(place: Place, relief: FloatArray, along: FloatArray, out: FloatArray) -> FloatArray:
    inland = relief - _relief_at_centre(place) - out + place.offset_m
    if place.river_half_width_m:
        knots = np.arange(np.floor(out.min() / 100.0), np.ceil(out.max() / 100.0) + 1) * 100.0
        meander = fractal_at(place.seed + 12, knots, np.zeros(1), _RIVER_OCTAVES)
        half_width = place.river_half_width_m * np.clip(1.0 + (out - place.offset_m) / 6000.0, 0.5, 2.5)
        bank = np.abs(along - place.river_at_m - np.interp(out, knots, meander)) - half_width
        inland = np.minimum(inland, bank + 0.01 * relief)
    return np.asarray(inland)


def inland_grid(place: Place, xs: FloatArray, ys: FloatArray) -> FloatImage:
    """Roughly the metres to the natural shore, positive on land, on the grid of ``xs`` and ``ys``."""
    relief = fractal_grid(place.seed + 11, xs, ys, _COAST_OCTAVES)
    along, out = along_and_out(place, xs[None, :], ys[:, None])
    return _shore(place, relief.astype(np.float64), along, out).astype(np.float32)


def inland_at(place: Place, x: FloatArray, y: FloatArray) -> FloatArray:
    """The same at any points."""
    relief = fractal_at(place.seed + 11, x, y, _COAST_OCTAVES)
    return _shore(place, relief, *along_and_out(place, x, y))


@dataclass(frozen=True, slots=True, eq=False)
class Shapes:
    """Oriented rectangles with a kind and a tone of their own, in the order they are laid down."""

    boxes: FloatArray
    """(N, 5) cx, cy, length, width in metres, angle_rad."""
    kinds: IntArray
    """(N,) FILL … BOATS, or the index of a ship's class."""
    tones: FloatArray
    """(N, 3) numbers in [0, 1) that choose colours."""

    @classmethod
    def of(cls, rows: list[tuple[float, float, float, float, float, int]], rng: np.random.Generator) -> Shapes:
        table = np.array(rows, np.float64).reshape(-1, 6)
        return cls(table[:, :5], table[:, 5].astype(np.int64), rng.random((len(table), 3)))

    @classmethod
    def concat(cls, parts: list[Shapes]) -> Shapes:
        empty = cls(np.zeros((0, 5)), np.zeros(0, np.int64), np.zeros((0, 3)))
        parts = [empty, *parts]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("boxes", "kinds", "tones")))

    def __getitem__(self, keep: BoolArray | IntArray) -> Shapes:
        return Shapes(self.boxes[keep], self.kinds[keep], self.tones[keep])

    def near(self, x0: float, y0: float, x1: float, y1: float, margin: float = 0.0) -> Shapes:
        """Those whose circumscribed circle, widened by ``margin``, touches the rectangle."""
        reach = np.hypot(self.boxes[:, 2], self.boxes[:, 3]) / 2 + margin
        cx, cy = self.boxes[:, 0], self.boxes[:, 1]
        return self[(cx + reach > x0) & (cx - reach < x1) & (cy + reach > y0) & (cy - reach < y1)]


def inside(box: FloatArray, x: FloatArray, y: FloatArray, margin: float = 0.0) -> BoolArray:
    """Which points lie in the oriented box, widened by ``margin`` on every side."""
    cos, sin = np.cos(box[4]), np.sin(box[4])
    u = (x - box[0]) * cos + (y - box[1]) * sin
    v = (y - box[1]) * cos - (x - box[0]) * sin
    return np.asarray((np.abs(u) <= box[2] / 2 + margin) & (np.abs(v) <= box[3] / 2 + margin))


@dataclass(frozen=True, slots=True, eq=False)
class Port:
    """One port: what it is built of, and the ships in it."""

    grounds: Shapes
    """FILL, BASIN, PIER, BREAKWATER, JETTY: they decide what is land."""
    tops: Shapes
    """YARD, ROOF, TANK, BOATS: they lie on it."""
    ships: Shapes


def is_land(place: Place, grounds: Shapes, x: FloatArray, y: FloatArray, margin: float = 0.0) -> BoolArray:
    """Whether points stand on natural or built land, or within ``margin`` metres of built land."""
    land = inland_at(place, x, y) > -margin
    for box, kind in zip(grounds.boxes, grounds.kinds, strict=True):
        hit = inside(box, x, y, margin if kind in LAND_KINDS else -margin)
        land = land | hit if kind in LAND_KINDS else land & ~hit
    return land
