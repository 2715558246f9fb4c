"""Tables and figures of the page, from cells that are escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.html.element import Markup, element
from pipeline.types import IntArray


def table(heads: Sequence[object], rows: Iterable[Sequence[object]]) -> Markup:
    """A table whose first column names the rows; a cell that is a ``td`` already stays as it is."""
    head = element("tr", *(_head(one) for one in heads))
    body = [element("tr", element("th", row[0], scope="row"), *map(_cell, row[1:])) for row in rows]
    return scrolling(element("table", element("thead", head), element("tbody", *body)))


def scrolling(child: Markup) -> Markup:
    """What may be wider than a small screen."""
    return element("div", child, class_="scroll", tabindex=0, role="group")


@dataclass(frozen=True, slots=True)
class Words:
    """The head of a column of words."""

    text: str


def text_cell(text: object) -> Markup:
    """A cell of words, which may be several lines."""
    return element("td", text, class_="text")


def bar_cell(share: float) -> Markup:
    """A bar of that share, 0 to 1, of its column."""
    return element("td", element("span", style=f"width:{100 * min(max(share, 0.0), 1.0):.1f}%"), class_="bar")


def matrix(names: Sequence[object], counts: IntArray) -> Markup:
    """Counts (N, N) with their names along both sides; the shade is the share of the row."""
    head = element("tr", element("th", "truth ↓ detected →"), *(element("th", one, scope="col") for one in names))
    totals = np.maximum(counts.sum(axis=1), 1)
    rows = []
    for place, name in enumerate(names):
        cells = [
            element("td", _count(counts[place, column], empty=place == column == len(names) - 1),
                    class_="right" if place == column else "wrong",
                    style=f"--share:{counts[place, column] / totals[place]:.3f}")
            for column in range(len(names))
        ]  # fmt: skip
        rows.append(element("tr", element("th", name, scope="row"), *cells))
    return scrolling(element("table", element("thead", head), element("tbody", *rows), class_="matrix"))


def decimals(value: float | None) -> str:
    """Three decimals; a dash where there is no figure."""
    return "–" if value is None or np.isnan(value) else f"{value:.3f}"


def between(bounds: Sequence[float | None]) -> str:
    """An interval, or nothing where there is none."""
    low, high = bounds
    if low is None or high is None or np.isnan(low) or np.isnan(high):
        return ""
    return f"{low:.3f} to {high:.3f}"


def _head(value: object) -> Markup:
    if isinstance(value, Words):
        return element("th", value.text, scope="col", class_="text")
    return element("th", value, scope="col")


def _cell(value: object) -> Markup:
    """Numbers are not broken across lines."""
    return value if isinstance(value, Markup) and value.startswith("<td") else element("td", value, class_="number")


def _count(value: int, *, empty: bool) -> str:
    return "" if empty else f"{value:,}" if value else "·"
