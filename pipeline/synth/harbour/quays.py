"""Quays of a port, in its own frame: piers, walls, marinas, jetties, and the ships that lie along them."""

from __future__ import annotations

import numpy as np

from pipeline.synth.harbour.layout import BASIN, BOATS, BREAKWATER, JETTY, PIER, ROOF, SHIP_CLASSES, TANK, YARD

AT_REST = 0.3
"""Ships whose third tone is below this are under way and draw a wake."""

APART_M = 13.0
"""Least room between hulls: with less, the rings of their truth boxes would overlap so much that a merge drops one."""

Row = tuple[float, float, float, float, float, int]
Quay = tuple[float, float, float, float]
"""A straight edge for mooring: from (u0, v0) to (u1, v1), water on its right-hand side looking along it with v up."""

_LENGTHS_M = {"tanker": (110, 330), "container": (120, 400), "bulk": (90, 290), "passenger": (70, 320),
              "grey": (60, 180), "barge": (60, 130)}  # fmt: skip
_SLENDERNESS = {"tanker": 6.0, "container": 7.2, "bulk": 6.3, "passenger": 6.8, "grey": 8.2, "barge": 5.0}


def ship_at_quay(rng: np.random.Generator, longest_m: float) -> tuple[float, float, int]:
    """Length, width and class of a ship that is at most ``longest_m`` long."""
    kind = int(np.searchsorted(np.cumsum([0.17, 0.2, 0.25, 0.13, 0.13]), rng.random()))
    shortest, longest = _LENGTHS_M[SHIP_CLASSES[kind]]
    top = min(longest, longest_m)
    length = top if top <= shortest else shortest + (top - shortest) * rng.random() ** 1.6
    width = length / (_SLENDERNESS[SHIP_CLASSES[kind]] * (0.88 + 0.26 * rng.random()))
    return float(length), float(np.clip(width, 10.0, 60.0)), kind


def alongside(rng: np.random.Generator, quay: Quay, occupancy: float) -> list[Row]:
    """Ships moored at one quay, bow to either end, now and then with another one rafted outside."""
    u0, v0, u1, v1 = quay
    edge = float(np.hypot(u1 - u0, v1 - v0))
    du, dv = (u1 - u0) / edge, (v1 - v0) / edge
    rows: list[Row] = []
    cursor = 10 + 90 * rng.random()
    while cursor < edge - 65:
        if rng.random() > occupancy:
            cursor += 50 + 130 * rng.random()
            continue
        length, width, kind = ship_at_quay(rng, edge - cursor - 5)
        if length < 58:
            break
        out, middle = width / 2 + 2 + 5 * rng.random(), cursor + length / 2
        for _ in range(1 + int(rng.random() < 0.12) + int(rng.random() < 0.03)):
            heading = np.arctan2(dv, du) + np.pi * (rng.random() < 0.5) + 0.02 * (rng.random() - 0.5)
            rows.append((u0 + du * middle + dv * out, v0 + dv * middle - du * out, length, width, heading, kind))
            out += width + APART_M + 2
        cursor += length + 12 + 60 * rng.random()
    return rows


def yards(rng: np.random.Generator, u0: float, v0: float, u1: float, v1: float) -> list[Row]:
    """Container stacks, sheds or tanks that fill a rectangle of port ground."""
    rows: list[Row] = []
    style = rng.random()
    step_u, step_v = (60 + 110 * rng.random(), 24 + 30 * rng.random()) if style < 0.8 else (62.0, 62.0)
    fill = 0.5 + 0.45 * rng.random()
    for u in np.arange(u0 + step_u / 2 + 10, u1 - step_u / 2, step_u + 8):
        for v in np.arange(v0 + step_v / 2 + 6, v1 - step_v / 2 - 20, step_v + 5):
            size = 0.55 + 0.38 * rng.random()
            if rng.random() > fill:
                continue
            if style < 0.4:
                rows.append((u, v, step_u * 0.9, step_v * size, 0.0, YARD))
            elif style < 0.8:
                rows.append((u, v, step_u * size * (1 + (rng.random() < 0.2)), step_v * size, 0.0, ROOF))
            else:
                rows.append((u, v, step_u * size, step_u * size, 0.0, TANK))
    return rows


