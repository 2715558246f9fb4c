"""Ports along the coast of a procedural harbour, their buildings, and every ship: alongside, at anchor, under way."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np

from pipeline.synth.harbour.layout import (
    BASIN,
    BREAKWATER,
    FILL,
    Place,
    Port,
    Shapes,
    along_and_out,
    inland_at,
    inside,
    is_land,
    point_at,
)
from pipeline.synth.harbour.quays import APART_M, AT_REST, STYLES, Row, alongside, ship_at_quay, yards
from pipeline.synth.noise import generator
from pipeline.types import FloatArray

PORT_REACH_M = 2600.0
"""Nothing that belongs to a port is farther from its origin than this."""
ANCHORAGE_CELL_M = 1300.0


def _grounds(rng: np.random.Generator, half: float, quay_v: float) -> tuple[list[Row], list[Row]]:
    """The made ground of a port, in pieces of unequal depth, and what stands on it."""
    grounds: list[Row] = []
    tops: list[Row] = []
    edges = np.sort(np.concatenate([[-half, half], half * (2 * rng.random(3) - 1)]))
    for u0, u1 in pairwise(edges.tolist()):
        depth = 180 + 380 * rng.random()
        grounds.append(((u0 + u1) / 2, quay_v - depth / 2, u1 - u0 + 8, depth, 0.0, FILL))
        middle = quay_v - depth * (0.35 + 0.3 * rng.random())
        for left in np.arange(u0, u1 - 60, 240.0):
            right = min(left + 225, u1)
            tops += yards(rng, left, quay_v - depth + 10, right, middle) + yards(rng, left, middle, right, quay_v)
    return grounds, tops


def _breakwater(rng: np.random.Generator, half: float, quay_v: float) -> list[Row]:
    out, wide = quay_v + 420 + 420 * rng.random(), half * (0.8 + 0.8 * rng.random())
    bend = (rng.random() - 0.5) * 0.5
    rows: list[Row] = [(-wide / 2, out, wide, 13 + 9 * rng.random(), 0.0, BREAKWATER)]
    rows.append((wide / 2 * np.cos(bend) - 8, out + wide / 2 * np.sin(bend), wide, 15.0, bend, BREAKWATER))
    if rng.random() < 0.6:
        back = 250 + 300 * rng.random()
        rows.append((-wide - back / 4, out - back / 2, back * 1.12, 14.0, -np.pi / 2 - 0.46, BREAKWATER))
    return rows


def _to_world(rows: list[Row], x: float, y: float, angle: float) -> list[Row]:
    """From the port's frame (u along the quay, v seaward) to metres of the scene."""
    cos, sin = np.cos(angle), np.sin(angle)
    return [(x + u * cos - v * sin, y + u * sin + v * cos, *rest, a + angle, kind) for u, v, *rest, a, kind in rows]


def _shore_along(place: Place, along: float) -> float:
    """Metres seaward of the scene's centre where the outermost land ends, at one place along the coast."""
    out = np.linspace(9000.0, -9000.0, 241) + place.offset_m
    land = inland_at(place, *point_at(place, np.full(len(out), along), out)) > 0
    return float(out[int(np.argmax(land))])


@lru_cache(maxsize=256)
def _site(place: Place, index: int) -> Port | None:
    """Port number ``index`` along the coast as planned by itself: its ships may touch anything."""
    rng = generator(place.seed, 2, index)
    spacing = place.port_spacing_m
    if rng.random() > 0.8 and index != 0:
        return None
    along = (index + 0.5 * (rng.random() - 0.5)) * spacing
    half = 350 + min(550.0, spacing / 2 - 450) * rng.random()
    shore = [_shore_along(place, along + k * half * 0.6) for k in (-1, 0, 1)]
    slope = float(np.clip((shore[2] - shore[0]) / (1.2 * half), -1.2, 1.2))
    (x,), (y,) = point_at(place, np.array([along]), np.array([np.median(shore)]))
    angle = place.seaward_rad - np.pi / 2 + float(np.arctan(slope))
    quay_v = 20 + 100 * rng.random()
    more, tops, quays = STYLES[int(np.searchsorted([0.4, 0.72, 0.86], rng.random()))](rng, half, quay_v)
    ground, built_up = _grounds(rng, half, quay_v)
    grounds, tops = ground + more, tops + built_up
    if rng.random() < 0.65:
        grounds += _breakwater(rng, half, quay_v)
    moored = [row for quay in quays for row in alongside(rng, quay, place.occupancy)]
    parts = [Shapes.of(_to_world(rows, x, y, angle), rng) for rows in (grounds, tops, moored)]
    parts[2].tones[:, 2] = AT_REST + (1 - AT_REST) * parts[2].tones[:, 2]
    return Port(*parts)


@lru_cache(maxsize=256)
def port(place: Place, index: int) -> Port | None:
    """Port number ``index`` along the coast; None where there is none.

    Buildings over a basin, and ships that touch land or another ship (the neighbours' too), are left out.
    """
    own = _site(place, index)
    if own is None:
        return None
    before, after = _site(place, index - 1), _site(place, index + 1)
    around = Shapes.concat([site.grounds for site in (before, own, after) if site is not None])
    dry = np.ones(len(own.tops.kinds), np.bool_)
    for box in around.boxes[around.kinds == BASIN]:
        dry &= ~inside(box, own.tops.boxes[:, 0], own.tops.boxes[:, 1], 30.0)
    taken = before.ships if before is not None else Shapes.concat([])
    return Port(own.grounds, own.tops[dry], _afloat(place, around, taken, own.ships))


