"""Sea and natural or urban ground of a procedural harbour: everything that is painted before a port is built on it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.synth.harbour.layout import Place
from pipeline.synth.noise import FloatImage, fractal_grid, generator, hashed, noise_grid, scrambled, uniform
from pipeline.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Palette:
    """The colours of one place, reflectance in thousands."""

    deep: FloatArray
    """Open water."""
    turbid: FloatArray
    """What shallow or muddy water tends to."""
    turbidity: float
    glint: float
    concrete: FloatArray
    """A tint around 1."""
    green: FloatArray
    soil: FloatArray
    roof: FloatArray
    town: float
    """How much of the land is built up, 0 to 1."""


def palette_of(place: Place) -> Palette:
    """The colours of ``place``."""
    draw = generator(place.seed, 4).random(16)
    muddy = draw[0] ** 2
    silt = max(0.0, 4 * draw[12] - 3)  # one sea in four is an estuary, nearly as bright as land
    deep = np.array([0.45, 0.85, 1.5]) * (0.5 + 0.9 * draw[1]) + muddy * np.array([2.6, 3.2, 2.4]) * draw[2]
    deep += silt * np.array([5.5, 6.0, 4.2])
    return Palette(
        deep=deep,
        turbid=deep + np.array([1.3, 2.2, 1.6]) * (0.4 + draw[3]),
        turbidity=float(0.3 + 1.2 * draw[4]),
        glint=float(draw[5] ** 2),
        concrete=np.array([1.0, 0.98, 0.94 + 0.1 * draw[6]]),
        green=np.array([2.0 + 2.2 * draw[7], 3.1 + 1.2 * draw[8], 1.9 + 0.6 * draw[7]]),
        soil=np.array([11.0, 8.8, 6.6]) * (0.7 + 0.6 * draw[9]),
        roof=np.array([10.5, 7.4 + 2.2 * draw[10], 5.6 + 3.4 * draw[10]]),
        town=float(0.35 + 0.5 * draw[11]),
    )


def in_near_infrared(palette: Palette, place: Place) -> Palette:
    """``palette`` as the near infrared band sees it, the same in all three: water nearly black, plants brightest.

    Levels after ``sen2ships``: water has 2 to 20 % of the land's brightness there, half of it under haze.
    """
    draw = generator(place.seed, 5).random(6)
    grey = np.ones(3)
    deep = 0.2 + 3.0 * draw[0] ** 3
    return replace(
        palette, deep=deep * grey, turbid=(deep + 0.2 + 1.0 * draw[1]) * grey, glint=0.5 * palette.glint,
        concrete=(0.9 + 0.5 * draw[2]) * grey, green=(9.0 + 7.0 * draw[3]) * grey, soil=(11.0 + 5.0 * draw[4]) * grey,
        roof=(9.0 + 4.0 * draw[5]) * grey,
    )  # fmt: skip


def sea(place: Place, palette: Palette, xs: FloatArray, ys: FloatArray, inland: FloatImage) -> FloatImage:
    """(H, W, 3) water: sediment near the shore and in plumes, slicks, swell and glint."""
    plume = fractal_grid(place.seed + 51, xs, ys, ((6500.0, 0.6), (2100.0, 0.35), (700.0, 0.2), (220.0, 0.1)))
    near = np.float32(1.0) / (1 + np.maximum(-inland, 0) / np.float32(350.0))
    share = np.clip(np.float32(palette.turbidity) * (0.75 * near + 0.3 * plume), 0, 1.2)[..., None]
    deep, turbid = palette.deep.astype(np.float32), palette.turbid.astype(np.float32)
    out = deep + (turbid - deep) * share
    cos, sin = np.cos(place.wind_rad), np.sin(place.wind_rad)
    wave = np.sin((xs[None, :] * cos + ys[:, None] * sin) / 23.0 + 3.0 * plume).astype(np.float32)
    patch = fractal_grid(
        place.seed + 52, xs, ys, ((2600.0, 0.6), (900.0, 0.4), (130.0, 0.35), (45.0, 0.25), (20.0, 0.25))
    )
    out += np.float32(0.55 * palette.glint) * (np.maximum(patch, -0.5) + 0.12 * wave + 0.5)[..., None]
    shimmer = noise_grid(place.seed + 53, xs, ys, 12.0) * np.float32(0.06 + 0.1 * palette.glint)
    result: FloatImage = out + shimmer[..., None]
    return result


@dataclass(frozen=True, slots=True, eq=False)
class Plots:
    """Land is divided into districts (Voronoi cells of jittered points), each with a grid of its own direction."""

    names: IntArray
    """(D,) hashable number of each district."""
    index: NDArray[np.int32]
    """(H, W) which of the D districts."""
    key: NDArray[np.int32]
    """(H, W) a number of the district that is the same in every cell of the scene."""
    u: FloatImage
    """(H, W) metres along the district's grid, from its point."""
    v: FloatImage

    def of(self, table: FloatArray) -> FloatImage:
        """(H, W, ...) the row of a (D, ...) table that each pixel's district has."""
        out: FloatImage = table.astype(np.float32)[self.index]
        return out


