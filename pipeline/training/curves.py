"""The picture of a training run: its losses and its figures by step."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVES_FILE = "curves.png"
_FIGURES = {
    "held_out_ap50": ("AP50, held out", "#d6006d", "-"),
    "held_out_ap": ("AP, held out", "#d6006d", "--"),
    "train_ap50": ("AP50, trained on", "#2980b9", "-"),
    "train_ap": ("AP, trained on", "#2980b9", "--"),
}
_NO_LOSSES = ("step", "seconds_per_step", "rate", *_FIGURES)
_STRONGEST = 8
"""Losses that are drawn beside their sum: those that weigh most in the end."""


def draw_curves(metrics: Path, path: Path) -> bool:
    """Write a PNG of what a ``metrics.jsonl`` holds, by rename: losses on the left, AP on the right.

    False, and nothing written, without matplotlib or when the file holds nothing yet.
    """
    rows = read_metrics(metrics)
    if not rows or importlib.util.find_spec("matplotlib") is None:
        return False
    partial = path.with_name(f".{path.name}")
    figure_of(rows).savefig(partial, dpi=100, format="png")
    partial.replace(path)
    return True


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Rows of a ``metrics.jsonl``, by step. Of what a run did and did again, after it was cut, the last stands; a line
    that was cut off itself is passed over."""
    rows: list[dict[str, Any]] = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            row = dict(json.loads(line))
        except ValueError:
            continue
        while rows and rows[-1]["step"] > row["step"]:
            rows.pop()
        rows.append(row)
    return rows


def figure_of(rows: list[dict[str, Any]]) -> Figure:
    """What :func:`draw_curves` writes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # no window, no global state
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _draw_losses(left, [row for row in rows if "loss" in row])
    for name, (label, colour, style) in _FIGURES.items():
        points = [(row["step"], 100 * row[name]) for row in rows if row.get(name) is not None]
        if points:
            right.plot(*zip(*points, strict=True), style, color=colour, marker="o", markersize=3, label=label)
    right.set_ylabel("average precision, %")
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.set_xlabel("step")
        axes.grid(visible=True, color="#eeeeee")
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize="small")
    return figure


def _draw_losses(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """Their sum, and the strongest of them."""
    if not rows:
        return
    parts = {key: value for key, value in rows[-1].items() if key not in (*_NO_LOSSES, "loss") and value}
    strongest = sorted(parts, key=lambda key: -abs(parts[key]))[:_STRONGEST]
    for name in ("loss", *strongest):
        points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
        wide = {"color": "#222222", "linewidth": 2.2} if name == "loss" else {"linewidth": 0.9}
        axes.plot(*zip(*points, strict=True), label=name, **wide)
    axes.set_yscale("log")
    axes.set_ylabel("loss")