def outline(boxes: FloatArray, margin: float = 0.0) -> tuple[FloatArray, FloatArray]:
    """Fifteen points around and inside every box: (N, 15) x and y."""
    u, v = (grid.ravel() for grid in np.meshgrid(np.linspace(-0.5, 0.5, 5), np.linspace(-0.5, 0.5, 3)))
    u, v = u * (boxes[:, 2:3] + 2 * margin), v * (boxes[:, 3:4] + 2 * margin)
    cos, sin = np.cos(boxes[:, 4:5]), np.sin(boxes[:, 4:5])
    return boxes[:, 0:1] + u * cos - v * sin, boxes[:, 1:2] + u * sin + v * cos


def _afloat(place: Place, grounds: Shapes, taken: Shapes, ships: Shapes) -> Shapes:
    """The ``ships`` that touch no land, and come near neither one of ``taken`` nor one before them."""
    if not len(ships.boxes):
        return ships
    x, y = outline(ships.boxes)
    wet = ~is_land(place, grounds, x.ravel(), y.ravel()).reshape(x.shape).any(axis=1)
    boxes, first = np.concatenate([taken.boxes, ships.boxes]), len(taken.boxes)
    x, y = outline(boxes)
    kept = list(range(first))
    for i in np.flatnonzero(wet) + first:
        reach = (boxes[i, 2] + boxes[kept, 2]) / 2 + 2 * APART_M
        near = np.array(kept, np.int64)[np.hypot(*(boxes[kept, :2] - boxes[i, :2]).T) < reach]
        if not any(_crowd(boxes[i], boxes[j], (x[i], y[i]), (x[j], y[j])) for j in near):
            kept.append(int(i))
    return ships[np.array(kept[first:], np.int64) - first]


def _crowd(
    a: FloatArray, b: FloatArray, on_a: tuple[FloatArray, FloatArray], on_b: tuple[FloatArray, FloatArray]
) -> bool:
    return bool(inside(b, *on_a, APART_M).any() or inside(a, *on_b, APART_M).any())


def ports_near(place: Place, x0: float, y0: float, x1: float, y1: float) -> list[Port]:
    """The ports that may have something inside the rectangle."""
    corners = np.array([x0, x1, x0, x1]), np.array([y0, y0, y1, y1])
    along, _ = along_and_out(place, *corners)
    low = int(np.floor((along.min() - PORT_REACH_M) / place.port_spacing_m))
    high = int(np.ceil((along.max() + PORT_REACH_M) / place.port_spacing_m))
    found = [port(place, index) for index in range(low, high + 1)]
    return [p for p in found if p is not None and len(p.grounds.near(x0, y0, x1, y1, 400.0).kinds)]


@lru_cache(maxsize=4096)
def _roadstead(place: Place, column: int, row: int) -> Shapes:
    """The ship in one cell of open water, if there is one."""
    rng = generator(place.seed, 3, column, row)
    if rng.random() > place.anchored + 0.06:
        return Shapes.concat([])
    length, width, kind = ship_at_quay(rng, 400.0)
    x, y = (column + 0.2 + 0.6 * rng.random()) * ANCHORAGE_CELL_M, (row + 0.2 + 0.6 * rng.random()) * ANCHORAGE_CELL_M
    moving = rng.random() < 0.25
    heading = 2 * np.pi * rng.random() if moving else place.wind_rad + 0.35 * (rng.random() - 0.5)
    ship = Shapes.of([(x, y, length, width, heading, kind)], rng)
    ship.tones[:, 2] = rng.random() * AT_REST if moving else AT_REST + (1 - AT_REST) * rng.random()
    grounds = Shapes.concat([p.grounds for p in ports_near(place, x - 600, y - 600, x + 600, y + 600)])
    points = outline(ship.boxes, 60.0)
    moored = [
        p.ships.near(x - 500, y - 500, x + 500, y + 500).boxes
        for p in ports_near(place, x - 900, y - 900, x + 900, y + 900)
    ]
    px, py = points[0].ravel(), points[1].ravel()
    crowded = any(inside(box, px, py, 40.0).any() for boxes in moored for box in boxes)
    on_land = is_land(place, grounds, px, py, 40.0).any()
    return Shapes.concat([]) if on_land or crowded else ship


def ships_near(place: Place, x0: float, y0: float, x1: float, y1: float) -> Shapes:
    """Every ship whose hull may touch the rectangle, in one fixed order."""
    parts = [p.ships for p in ports_near(place, x0, y0, x1, y1)]
    cells = [
        (column, row)
        for row in range(int(np.floor(y0 / ANCHORAGE_CELL_M)) - 1, int(np.floor(y1 / ANCHORAGE_CELL_M)) + 2)
        for column in range(int(np.floor(x0 / ANCHORAGE_CELL_M)) - 1, int(np.floor(x1 / ANCHORAGE_CELL_M)) + 2)
    ]
    parts += [_roadstead(place, column, row) for column, row in cells]
    return Shapes.concat(parts).near(x0, y0, x1, y1)
