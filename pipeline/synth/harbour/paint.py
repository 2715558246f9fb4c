"""Colours of a procedural harbour: one square cell of it, sea to clouds, as a Sentinel-2 true-colour image has them.

Layers from the ground up: sea, natural land cover, ports, buildings, wakes, ships; then the optics (a blur of about
half a 10 m pixel, whatever the GSD asked for), clouds, sensor noise and 16-bit numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from pipeline.synth.canvas import Canvas
from pipeline.synth.harbour.layout import (
    BASIN,
    BOATS,
    BREAKWATER,
    FILL,
    JETTY,
    PIER,
    ROOF,
    TANK,
    YARD,
    Place,
    Shapes,
    inland_grid,
)
from pipeline.synth.harbour.ports import ports_near, ships_near
from pipeline.synth.harbour.quays import AT_REST
from pipeline.synth.harbour.terrain import Palette, in_near_infrared, land_cover, palette_of, sea
from pipeline.synth.noise import FloatImage, fractal_grid, noise_grid
from pipeline.types import FloatArray

OPTICS_SIGMA_M = 5.0
_SHADOW_M = 260.0
WAKE_REACH_M = 2600.0


def _grounds(canvas: Canvas, land: FloatImage, grounds: Shapes, palette: Palette) -> None:
    """Build and cut the land of ports: ``land`` (share of land per pixel) and its colour."""
    for box, kind, tone in zip(grounds.boxes, grounds.kinds, grounds.tones, strict=True):
        hit = canvas.rectangle(box)
        if hit is None:
            continue
        rows, columns, cover = hit
        if kind == BASIN:
            land[rows, columns] *= 1 - cover
            continue
        land[rows, columns] = np.maximum(land[rows, columns], cover)
        level = {FILL: 7.5, PIER: 8.5, BREAKWATER: 7.5, JETTY: 8.0}[int(kind)] * (0.6 + 0.8 * tone[0])
        wear = ((160.0, 0.2), (45.0, 0.16), (16.0, 0.14))
        grain = fractal_grid(77, canvas.xs[columns], canvas.ys[rows], wear)
        canvas.lay(rows, columns, (level * palette.concrete).astype(np.float32) * (1 + grain[..., None]), cover)


_ROOFS = np.array(
    [[15, 15, 15.5], [22, 22, 22], [9, 9.2, 9.8], [7, 9, 13], [12, 8, 6.5], [11, 10.5, 9.5], [29, 29, 29]]
)
_STACKS = np.array([[11, 6, 5], [6, 7.5, 10], [12, 12, 12], [8, 8.5, 7], [14, 10, 7], [6, 6, 6.5]])


def _tops(canvas: Canvas, tops: Shapes) -> None:
    """Sheds, container stacks, tanks and small boats, with a shadow to one side."""
    for box, kind, tone in zip(tops.boxes, tops.kinds, tops.tones, strict=True):
        hit = canvas.rectangle(box)
        if hit is None:
            continue
        rows, columns, cover = hit
        if kind == TANK:
            round_off = canvas.patch(box, canvas.gsd_m)
            assert round_off is not None
            cover = canvas.soft(np.float32(box[2] / 2) - np.hypot(round_off[2], round_off[3]))
            canvas.lay(rows, columns, np.array([17.0, 17, 16.5]) * (0.6 + 0.7 * tone[1]), cover)
            continue
        if kind == BOATS:
            spots = noise_grid(int(1e6 * tone[0]), canvas.xs[columns], canvas.ys[rows], 11.0)
            cover = cover * np.clip(0.35 + 0.5 * spots, 0, 1)
            canvas.lay(rows, columns, np.array([15.0, 16, 16.5]), cover)
            continue
        table = _ROOFS if kind == ROOF else _STACKS
        colour = table[int(tone[0] * len(table))] * (0.7 + 0.5 * tone[1])
        grain = noise_grid(int(1e6 * tone[2]), canvas.xs[columns], canvas.ys[rows], 14.0 if kind == YARD else 60.0)
        strength = 0.4 if kind == YARD else 0.08
        canvas.lay(
            rows, columns, colour.astype(np.float32) * (1 + strength * grain[..., None]), cover * np.float32(0.92)
        )


_HULLS: dict[int, list[list[float]]] = {
    0: [[9, 4.5, 4], [5, 5.5, 5], [8, 6, 5]],
    1: [[5, 6, 9], [9, 6, 5.5], [8, 8.5, 9]],
    2: [[10, 5, 4.5], [7, 7.5, 7.5], [6, 6, 6.2], [9, 7.5, 6]],
    3: [[20, 20.5, 21], [16, 17, 18]],
    4: [[6.5, 7, 7.5], [7.5, 8, 8.4]],
    5: [[6, 5.6, 5.2], [8, 7, 6]],
}
_BRIDGE = {0: 0.15, 1: 0.14, 2: 0.12, 3: 0.0, 4: 0.3, 5: 0.0}


def _hull_half_width(u: FloatImage, box: FloatArray, kind: int) -> FloatImage:
    """Half the beam at ``u`` metres from midships: a pointed bow ahead, a nearly square stern behind."""
    bow = np.float32(box[2] * (0.05 if kind == 5 else 0.3 if kind == 4 else 0.17))
    ahead = np.clip((np.float32(box[2] / 2) - u) / bow, 0, 1)
    astern = np.clip((np.float32(box[2] / 2) + u) / np.float32(0.06 * box[2]), 0, 1)
    out: FloatImage = np.float32(box[3] / 2) * np.sqrt(ahead * (2 - ahead)) * (0.7 + 0.3 * astern)
    return out


def _deck(u: FloatImage, v: FloatImage, box: FloatArray, kind: int, tone: FloatArray) -> FloatImage:
    """Colour of the deck: hatches or stacks along the hull, a white bridge near the stern."""
    hulls = _HULLS[kind]
    base = np.array(hulls[int(tone[0] * len(hulls))], np.float32) * np.float32(0.75 + 0.6 * tone[1])
    colour = np.broadcast_to(base, (*u.shape, 3)).copy()
    place_along = u / np.float32(box[2])
    if kind in (1, 2):
        period = max(22.0, box[2] / 9)
        slot = np.floor(u / np.float32(period)).astype(np.int64)
        stacks = _STACKS.astype(np.float32)[(slot * 5 + int(97 * tone[1])) % len(_STACKS)]
        hold = (np.abs(place_along) < 0.36) & (np.abs(v) < 0.4 * box[3])
        strength = np.float32(0.75 if kind == 1 else 0.3)
        colour += (stacks * 1.15 - colour) * (hold * strength)[..., None]
    if kind == 0:
        pipes = np.abs(v) < 0.1 * box[3]
        colour += pipes[..., None] * np.float32(1.6)
    if _BRIDGE[kind]:
        behind = np.abs(place_along + (0.36 if kind != 4 else 0.0)) < _BRIDGE[kind] / 2
        colour += (np.array([17, 17.3, 17.6], np.float32) - colour) * (behind * np.float32(0.85))[..., None]
    return colour


def _ships(canvas: Canvas, ships: Shapes) -> None:
    for box, kind, tone in zip(ships.boxes, ships.kinds, ships.tones, strict=True):
        patch = canvas.patch(box, 2 * canvas.gsd_m)
        if patch is None:
            continue
        rows, columns, u, v = patch
        half = _hull_half_width(u, box, int(kind))
        cover = canvas.soft(half - np.abs(v)) * canvas.soft(np.float32(box[2] / 2) - np.abs(u))
        cover = np.minimum(cover, 2 * half / np.float32(canvas.gsd_m))
        canvas.lay(rows, columns, _deck(u, v, box, int(kind), tone), cover)


def _wakes(canvas: Canvas, ships: Shapes) -> None:
    """Foam behind ships under way: a bright core that fades astern, and two faint arms."""
    for box, tone in zip(ships.boxes, ships.tones, strict=True):
        length = min(box[2] * (4 + 14 * tone[2] / AT_REST), WAKE_REACH_M - box[2])
        astern = box.copy()
        astern[:2] -= np.array([np.cos(box[4]), np.sin(box[4])]) * length / 2
        astern[2:4] = length, 0.6 * length
        patch = canvas.patch(astern, canvas.gsd_m)
        if patch is None:
            continue
        rows, columns, u, v = patch
        behind = np.clip(0.5 - u / np.float32(length), 0, 1)
        wide = np.float32(box[3] * 0.35) * (1 + 2.5 * behind)
        core = np.exp(-((v / wide) ** 2)) * (1 - behind) ** 2 * (behind > 0.0)
        arms = np.exp(-(((np.abs(v) - 0.2 * behind * np.float32(length)) / (wide * 0.8)) ** 2)) * (1 - behind) ** 3
        canvas.lay(rows, columns, np.array([7.0, 8.5, 9.0]), np.clip(0.75 * core + 0.12 * arms, 0, 1))


def _clouds(place: Place, canvas: Canvas) -> None:
    """Thin clouds, bright and soft, and their shadows some hundred metres away."""
    if not place.cloudiness:
        return
    octaves = ((5200.0, 0.5), (2100.0, 0.3), (1000.0, 0.22), (480.0, 0.15), (230.0, 0.1), (100.0, 0.06), (40.0, 0.03))

    def veil(shift: float) -> FloatImage:
        thickness = fractal_grid(place.seed + 31, canvas.xs + shift, canvas.ys + shift, octaves)
        out: FloatImage = np.clip((thickness - np.float32(0.75 - 0.35 * place.cloudiness)) * 1.3, 0, 0.6)
        return out

    canvas.colour[...] *= 1 - np.float32(0.6) * veil(_SHADOW_M)[..., None]
    alpha = veil(0.0)[..., None]
    canvas.colour[...] += (np.array([27, 27.5, 28], np.float32) - canvas.colour) * alpha


def paint(
    place: Place, x_px: int, y_px: int, side_px: int, gsd_m: float, near_infrared: bool = False
) -> NDArray[np.uint16]:
    """(side, side, 3) uint16 of the square cell whose top left pixel is (x_px, y_px); (side, side, 1) in near infrared,
    where what is built or floats has the mean of its colours."""
    sigma = OPTICS_SIGMA_M / gsd_m
    margin = int(np.ceil(4 * sigma)) + 1
    steps = np.arange(-margin, side_px + margin, dtype=np.float64) + 0.5
    xs, ys = (x_px + steps) * gsd_m, (y_px + steps) * gsd_m
    palette = in_near_infrared(palette_of(place), place) if near_infrared else palette_of(place)
    bounds = float(xs[0]), float(ys[0]), float(xs[-1]), float(ys[-1])
    inland = inland_grid(place, xs, ys)
    land: FloatImage = np.clip(inland / np.float32(gsd_m) + np.float32(0.5), 0, 1)
    water = sea(place, palette, xs, ys, inland)
    ground = land_cover(place, palette, xs, ys, inland) if land.any() else water.copy()
    canvas = Canvas(xs, ys, gsd_m, ground)
    ports = ports_near(place, *bounds)
    grounds = Shapes.concat([p.grounds for p in ports]).near(*bounds, margin=gsd_m)
    _grounds(canvas, land, grounds, palette)
    tops = Shapes.concat([p.tops for p in ports]).near(*bounds, margin=gsd_m)
    _tops(canvas, tops[tops.kinds != BOATS])
    canvas.colour[...] = water + (canvas.colour - water) * land[..., None]
    _tops(canvas, tops[tops.kinds == BOATS])
    reach = WAKE_REACH_M
    ships = ships_near(place, bounds[0] - reach, bounds[1] - reach, bounds[2] + reach, bounds[3] + reach)
    _wakes(canvas, ships[ships.tones[:, 2] < AT_REST])
    _ships(canvas, ships.near(*bounds, margin=gsd_m))
    for band in range(3):
        canvas.colour[..., band] = gaussian_filter(canvas.colour[..., band], sigma, truncate=4.0, mode="nearest")
    _clouds(place, canvas)
    for band in range(3):
        grain = noise_grid(place.seed + 41 + band, xs, ys, 10.0)
        canvas.colour[..., band] *= 1 + np.float32(0.025) * grain
        canvas.colour[..., band] += np.float32(0.05) * grain
    inner = canvas.colour[margin:-margin, margin:-margin]
    inner = inner.mean(-1, keepdims=True) if near_infrared else inner
    numbers: NDArray[np.uint16] = np.clip(np.rint(inner * 1000.0), 1, 65535).astype(np.uint16)
    return numbers