def plots_of(seed: int, xs: FloatArray, ys: FloatArray, size: float = 1000.0) -> Plots:
    """The districts of a grid of pixels; their points lie one in each square of ``size`` metres."""
    columns = np.arange(int(np.floor(xs[0] / size)) - 1, int(np.floor(xs[-1] / size)) + 2)
    rows = np.arange(int(np.floor(ys[0] / size)) - 1, int(np.floor(ys[-1] / size)) + 2)
    row, column = (grid.ravel() for grid in np.meshgrid(rows, columns, indexing="ij"))
    px = (column + uniform(seed, 1, row, column)) * size - xs[0]
    py = (row + uniform(seed, 2, row, column)) * size - ys[0]
    x, y = (xs - xs[0]).astype(np.float32), (ys - ys[0]).astype(np.float32)
    best = np.full((len(ys), len(xs)), np.inf, np.float32)
    index = np.zeros(best.shape, np.int32)
    for k in range(len(px)):
        left, right = np.searchsorted(x, (px[k] - 1.3 * size, px[k] + 1.3 * size))
        top, low = np.searchsorted(y, (py[k] - 1.3 * size, py[k] + 1.3 * size))
        if left == right or top == low:
            continue
        away = np.square(x[left:right] - np.float32(px[k])) + np.square(y[top:low] - np.float32(py[k]))[:, None]
        closer = away < best[top:low, left:right]
        np.copyto(best[top:low, left:right], away, where=closer)
        np.copyto(index[top:low, left:right], np.int32(k), where=closer)
    names = row * 65536 + column
    turn = np.pi / 2 * uniform(seed, 3, names)
    cos, sin = np.cos(turn).astype(np.float32)[index], np.sin(turn).astype(np.float32)[index]
    dx, dy = x[None, :] - px.astype(np.float32)[index], y[:, None] - py.astype(np.float32)[index]
    bend = fractal_grid(seed + 5, xs, ys, ((450.0, 38.0), (140.0, 11.0)))
    sway = fractal_grid(seed + 6, xs, ys, ((380.0, 38.0), (110.0, 9.0)))
    key = (hashed(seed, names) & np.uint64(0x7FFFFFFF)).astype(np.int32)[index]
    return Plots(names, index, key, dx * cos + dy * sin + bend, dy * cos - dx * sin + sway)


_TOWN_KINDS = np.array([0.48, 0.7, 0.86])
"""Cumulated shares: housing, suburb, industry; the rest is old town."""
_BLOCK_M = np.array([[85.0, 60], [110, 70], [150, 90], [60, 50]])
_HOUSES = np.array([[3.0, 2.0], [4, 2], [2, 2], [2, 2]])
_CONTRAST = np.array([0.55, 0.6, 0.8, 0.45])
_GREENERY = np.array([0.16, 0.42, 0.12, 0.07])
_BRIGHT = np.array([0.02, 0.01, 0.1, 0.015])


def _town(place: Place, palette: Palette, plots: Plots) -> FloatImage:
    """(H, W, 3) streets and roofs of four kinds of district; houses have hashed tones."""
    seed, names = place.seed + 61, plots.names
    kind = np.searchsorted(_TOWN_KINDS, uniform(seed, 1, names))
    stretch = 0.8 + 0.5 * np.stack([uniform(seed, 2, names), uniform(seed, 3, names)], axis=1)
    block = plots.of(_BLOCK_M[kind] * stretch)
    houses = plots.of(_HOUSES[kind])
    u, v = plots.u / block[..., 0], plots.v / block[..., 1]
    bu, bv = np.floor(u), np.floor(v)
    side = np.minimum(
        np.minimum(u - bu, 1 - (u - bu)) * block[..., 0], np.minimum(v - bv, 1 - (v - bv)) * block[..., 1]
    )
    bu, bv = bu.astype(np.int32), bv.astype(np.int32)
    hu = np.floor(u * houses[..., 0]).astype(np.int32)
    hv = np.floor(v * houses[..., 1]).astype(np.int32)
    a, b = scrambled(hu, hv, plots.key), scrambled(hv, hu, plots.key)
    whole = scrambled(bu, bv, plots.key)
    warm = (0.3 + 0.5 * uniform(seed, 4, names)) * np.array([1.0, 0.9, 0.4, 1.0])[kind]
    base = np.array([8.3, 8.2, 8.3]) + (palette.roof - np.array([8.3, 8.2, 8.3])) * warm[:, None]
    base *= 0.82 + 0.25 * uniform(seed, 5, names)[:, None]
    tone = (1 + plots.of(_CONTRAST[kind]) * (a - np.float32(0.5))) * (np.float32(0.85) + np.float32(0.3) * whole)
    out = plots.of(base) * tone[..., None]
    green = palette.green.astype(np.float32) * np.float32(1.45)
    leafy = np.clip((plots.of(_GREENERY[kind]) - np.minimum(b, whole + 0.04)) * 30, 0, 1)
    out += (green - out) * (leafy * np.float32(0.85))[..., None]
    hall = (plots.of(_BRIGHT[kind]) > np.abs(whole - np.float32(0.6))) & (b < 0.75)
    out = np.where(hall[..., None], np.float32(10.5) + 10 * a[..., None] * np.array([0.92, 1, 1.08], np.float32), out)
    street = np.clip((np.float32(8.0) - side) / 8, 0, 0.75)[..., None]
    result: FloatImage = out + (np.array([6.3, 6.3, 6.5], np.float32) - out) * street
    return result


