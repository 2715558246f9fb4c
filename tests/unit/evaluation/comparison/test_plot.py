"""The picture of a comparison."""

from __future__ import annotations

from pathlib import Path

from pipeline.evaluation.comparison.plot import plot_comparison


def test_a_plot_without_the_global_look(tmp_path: Path) -> None:
    row = {"ap50": 0.5, "ap50_interval": [0.4, 0.6], "network_mpx_per_image": 1.0, "seconds_p50": 0.2}
    strategies = {
        "exhaustive": {**row, "kind": "exhaustive", "budget": None},
        "sae@1": {**row, "kind": "sae", "budget": 1},
    }
    report = {"images": 1, "objects": 1, "classes": ["ship"], "strategies": strategies}
    plot_comparison(report, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5000