def _finger_piers(rng: np.random.Generator, half: float, quay_v: float) -> tuple[list[Row], list[Row], list[Quay]]:
    grounds, tops, quays = [], [], []
    u = -half + 60 * rng.random()
    slant = (rng.random() - 0.5) * 0.7 if rng.random() < 0.5 else 0.0
    length, width, gap = 200 + 450 * rng.random(), 40 + 110 * rng.random(), 110 + 150 * rng.random()
    tangent = np.tan(slant)
    while u + width < half:
        reach = length * (0.75 + 0.35 * rng.random())
        end_u, end_v = u + width / 2 + tangent * reach, quay_v + reach
        run, turn = reach / np.cos(slant), np.pi / 2 - slant
        middle = ((u + width / 2 + end_u) / 2, (quay_v + end_v) / 2 - 10)
        grounds.append((*middle, run + 20, width * np.cos(slant), turn, PIER))
        for row in yards(rng, -run / 2, -width / 2 - 8, run / 2, width / 2 + 18) if width > 55 else []:
            du, dv = row[0] * np.cos(turn) - row[1] * np.sin(turn), row[0] * np.sin(turn) + row[1] * np.cos(turn)
            tops.append((middle[0] + du, middle[1] + dv, row[2], row[3], turn, row[5]))
        quays.append((u + width, quay_v + 5, u + width + tangent * reach, end_v - 5))
        quays.append((u + tangent * reach, end_v - 5, u, quay_v + 5))
        quays.append((u + width, quay_v, u + width + gap, quay_v) if gap > 160 else (u, quay_v, u + 1.0, quay_v))
        u += width + gap * (0.9 + 0.3 * rng.random())
    return grounds, tops, quays


def _quay_wall(rng: np.random.Generator, half: float, quay_v: float) -> tuple[list[Row], list[Row], list[Quay]]:
    """A long straight quay, often with a rectangular basin cut into it."""
    grounds: list[Row] = []
    quays: list[Quay] = [(half, quay_v, -half, quay_v)]
    if rng.random() < 0.7:
        width, depth = 120 + 200 * rng.random(), 180 + 260 * rng.random()
        at = (rng.random() - 0.5) * (2 * half - width - 80)
        grounds.append((at, quay_v - depth / 2 + 10, width, depth + 20, 0.0, BASIN))
        left, right = at - width / 2, at + width / 2
        quays = [(half, quay_v, right, quay_v), (left, quay_v, -half, quay_v),
                 (right, quay_v - 5, right, quay_v - depth), (left, quay_v - depth, left, quay_v - 5)]  # fmt: skip
    return grounds, [], quays


def _marina(rng: np.random.Generator, half: float, quay_v: float) -> tuple[list[Row], list[Row], list[Quay]]:
    """Jetties full of small boats: bright lines that are no ships."""
    grounds: list[Row] = []
    tops: list[Row] = []
    reach, gap = 90 + 150 * rng.random(), 38 + 25 * rng.random()
    for u in np.arange(-half * 0.5, half * 0.2, gap):
        grounds.append((u, quay_v + reach / 2 - 10, reach + 20, 5.0, np.pi / 2, JETTY))
        tops.extend((u + side * 11, quay_v + reach / 2, reach * 0.95, 15.0, np.pi / 2, BOATS) for side in (-1, 1))
    wall = half * 0.2 + 40
    grounds.append((wall, quay_v + reach / 2, reach + 90, 14.0, np.pi / 2, BREAKWATER))
    grounds.append((wall - half * 0.3, quay_v + reach + 55, half * 0.6, 14.0, 0.0, BREAKWATER))
    return grounds, tops, [(half, quay_v, wall + 20, quay_v)]


def _oil_jetties(rng: np.random.Generator, half: float, quay_v: float) -> tuple[list[Row], list[Row], list[Quay]]:
    """Thin T-shaped jetties with a berth at the head."""
    grounds: list[Row] = []
    quays: list[Quay] = []
    for u in np.arange(-half + 150, half - 100, 330 + 150 * rng.random()):
        reach, head = 150 + 350 * rng.random(), 60 + 120 * rng.random()
        grounds.append((u, quay_v + reach / 2 - 10, reach + 20, 9.0, np.pi / 2, JETTY))
        grounds.append((u, quay_v + reach, head, 14.0, 0.0, JETTY))
        quays.append((u + 170, quay_v + reach + 8, u - 170, quay_v + reach + 8))
    return grounds, [], quays


STYLES = (_finger_piers, _quay_wall, _marina, _oil_jetties)
