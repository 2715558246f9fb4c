"""Sea and natural or urban ground of a procedural harbour: everything that is painted before a port is built on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.harbour_layout import Place
from pipeline.noise import FloatImage, fractal_grid, generator, noise_grid, uniform
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
    deep = np.array([0.45, 0.85, 1.5]) * (0.5 + 0.9 * draw[1]) + muddy * np.array([2.6, 3.2, 2.4]) * draw[2]
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


def sea(place: Place, palette: Palette, xs: FloatArray, ys: FloatArray, inland: FloatImage) -> FloatImage:
    """(H, W, 3) water: sediment near the shore and in plumes, slicks, swell and glint."""
    plume = fractal_grid(place.seed + 51, xs, ys, ((6500.0, 0.6), (2100.0, 0.35), (700.0, 0.2), (220.0, 0.1)))
    near = np.float32(1.0) / (1 + np.maximum(-inland, 0) / np.float32(350.0))
    share = np.clip(np.float32(palette.turbidity) * (0.75 * near + 0.3 * plume), 0, 1.2)[..., None]
    deep, turbid = palette.deep.astype(np.float32), palette.turbid.astype(np.float32)
    out = deep + (turbid - deep) * share
    cos, sin = np.cos(place.wind_rad), np.sin(place.wind_rad)
    wave = np.sin((xs[None, :] * cos + ys[:, None] * sin) / 23.0 + 3.0 * plume).astype(np.float32)
    patch = fractal_grid(place.seed + 52, xs, ys, ((2600.0, 0.6), (900.0, 0.4), (130.0, 0.35), (45.0, 0.25), (20.0, 0.25)))
    out += np.float32(0.55 * palette.glint) * (np.maximum(patch, -0.5) + 0.12 * wave + 0.5)[..., None]
    shimmer = noise_grid(place.seed + 53, xs, ys, 12.0) * np.float32(0.06 + 0.1 * palette.glint)
    result: FloatImage = out + shimmer[..., None]
    return result


def _districts(seed: int, xs: FloatArray, ys: FloatArray, size: float) -> IntArray:
    """Number of the district of every pixel: Voronoi cells of one jittered point per square of ``size`` metres."""
    columns = np.arange(int(np.floor(xs[0] / size)) - 1, int(np.floor(xs[-1] / size)) + 2)
    rows = np.arange(int(np.floor(ys[0] / size)) - 1, int(np.floor(ys[-1] / size)) + 2)
    best = np.full((len(ys), len(xs)), np.inf, np.float32)
    name = np.zeros(best.shape, np.int64)
    for row in rows:
        for column in columns:
            px = (column + float(uniform(seed, 1, row, column))) * size
            py = (row + float(uniform(seed, 2, row, column))) * size
            left, right = np.searchsorted(xs, (px - 1.5 * size, px + 1.5 * size))
            top, low = np.searchsorted(ys, (py - 1.5 * size, py + 1.5 * size))
            if left == right or top == low:
                continue
            away = ((xs[left:right] - px) ** 2).astype(np.float32) + ((ys[top:low] - py) ** 2).astype(np.float32)[:, None]
            closer = away < best[top:low, left:right]
            best[top:low, left:right][closer] = away[closer]
            name[top:low, left:right][closer] = (int(row) << 20) + int(column)
    return name


def _town(place: Place, palette: Palette, xs: FloatArray, ys: FloatArray) -> FloatImage:
    """(H, W, 3) streets and roofs: a grid per district, buildings of hashed colours inside the blocks."""
    district = _districts(place.seed + 61, xs, ys, 900.0)
    names, index = np.unique(district, return_inverse=True)
    index = index.reshape(district.shape)
    turn = np.pi / 2 * uniform(place.seed + 62, names)
    long_m, short_m = 70 + 90 * uniform(place.seed + 63, names), 45 + 40 * uniform(place.seed + 64, names)
    cos, sin = np.cos(turn).astype(np.float32)[index], np.sin(turn).astype(np.float32)[index]
    x, y = (xs - xs[0]).astype(np.float32)[None, :], (ys - ys[0]).astype(np.float32)[:, None]
    bend = noise_grid(place.seed + 65, xs, ys, 500.0) * np.float32(35)
    # Offsets of the district keep u and v absolute while the bulk of the arithmetic stays in float32.
    base_u = ((xs[0] * np.cos(turn) + ys[0] * np.sin(turn)) % (long_m * 1024)).astype(np.float32)[index]
    base_v = ((ys[0] * np.cos(turn) - xs[0] * np.sin(turn)) % (short_m * 1024)).astype(np.float32)[index]
    u = (x * cos + y * sin + base_u + bend) / long_m.astype(np.float32)[index]
    v = (y * cos - x * sin + base_v + bend) / short_m.astype(np.float32)[index]
    bu, bv = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    street = (np.minimum(u - bu, 1 - (u - bu)) * long_m.astype(np.float32)[index] < 7) | (
        np.minimum(v - bv, 1 - (v - bv)) * short_m.astype(np.float32)[index] < 6
    )
    house = np.floor(u * 4).astype(np.int64) * 4099 + np.floor(v * 2.5).astype(np.int64)
    a = uniform(place.seed + 66, house, index).astype(np.float32)
    block = uniform(place.seed + 67, bu, bv, index).astype(np.float32)
    tone = (0.62 + 0.75 * ((a * 7.3) % 1.0))[..., None]
    roof, green = palette.roof.astype(np.float32), palette.green.astype(np.float32)
    grey = np.array([9.5, 9.5, 9.6], np.float32)
    out = np.where((a < 0.6)[..., None], roof, grey) * tone
    out = np.where((a > 0.93)[..., None], np.float32(19.0), out)
    out = np.where(((a < 0.12) | (block < 0.07))[..., None], green * 1.3, out)
    out = np.where((block > 0.965)[..., None], np.array([20, 20, 20.5], np.float32) * tone, out)
    result: FloatImage = np.where(street[..., None], np.array([6.2, 6.2, 6.4], np.float32), out)
    return result


def _fields(place: Place, palette: Palette, xs: FloatArray, ys: FloatArray) -> FloatImage:
    """(H, W, 3) fields of hashed crops."""
    district = _districts(place.seed + 71, xs, ys, 260.0)
    names, index = np.unique(district, return_inverse=True)
    ripe, tone = uniform(place.seed + 72, names), 0.75 + 0.5 * uniform(place.seed + 73, names)
    colours = palette.green * 1.5 + (palette.soil - palette.green * 1.5) * (ripe**1.5)[:, None]
    result: FloatImage = (colours * tone[:, None]).astype(np.float32)[index.reshape(district.shape)]
    return result


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
    shade = np.clip(1 + 2.2 * (0.7 * slope_x + 0.7 * slope_y), 0.35, 1.7)[..., None]
    canopy = fractal_grid(place.seed + 92, xs, ys, ((420.0, 0.22), (90.0, 0.16), (24.0, 0.16)))[..., None]
    woods = palette.green.astype(np.float32) * (1 + canopy) * shade
    settled = fractal_grid(place.seed + 93, xs, ys, ((5200.0, 0.5), (1900.0, 0.3), (650.0, 0.16), (160.0, 0.08)))
    settled += np.float32(palette.town - 0.42) + np.float32(0.35) * np.exp(-np.maximum(inland, 0) / np.float32(1500.0))
    farmed = fractal_grid(place.seed + 94, xs, ys, ((3300.0, 0.6), (1100.0, 0.3), (300.0, 0.15)))
    fields = _fields(place, palette, xs, ys) * (1 + 0.5 * canopy)
    out = woods + (fields - woods) * np.clip((farmed - 0.05) * 9, 0, 1)[..., None]
    grain = 1 + 0.5 * canopy
    out += (_town(place, palette, xs, ys) * grain - out) * np.clip(settled * 9, 0, 1)[..., None]
    road = _roads(place, xs, ys, gsd_m)[..., None]
    out += (np.array([8.5, 8.4, 8.4], np.float32) - out) * (road * np.float32(0.8))
    sandy = noise_grid(place.seed + 95, xs, ys, 1700.0)
    sand = np.clip((np.float32(38.0) - inland) / 12, 0, 1) * np.clip(sandy * 6, 0, 1)
    result: FloatImage = out + (np.array([17.0, 15.0, 12.0], np.float32) - out) * sand[..., None]
    return result
