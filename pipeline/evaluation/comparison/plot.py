"""The picture of a comparison: accuracy against pixels and against time. matplotlib's only home."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


COLOURS = {
    "global": "#222222",
    "exhaustive": "#222222",
    "queries600": "#888888",
    "larger": "#888888",
    "oracle": "#c9a227",
    "random": "#b9b9b9",
    "uniform": "#7a9a01",
    "sae": "#c0392b",
    "intensity": "#e67e22",
    "entropy": "#8e44ad",
    "density": "#2980b9",
    "small_box_density": "#16a085",
    "ours": "#d6006d",
}
MARKERS = {"global": "s", "exhaustive": "D", "queries600": "P", "larger": "v"}
DASHED = ("oracle", "larger", "random")


def check_matplotlib() -> None:
    """Raises ConfigError where matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError("plotting needs matplotlib: pip install 'kestrel-aerial[plot]', or give --no-plot")


def plot_comparison(report: Mapping[str, Any], path: Path) -> None:
    """Write a PNG: AP50 against pixels through the network, and against seconds; one curve a kind of strategy, its
    budgets along it; bars are the 95 % intervals. Raises ConfigError without matplotlib."""
    figure_of(report).savefig(path, dpi=110)


def figure_of(report: Mapping[str, Any]) -> Figure:
    """What :func:`plot_comparison` writes. Raises ConfigError without matplotlib."""
    check_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # no window, no global state
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    _curves(left, report, "network_mpx_per_image")
    _curves(right, report, "seconds_p50")
    left.set_xlabel("pixels through the network per image, Mpx")
    right.set_xlabel("seconds of detection per image, median")
    left.set_ylabel("AP50, %")
    figure.suptitle(f"{report['images']} images, {report['objects']} objects: {', '.join(report['classes'])}")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    return figure


def _curves(axes: Axes, report: Mapping[str, Any], cost: str) -> None:
    from matplotlib.ticker import LogLocator

    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for row in report["strategies"].values():
        kinds.setdefault(row["kind"], []).append(row)
    start = kinds.get("global", [None])[0]
    for kind, rows in kinds.items():
        points = sorted(rows, key=lambda row: float(row["budget"] or 0))
        joined = [start, *points] if start is not None and points[0]["budget"] is not None else points
        axes.plot(
            [row[cost] for row in joined],
            [100 * row["ap50"] for row in joined],
            color=COLOURS.get(kind, "#444444"),
            marker=MARKERS.get(kind, "o"),
            linestyle="--" if kind in DASHED else "-",
            linewidth=2.6 if kind == "ours" else 1.4,
            zorder=3 if kind == "ours" else 2,
            markersize=5,
            markevery=slice(len(joined) - len(points), None),  # the first point is the global look's own
            label=kind,
        )
        for point in points:
            _interval(axes, point, cost, COLOURS.get(kind, "#444444"))
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.set_axisbelow(True)
    axes.grid(visible=True, color="#eeeeee")
    axes.spines[["top", "right"]].set_visible(False)


def _interval(axes: Axes, row: Mapping[str, Any], cost: str, colour: str) -> None:
    low, high = row["ap50_interval"]
    axes.vlines(row[cost], 100 * low, 100 * high, color=colour, alpha=0.3, linewidth=3, zorder=1)
