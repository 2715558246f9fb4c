"""A plan is trained whole, judged and made a table of; what stands is not done again, what was cut goes on."""

from __future__ import annotations

import fcntl
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from jobs.train_detector import main
from pipeline.training.ablation.plan import read_plan, tasks_of
from pipeline.training.ablation.running import LOCK, RUNS
from pipeline.training.data.prepared import Prepared, start_folder
from pipeline.training.data.scenes import save_scene
from tests.support.prepared import scene_with

SHIPS = np.array([[60.0, 60, 40, 12, 0.5], [150, 100, 20, 10, -1.0], [90, 180, 50, 14, 0.0], [200, 30, 9, 4, 0.2]])
SMALL = {
    "stage_channels": [16, 16, 16, 16], "stage_depths": [1, 1, 1, 1], "width": 32, "heads": 2, "decoder_layers": 2,
    "queries": 20,
}  # fmt: skip
Said = pytest.CaptureFixture[str]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Two recipes, a set with folds and one without, two seeds of the first recipe."""
    for name, scenes in (("train", "abc"), ("choose", "d"), ("report", "ef")):
        folder = tmp_path / "prep" / name
        start_folder(folder, Prepared(classes=("ship",)))
        for letter in scenes:
            save_scene(folder / f"{letter}.npz", replace(scene_with(SHIPS), name=letter))
    for name, network in (("plain", SMALL), ("wider", {**SMALL, "decoder_mlp_width": 300})):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"name": name, "network": network}))
    plan: dict[str, Any] = {
        "baseline": "plain",
        "schedule": {"steps": 2, "tiles": 1, "sizes_px": [64], "validate_steps": 2, "checkpoint_steps": 1},
        "sets": {
            "whole": {"train": ["train"], "choose": "choose", "report": "report", "tile_px": 256},
            "folded": {"train": ["train:0.5"], "folds": [["a"], ["b", "c"]], "tile_px": 256},
        },
        "rows": [
            {"recipe": str(tmp_path / "plain.yaml"), "seeds": [0, 1]},
            {"recipe": str(tmp_path / "wider.yaml"), "seeds": [0]},
        ],
    }
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    return tmp_path


def ablate(place: Path, *more: str) -> int:
    given = ("--plan", place / "plan.yaml", "--data", place / "prep", "--out", place / "out")
    return main(["ablate", *map(str, given), *more])


def rows_of(place: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (place / "out" / "rows.jsonl").read_text().splitlines()]


def test_a_plan_is_done_once_and_its_table_holds_every_recipe(place: Path, capsys: Said) -> None:
    assert ablate(place) == 0
    rows = rows_of(place)
    assert len(rows) == 9, "two seeds of plain and one of wider, on one set and two folds"
    assert len({row["digest"] for row in rows if row["set"] == "whole"}) == 2
    for row in rows:
        assert row["steps"] == 2
        assert row["commit"]
        assert row["parameters"] > 1000
        assert row["ms_per_chip"] > 0
        assert row["train"].keys() == {"train_ap", "train_ap50"}
        assert row["report"]["scenes"] == (2 if row["set"] == "whole" or row["fold"] == 1 else 1)
        assert row["report"]["objects_by_size"] == {size: row["report"]["scenes"] * n for size, n in SIZES.items()}
        assert ("choose" in row) == (row["set"] == "whole")
    table = (place / "out" / "table.md").read_text()
    assert table.count("| plain | 2 | ") == 2
    assert table.count("| wider | 1 | ") == 2
    assert "2 steps; 2 scenes; objects: 2-8 px 2, 8-16 px 2, 16-32 px 4." in table
    assert "1, 2 scenes a fold; objects: 2-8 px 3, 8-16 px 3, 16-32 px 6." in table
    lines = [line for line in table.splitlines() if line.startswith("| wider")]
    assert all(line.endswith("] plain |") for line in lines), "an interval of the difference, folds together too"
    assert f"Trained at commit {rows[0]['commit'][:9]}" in table
    assert table in capsys.readouterr().out
    before = (place / "out" / "rows.jsonl").read_bytes()
    assert ablate(place) == 0
    assert (place / "out" / "rows.jsonl").read_bytes() == before
    assert "training on" not in capsys.readouterr().out


SIZES = {"2-8": 1, "8-16": 1, "16-32": 2}
"""Of SHIPS: roots of 36, 200, 480 and 700."""


@pytest.mark.parametrize("change", ["scene", "fold", "tile"])
def test_rows_of_other_data_than_there_are_now_do_not_stand_for_these(change: str, place: Path, capsys: Said) -> None:
    """Detections of scenes as they were, judged by the truth of scenes as they are, would be a figure of nothing."""
    assert ablate(place, "--only", "wider", "--sets", "folded") == 0
    plan = yaml.safe_load((place / "plan.yaml").read_text())
    if change == "scene":
        save_scene(place / "prep" / "train" / "a.npz", replace(scene_with(SHIPS[:2]), name="a"))
    elif change == "fold":
        plan["sets"]["folded"]["folds"] = [["b"], ["a", "c"]]
    else:
        plan["sets"]["folded"]["tile_px"] = 128
    (place / "plan.yaml").write_text(yaml.safe_dump(plan))
    capsys.readouterr()
    for more in ((), ("--table-only",)):
        assert ablate(place, "--only", "wider", "--sets", "folded", *more) == 2
        assert "give another --out, or take the row out" in capsys.readouterr().err


def test_false_alarms_lie_below_the_data_and_make_another_training(place: Path) -> None:
    before = {task.digest for task in tasks_of(read_plan(place / "plan.yaml"), place / "prep")}
    for name in ("plain", "wider"):
        recipe = yaml.safe_load((place / f"{name}.yaml").read_text())
        (place / f"{name}.yaml").write_text(yaml.safe_dump({**recipe, "data": {"false_alarms": "places.json"}}))
    tasks = tasks_of(read_plan(place / "plan.yaml"), place / "prep")
    assert {task.recipe.data.false_alarms for task in tasks} == {str(place / "prep" / "places.json")}
    assert not before & {task.digest for task in tasks}


def test_a_run_that_was_cut_goes_on_from_its_checkpoint(place: Path, capsys: Said) -> None:
    """Cut after a step: the recipe of one step in the folder of the run of two."""
    [task] = [
        one for one in tasks_of(read_plan(place / "plan.yaml"), place / "prep")
        if one.key[0] == "plain" and one.set_name == "whole" and one.seed == 0
    ]  # fmt: skip
    cut = replace(task.recipe, schedule=replace(task.recipe.schedule, steps=1))
    (place / "cut.yaml").write_text(cut.to_yaml())
    run = place / "out" / RUNS / task.folder
    assert main(["fit", "--recipe", str(place / "cut.yaml"), "--out", str(run), "--threads", "1"]) == 0
    capsys.readouterr()
    assert ablate(place, "--only", "plain", "--sets", "whole") == 0
    assert f"going on from step 1 of {run}" in capsys.readouterr().out
    assert [(row["seed"], row["set"]) for row in rows_of(place)] == [(0, "whole"), (1, "whole")]


def test_a_training_that_another_process_is_at_is_passed_over(place: Path, capsys: Said) -> None:
    [task] = [
        one for one in tasks_of(read_plan(place / "plan.yaml"), place / "prep")
        if one.key[0] == "wider" and one.set_name == "whole"
    ]  # fmt: skip
    folder = place / "out" / RUNS / task.folder
    folder.mkdir(parents=True)
    with (folder / LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert ablate(place, "--only", "wider", "--sets", "whole") == 0
    assert "another process is at it" in capsys.readouterr().out
    assert not (place / "out" / "rows.jsonl").exists()


def test_a_dry_run_lists_and_trains_nothing(place: Path, capsys: Said) -> None:
    assert ablate(place, "--dry-run", "--steps", "7") == 0
    said = capsys.readouterr().out
    assert len(said.splitlines()) == 9
    assert "folded-1/wider-0-" in said
    assert ": 7 steps" in said
    assert not (place / "out").exists()
    assert ablate(place, "--table-only") == 0
    assert f"{place / 'out' / 'rows.jsonl'} holds no row yet" in capsys.readouterr().out


def test_one_training_that_diverges_does_not_end_the_others(
    place: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights of one recipe overflow: its row is missing, the other's is there, the exit code says so."""
    plan = yaml.safe_load((place / "plan.yaml").read_text())
    broken = yaml.safe_load((place / "wider.yaml").read_text())
    broken["name"], broken["schedule"] = "broken", {"learning_rate": 1e30, "warmup_steps": 0, "clip_norm": 1e30}
    (place / "broken.yaml").write_text(yaml.safe_dump(broken))
    plan["rows"] = [{"recipe": str(place / "broken.yaml")}, {"recipe": str(place / "plain.yaml")}]
    plan["schedule"]["steps"] = 4
    (place / "plan.yaml").write_text(yaml.safe_dump(plan))
    assert ablate(place, "--sets", "whole") == 4
    said = capsys.readouterr()
    assert "1 of 2 trainings failed" in said.err
    assert "training diverged at step" in said.err
    assert [row["recipe"] for row in rows_of(place)] == ["plain"]
    assert "| plain | 1 | " in said.out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sest": {}}, r"sest is no setting; did you mean sets?"),
        ({"sets": {}}, "a plan has 'sets'"),
        ({"rows": [{"recipe": "rtdetr-baseline", "sets": ["hole"]}]}, "asks for the set 'hole'; there is whole"),
        ({"rows": [{"recipe": "rtdetr-baseline", "seed": [1]}]}, "rows[0].seed is no setting; did you mean seeds?"),
        ({"rows": [{"recipe": "rtdetr-none"}]}, "there is no recipe rtdetr-none"),
        ({"baseline": "nothing"}, "the baseline 'nothing' is none of the recipes"),
        ({"schedule": {"stepps": 3}}, "schedule.stepps is no setting; did you mean steps?"),
        ({"sets": {"whole": {"train": ["train"]}}}, "reported on either its folder 'report' or its 'folds'"),
        (
            {"sets": {"whole": {"train": ["nowhere"], "report": "report"}}},
            "no prepared scenes (*.npz) of the set",
        ),
        (
            {"sets": {"whole": {"train": ["train:0.5"], "report": "train"}}},
            "sets.whole: the folder train is reported on and trained on",
        ),
        (
            {"sets": {"whole": {"train": ["train"], "report": "report", "choose": "report"}}},
            "sets.whole: the folder report is reported on and chosen by",
        ),
        (
            {"sets": {"whole": {"train": ["train"], "report": "report", "choose": "train"}}},
            "sets.whole: the folder train is chosen by and trained on",
        ),
        (
            {"sets": {"whole": {"train": ["train"], "folds": [["a"], ["b", "z"]]}}},
            "the folds of the set whole name scenes that its folders do not hold: z",
        ),
        (
            {"sets": {"whole": {"train": ["train"], "folds": [["a"], ["b", "a"]]}}},
            "sets.whole: the scene a is in two folds",
        ),
        ({"rows": [{"recipe": "rtdetr-baseline", "seeds": [0, 0]}], "baseline": "rtdetr-baseline"}, "same training"),
    ],
)
def test_mistakes_in_a_plan_are_one_sentence(change: dict[str, Any], said: str, place: Path, capsys: Said) -> None:
    plan = yaml.safe_load((place / "plan.yaml").read_text())
    (place / "plan.yaml").write_text(yaml.safe_dump({**plan, **change}))
    assert ablate(place) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(("flag", "value"), [("--only", "planer"), ("--sets", "hole"), ("--plan", "none")])
def test_flags_that_name_nothing_are_refused(flag: str, value: str, place: Path, capsys: Said) -> None:
    assert ablate(place, flag, value) == 2
    assert value in capsys.readouterr().err
