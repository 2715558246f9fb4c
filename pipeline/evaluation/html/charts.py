"""Charts as SVG, of numbers alone: names stand in the page around them, where they can be read aloud and wrapped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.calibration import Reliability
from pipeline.evaluation.errors.shares import Band, labelled
from pipeline.evaluation.html.element import Markup, element
from pipeline.types import FloatArray

WIDTH, HEIGHT = 320, 240
LEFT, RIGHT, TOP, BOTTOM = 40, 12, 12, 40
"""Margins around the plot, pixels of the drawing."""
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
MOST_POINTS = 400
"""Of a curve; more cannot be seen."""


@dataclass(frozen=True, slots=True)
class Point:
    """In pixels of the drawing, y downwards."""

    x: float
    y: float


def at(x: float, y: float) -> Point:
    """Where shares of 0 to 1 along both axes lie in the drawing."""
    return Point(LEFT + x * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y * (HEIGHT - TOP - BOTTOM))


def precision_recall(recall: FloatArray, precision: FloatArray, described: str) -> Markup:
    """The monotone curve, both (N,), as steps: precision holds back to the recall before it, as its area counts it."""
    steps = _steps(recall, precision)
    line = _path(steps)
    end = steps[-1] if steps else at(0, 0)
    area = f"{line}V{_number(at(0, 0).y)}H{_number(at(0, 0).x)}Z" if steps else ""
    return _drawing(
        described,
        *_frame("recall", "precision"),
        element("path", class_="area", d=area),
        element("path", class_="curve", d=line),
        element("path", class_="ideal", d=f"M{_number(end.x)} {_number(end.y)}V{_number(at(0, 0).y)}"),
    )


def recall_of_bands(bands: Sequence[Band], label: str, described: str) -> Markup:
    """A column for each band with its recall, and the interval as a whisker."""
    step = 1 / len(bands)
    parts: list[Markup] = []
    for place, band in enumerate(bands):
        middle = (place + 0.5) * step
        top, foot = at(middle - 0.36 * step, band.recall), at(middle + 0.36 * step, 0)
        low, high = (at(middle, share) for share in band.interval)
        parts += [
            element("rect", class_="column", x=_number(top.x), y=_number(top.y), width=_number(foot.x - top.x),
                    height=_number(foot.y - top.y)),
            element("path", class_="whisker", d=f"M{_number(low.x)} {_number(low.y)}V{_number(high.y)}"),
            element("text", labelled(band), x=_number(low.x), y=HEIGHT - BOTTOM + 15, text_anchor="middle",
                    style="font-size:10px" if len(bands) > 5 else None),
        ]  # fmt: skip
    return _drawing(described, *_frame(label, "recall", ticks=()), *parts)


def reliability_dots(bins: Sequence[Reliability], described: str) -> Markup:
    """Share of right boxes over what was expected, a dot for each bin that holds any; larger dots stand for more boxes.

    The second of ``bins``, if there is one, is drawn in the second colour, dashed.
    """
    start, end = at(0, 0), at(1, 1)
    ideal = f"M{_number(start.x)} {_number(start.y)}L{_number(end.x)} {_number(end.y)}"
    parts = [element("path", class_="ideal", d=ideal)]
    for kind, one in zip(("", " second"), bins, strict=False):
        held = np.flatnonzero(one.boxes)
        points = [at(float(one.expected[place]), float(one.right[place])) for place in held]
        sizes = 3 + 6 * np.sqrt(one.boxes[held] / max(int(one.boxes.max(initial=1)), 1))
        parts.append(element("path", class_=f"curve{kind}", d=_path(points)))
        parts += [
            element("circle", class_=f"dot{kind}", cx=_number(point.x), cy=_number(point.y), r=_number(size))
            for point, size in zip(points, sizes.tolist(), strict=True)
        ]
    label = "score" if len(bins) == 1 else "score, or what the calibration expects"
    return _drawing(described, *_frame(label, "share right"), *parts)


def _steps(recall: FloatArray, precision: FloatArray) -> list[Point]:
    """Corners of the curve from recall 0 on, where precision changes; evenly thinned beyond MOST_POINTS."""
    if not len(recall) or recall[-1] <= 0:
        return []
    last = np.append(np.flatnonzero(np.diff(precision) != 0), len(precision) - 1)
    if len(last) > MOST_POINTS:
        last = last[np.unique(np.linspace(0, len(last) - 1, MOST_POINTS).astype(np.int64))]
    points, before = [], 0.0
    for row in last.tolist():
        if recall[row] == before:  # false alarms after the last right detection
            continue
        points += [at(before, float(precision[row])), at(float(recall[row]), float(precision[row]))]
        before = float(recall[row])
    return points


def _frame(x_label: str, y_label: str, ticks: Sequence[float] = TICKS) -> list[Markup]:
    start, end = at(0, 0), at(1, 1)
    parts = []
    for tick in TICKS:
        y = at(0, tick).y
        parts.append(element("path", class_="axis", d=f"M{_number(start.x)} {_number(y)}H{_number(end.x)}"))
        parts.append(element("text", f"{tick:g}", x=LEFT - 6, y=_number(y + 4), text_anchor="end"))
    for tick in ticks:
        x = at(tick, 0).x
        anchor = "end" if tick == 1 else "middle"
        parts.append(element("text", f"{tick:g}", x=_number(x), y=HEIGHT - BOTTOM + 15, text_anchor=anchor))
    middle = at(0.5, 0.5)
    parts.append(element("text", x_label, x=_number(middle.x), y=HEIGHT - 6, text_anchor="middle"))
    turned = f"rotate(-90 10 {_number(middle.y)})"
    parts.append(element("text", y_label, x=10, y=_number(middle.y), text_anchor="middle", transform=turned))
    return parts


def _drawing(described: str, *parts: Markup) -> Markup:
    return element("svg", *parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=described)


def _path(points: Sequence[Point]) -> str:
    return "".join(f"{'L' if place else 'M'}{_number(one.x)} {_number(one.y)}" for place, one in enumerate(points))


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
