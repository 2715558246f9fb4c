"""The picture of a comparison."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.evaluation.comparison.plot import figure_of, plot_comparison


def test_a_plot_without_the_global_look(tmp_path: Path) -> None:
    row = {"ap50": 0.5, "ap50_interval": [0.4, 0.6], "network_mpx_per_image": 1.0, "seconds_p50": 0.2}
    strategies = {
        "exhaustive": {**row, "kind": "exhaustive", "budget": None},
        "sae@1": {**row, "kind": "sae", "budget": 1},
    }
    report = {"images": 1, "objects": 1, "classes": ["ship"], "strategies": strategies}
    plot_comparison(report, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5000


def test_every_point_has_its_interval() -> None:
    """Selectors with budgets and several seeds too, on both axes, as high as the report says."""
    row = {"ap50": 0.5, "network_mpx_per_image": 1.0, "seconds_p50": 0.2}
    kinds = [("global", None), ("sae", 0.25), ("sae", 1), ("random", 0.25), ("larger", 0.25), ("exhaustive", None)]
    strategies = {
        f"{kind}@{budget}": {**row, "kind": kind, "budget": budget, "ap50_interval": [0.1 * n, 0.5 + 0.05 * n]}
        for n, (kind, budget) in enumerate(kinds)
    }
    figure = figure_of({"images": 1, "objects": 1, "classes": ["ship"], "strategies": strategies})
    for axes in figure.axes:
        drawn = sorted(tuple(bar.get_segments()[0][:, 1]) for bar in axes.collections)
        assert [value for bar in drawn for value in bar] == pytest.approx(
            [value for n in range(len(kinds)) for value in (10 * n, 50 + 5 * n)]
        )
