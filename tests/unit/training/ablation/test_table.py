"""Figures by size, rows that survive a cut, and differences against a recomputation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.annotations.annotations import Annotations
from pipeline.errors import ConfigError
from pipeline.evaluation.average_precision import average_precision
from pipeline.training.ablation.figures import figures_of
from pipeline.training.ablation.plan import Plan, RowPlan, SetPlan, Task, tasks_of
from pipeline.training.ablation.rows import ROWS_FILE, add_row, load_detections, read_rows, save_detections
from pipeline.training.ablation.running import RUNS
from pipeline.training.ablation.table import make_table
from pipeline.training.data.prepared import Prepared, start_folder
from pipeline.training.data.scenes import TrainingScene, save_scene
from pipeline.types import Detections, Frame

SCENES = 60


def boxes(count: int, side: float) -> np.ndarray:
    """A row of squares."""
    return np.array([[40.0 * n + 20, 20, side, side, 0.0] for n in range(count)])


def found(rows: np.ndarray, scores: np.ndarray) -> Detections:
    return Detections(boxes=rows, scores=scores, class_ids=np.zeros(len(rows), np.int64), frame=Frame.LATTICE)


def truth_of(rows: np.ndarray) -> Annotations:
    return Annotations(rows, np.zeros(len(rows), np.int64), np.zeros(len(rows), np.bool_))


def test_figures_by_size_are_those_of_the_objects_of_that_size() -> None:
    """All of the small ones found exactly, none of the very tiny ones, half of the tiny ones."""
    tiny, small, very = boxes(4, 10.0), boxes(3, 20.0), boxes(2, 5.0)
    small[:, 1] += 100
    very[:, 1] += 200
    seen = np.concatenate([small, tiny[:2]])
    figures = figures_of(
        [found(seen, np.linspace(0.9, 0.5, len(seen)))], [truth_of(np.concatenate([tiny, small, very]))]
    )
    assert figures["ap_by_size"] == {"2-8": 0.0, "8-16": pytest.approx(51 / 101), "16-32": 1.0}
    assert figures["ap50_by_size"] == {"2-8": 0.0, "8-16": 0.5, "16-32": 1.0}
    assert figures["objects_by_size"] == {"2-8": 2, "8-16": 4, "16-32": 3}
    assert figures["ap50"] == pytest.approx(5 / 9)
    assert figures["objects"] == 9


def test_detections_come_back_as_they_were_saved(tmp_path: Path) -> None:
    one, none = found(boxes(3, 10.0), np.array([0.9, 0.5, 0.25])), Detections.concat([], Frame.LATTICE)
    save_detections(tmp_path / "d.npz", ["a", "b", "c"], [one, none, one[:1]])
    back = load_detections(tmp_path / "d.npz")
    assert [len(back[name]) for name in "abc"] == [3, 0, 1]
    np.testing.assert_array_equal(back["a"].boxes, one.boxes)
    np.testing.assert_array_equal(back["c"].scores, [np.float32(0.9)])
    with pytest.raises(ConfigError, match="take its row out"):
        load_detections(tmp_path / "none.npz")


@pytest.fixture
def done(tmp_path: Path) -> tuple[Plan, list[Task], Path, Path]:
    """A plan of two recipes and three seeds, whose rows and detections are written by hand: SCENES scenes of two
    objects; the baseline finds the first of each, the other recipe both in the even scenes."""
    data, out = tmp_path / "prep", tmp_path / "out"
    start_folder(data / "report", Prepared(classes=("ship",)))
    for number in range(SCENES):
        scene = TrainingScene(f"s{number:02d}", np.zeros((40, 80, 3), np.uint8), truth_of(boxes(2, 20.0)))
        save_scene(data / "report" / f"{scene.name}.npz", scene)
    (tmp_path / "other.yaml").write_text("name: other\ndata: {paste: 0}\n")
    plan = Plan(
        baseline="rtdetr-baseline", schedule={}, sets={"set": SetPlan(train=("train",), report="report")},
        rows=tuple(RowPlan(recipe=name, seeds=(0, 1, 2)) for name in ("rtdetr-baseline", str(tmp_path / "other.yaml"))),
    )  # fmt: skip
    tasks = tasks_of(plan, data)
    for task in tasks:
        names = [f"s{number:02d}" for number in range(SCENES)]
        many = [2 if task.recipe.name == "other" and number % 2 == 0 else 1 for number in range(SCENES)]
        detections = [found(boxes(count, 20.0), np.full(count, 0.9)) for count in many]
        folder = out / RUNS / task.folder
        folder.mkdir(parents=True)
        save_detections(folder / "detections-report.npz", names, detections)
        figures = figures_of(detections, [truth_of(boxes(2, 20.0))] * SCENES)
        figures["ap50"] += 0.01 * task.seed
        add_row(out / ROWS_FILE, task, {"steps": 5, "parameters": 1_500_000, "ms_per_chip": 50.0, "report": figures})
    return plan, tasks, data, out


def test_the_table_has_means_spreads_and_intervals(done: tuple[Plan, list[Task], Path, Path]) -> None:
    """AP50 of the baseline is 1/2 in every scene, of the other 1 or 1/2: the difference is 1/4, and its interval that
    of the share of even scenes among SCENES draws, halved: ± 1.96 · sqrt(1/4 / 60) / 2 = 0.063."""
    plan, tasks, data, out = done
    table = make_table(plan, tasks, data, out)
    assert "| rtdetr-baseline | 3 | 50.5 ± 0.0 | 51.0 ± 1.0 | – | – | " in table
    line = next(line for line in table.splitlines() if line.startswith("| other"))
    assert "| 76.0 ± 1.0 |" in line
    assert "| 1.50 M | 50 |" in line
    mean, interval = line.split("|")[-2].strip().removesuffix(" rtdetr-baseline").split(" ", 1)
    low, high = (float(one) for one in interval.strip("[]").split(","))
    assert mean == "+25.0"
    assert low == pytest.approx(25 - 6.3, abs=1.0)
    assert high == pytest.approx(25 + 6.3, abs=1.0)


def test_the_difference_is_that_of_the_evaluator(done: tuple[Plan, list[Task], Path, Path]) -> None:
    _, tasks, _, out = done
    ours, theirs = (
        average_precision(
            list(load_detections(out / RUNS / task.folder / "detections-report.npz").values()),
            [truth_of(boxes(2, 20.0))] * SCENES,
        )
        for task in (next(t for t in tasks if t.recipe.name == name) for name in ("other", "rtdetr-baseline"))
    )
    assert ours - theirs == pytest.approx(0.25)


def test_a_seed_counts_when_all_its_folds_are_done(done: tuple[Plan, list[Task], Path, Path]) -> None:
    """The mean over some folds beside the mean over others would be a difference between scenes."""
    plan, tasks, data, out = done
    folded = SetPlan(train=("report",), folds=(("s00",), ("s01",)))
    plan = replace(plan, sets={"set": folded})
    both = [replace(task, fold=fold) for task in tasks for fold in (0, 1)]
    (out / ROWS_FILE).unlink()
    for task in both:
        if (task.recipe.name, task.seed, task.fold) in {("rtdetr-baseline", 0, 1), ("other", 0, 0), ("other", 0, 1)}:
            scene = found(boxes(1, 20.0), np.array([0.9]))
            figures = figures_of([scene], [truth_of(boxes(2, 20.0))])
            add_row(out / ROWS_FILE, task, {"steps": 5, "parameters": 1, "ms_per_chip": 50.0, "report": figures})
    table = make_table(plan, both, data, out)
    assert "| other | 1 | " in table
    assert "| rtdetr-baseline" not in table
    assert "Not all folds done yet: rtdetr-baseline (seed 0)." in table


def test_rows_of_another_recipe_are_in_no_table(done: tuple[Plan, list[Task], Path, Path]) -> None:
    """The file changed since: what was trained before is another recipe."""
    plan, tasks, data, out = done
    changed = [replace(task, digest="0" * 64) if task.recipe.name == "other" else task for task in tasks]
    assert "| other" not in make_table(plan, changed, data, out)


def test_a_line_that_was_cut_off_is_passed_over_and_the_next_row_stands_by_itself(tmp_path: Path) -> None:
    plan = Plan(baseline="rtdetr-baseline", schedule={}, sets={"set": SetPlan(train=("t",), report="r")},
                rows=(RowPlan(recipe="rtdetr-baseline", seeds=(0, 1)),))  # fmt: skip
    first, second = tasks_of(plan, tmp_path)
    path = tmp_path / ROWS_FILE
    add_row(path, first, {"steps": 1})
    path.write_text(path.read_text() + '{"recipe": "rtd')
    assert set(read_rows(path)) == {first.key}
    add_row(path, second, {"steps": 1, "ap": float("nan")})
    assert json.loads(path.read_text().splitlines()[-1])["ap"] is None
    assert set(read_rows(path)) == {first.key, second.key}
    path.write_text("nonsense\n" + path.read_text())
    with pytest.raises(ConfigError, match="line 1 of"):
        read_rows(path)
