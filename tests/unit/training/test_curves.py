"""The picture of a run: of what its metrics hold, also after it was cut and went on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.training.curves import draw_curves, figure_of, read_metrics

ROWS = [
    {"step": 20, "rate": 0.1, "seconds_per_step": 1.0, "loss": 5.0, "class_0": 3.0, "l1_0": 2.0},
    {"step": 20, "held_out_ap50": 0.1, "train_ap50": 0.2, "held_out_ap": None},
    {"step": 40, "rate": 0.1, "seconds_per_step": 1.0, "loss": 4.0, "class_0": 2.5, "l1_0": 1.5},
    {"step": 40, "held_out_ap50": 0.3, "train_ap50": 0.5, "held_out_ap": 0.1},
]


def written(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_losses_stand_left_and_figures_right(tmp_path: Path) -> None:
    figure = figure_of(ROWS)
    left, right = figure.axes
    losses = {line.get_label(): list(line.get_ydata()) for line in left.get_lines()}
    assert losses == {"loss": [5.0, 4.0], "class_0": [3.0, 2.5], "l1_0": [2.0, 1.5]}
    drawn = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in right.get_lines()}
    assert drawn["AP50, held out"] == ([20, 40], [10.0, 30.0])
    assert drawn["AP50, trained on"] == ([20, 40], [20.0, 50.0])
    assert drawn["AP, held out"] == ([40], [10.0])
    assert draw_curves(written(tmp_path / "metrics.jsonl", ROWS), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "metrics.jsonl"]


def test_of_steps_that_were_done_again_the_last_stand(tmp_path: Path) -> None:
    """Cut at step 40 before its checkpoint, gone on from 20: the steps above are those of the second go."""
    again = [{"step": 30, "loss": 9.0}, {"step": 40, "loss": 8.0}]
    path = written(tmp_path / "metrics.jsonl", [*ROWS, *again])
    assert [(row["step"], row.get("loss")) for row in read_metrics(path)] == [
        (20, 5.0),
        (20, None),
        (30, 9.0),
        (40, 8.0),
    ]
    path.write_text(path.read_text() + '{"step": 60, "lo')
    assert read_metrics(path)[-1]["step"] == 40


def test_nothing_is_drawn_of_nothing_or_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not draw_curves(tmp_path / "metrics.jsonl", tmp_path / "curves.png")
    monkeypatch.setattr("pipeline.training.curves.importlib.util.find_spec", lambda _: None)
    assert not draw_curves(written(tmp_path / "metrics.jsonl", ROWS), tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()