def _fields(place: Place, palette: Palette, plots: Plots) -> FloatImage:
    """(H, W, 3) strips of hashed crops, from green to bare soil."""
    seed, names = place.seed + 71, plots.names
    u = np.floor(plots.u / plots.of(140 + 330 * uniform(seed, 1, names))).astype(np.int32)
    v = np.floor((plots.v + np.float32(37.0) * (u % 7)) / plots.of(60 + 140 * uniform(seed, 2, names))).astype(np.int32)
    ripe, tone = scrambled(u, v, plots.key)[..., None], scrambled(v, u, plots.key)[..., None]
    fresh = (palette.green * 1.6).astype(np.float32)
    ripened = fresh + (palette.soil.astype(np.float32) - fresh) * ripe * ripe
    return np.asarray(ripened * (np.float32(0.75) + tone / 2), np.float32)


def _roads(place: Place, xs: FloatArray, ys: FloatArray, gsd_m: float) -> FloatImage:
    """(H, W) cover of winding main roads: the zero lines of a smooth noise, of constant width."""
    level = fractal_grid(place.seed + 81, xs, ys, ((3100.0, 1.0), (1300.0, 0.35)))
    slope_y, slope_x = np.gradient(level, np.float32(gsd_m))
    away = np.abs(level) / np.maximum(np.hypot(slope_x, slope_y), np.float32(2e-4))
    result: FloatImage = np.clip((np.float32(11.0) - away) / np.float32(gsd_m) + 0.5, 0, 1)
    return result


def land_cover(place: Place, palette: Palette, xs: FloatArray, ys: FloatArray, inland: FloatImage) -> FloatImage:
    """(H, W, 3) ground: woods on hills, fields, towns near the coast, main roads, beaches."""
    gsd_m = float(xs[1] - xs[0])
    hills = fractal_grid(place.seed + 91, xs, ys, ((4200.0, 90.0), (1700.0, 45.0), (700.0, 22.0), (290.0, 9.0)))
    slope_y, slope_x = np.gradient(hills, np.float32(gsd_m))
    shade = np.asarray(np.clip(1 + 1.54 * (slope_x + slope_y), 0.35, 1.7))[..., None]
    canopy = fractal_grid(place.seed + 92, xs, ys, ((420.0, 0.22), (90.0, 0.16), (24.0, 0.16)))[..., None]
    woods = palette.green.astype(np.float32) * (1 + canopy) * shade
    settled = fractal_grid(place.seed + 93, xs, ys, ((5200.0, 0.5), (1900.0, 0.3), (650.0, 0.2), (160.0, 0.12)))
    settled += np.float32(palette.town - 0.5) + np.float32(0.35) * np.exp(-np.maximum(inland, 0) / np.float32(1500.0))
    farmed = fractal_grid(place.seed + 94, xs, ys, ((3300.0, 0.6), (1100.0, 0.3), (300.0, 0.15)))
    plots = plots_of(place.seed + 60, xs, ys)
    grain = 1 + np.float32(0.5) * canopy
    out = woods
    if farmed.max() > 0.05:
        out += (_fields(place, palette, plots) * grain - out) * np.clip((farmed - 0.05) * 12, 0, 1)[..., None]
    if settled.max() > 0:
        haze = 1 + fractal_grid(place.seed + 96, xs, ys, ((1300.0, 0.14), (300.0, 0.12), (55.0, 0.1)))[..., None]
        out += (_town(place, palette, plots) * haze - out) * np.clip(settled * 7, 0, 1)[..., None]
    road = _roads(place, xs, ys, gsd_m)[..., None]
    out += (np.array([8.5, 8.4, 8.4], np.float32) - out) * (road * np.float32(0.8))
    sandy = noise_grid(place.seed + 95, xs, ys, 1700.0)
    sand = np.clip((np.float32(30.0) - inland) / 12, 0, 1) * np.clip((sandy - 0.25) * 6, 0, 0.8)
    result: FloatImage = out + (np.array([17.0, 15.0, 12.0], np.float32) - out) * sand[..., None]
    return result
