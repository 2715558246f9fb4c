"""Two workers of Ray Train learn what one process learns, and go on when one of them is killed."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jobs.train_detector import main
from pipeline.cluster.training import Group, Report, on_workers
from pipeline.errors import ConfigError
from pipeline.training.curves import read_metrics
from pipeline.training.data.prepared import Prepared, start_folder
from pipeline.training.data.scenes import save_scene
from pipeline.training.ranks import over_all, rank, ranks
from pipeline.training.recipe import Recipe, recipe_of
from pipeline.training.running import made_training
from tests.support.prepared import scene_with

SHIPS = np.array([[60.0, 60, 40, 12, 0.5], [150, 100, 30, 10, -1.0], [90, 180, 50, 14, 0.0]])
STEPS, KILLED_AT = 6, 4
Said = pytest.CaptureFixture[str]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # within Ray, of settings of its own


def recipe(folder: Path, **schedule: Any) -> Recipe:
    """A tiny network on one scene; half of the tiles are anywhere, so that ranks differ in how much they see."""
    if not folder.exists():
        start_folder(folder, Prepared(classes=("ship",), gsd_m=6.0))
        save_scene(folder / "made.npz", scene_with(SHIPS))
    return recipe_of({
        "data": {"scenes": [str(folder)], "object_share": 0.5},
        "network": {"stage_channels": [16] * 4, "stage_depths": [1] * 4, "width": 32, "heads": 2, "queries": 20,
                    "decoder_layers": 2},
        "schedule": {"steps": STEPS, "tiles": 5, "sizes_px": [64], "warmup_steps": 2, "learning_rate": 1e-4,
                     **schedule},
    })  # fmt: skip


def learn(given: tuple[Recipe, Path, bool], device: str, report: Report) -> None:
    """Every step's losses, a checkpoint every second; the second worker is killed once, if so asked."""
    what, out, killed = given
    trainer = made_training(what, out, 1, report).trainer
    begun = trainer.resume()
    trainer.network.train()
    while trainer.step < STEPS:
        if killed and rank() == 1 and trainer.step == KILLED_AT and not (out / "killed").exists():
            (out / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        losses = trainer.learn(trainer.batch(trainer.step))
        report(json.dumps({"step": trainer.step, "ranks": ranks(), "resumed": begun, **losses}))
        if rank() == 0 and trainer.step % 2 == 0:
            trainer.save()
    if killed:
        raise ConfigError("this is not to be tried again")


@pytest.mark.usefixtures("ray_cluster")
def test_two_workers_learn_what_one_process_learns_though_one_of_them_is_killed(tmp_path: Path) -> None:
    """Five tiles a step, two for one worker and three for the other: the same losses by name, step for step. An error
    of ours, which no second try would mend, ends it all here."""
    what = recipe(tmp_path / "prep")
    alone: list[str] = []
    learn((what, tmp_path / "one", False), "cpu", alone.append)
    together: list[str] = []
    (tmp_path / "two").mkdir()
    group = Group(least=2, most=2, threads=1, gpu=False)
    interrupting = signal.getsignal(signal.SIGINT)
    with pytest.raises(ConfigError, match="this is not to be tried again"):
        on_workers(learn, (what, tmp_path / "two", True), group, tmp_path / "two", together.append)
    assert signal.getsignal(signal.SIGINT) == interrupting, "Ray Train's own ends the process with 0"
    expected = [json.loads(line) for line in alone]
    rows = [json.loads(line) for line in together]
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    assert [row["resumed"] for row in rows] == [False] * KILLED_AT + [True] * (STEPS - KILLED_AT)
    assert (tmp_path / "two" / "killed").exists()
    for row, one in zip(rows, expected, strict=True):
        assert (row.pop("ranks"), one.pop("ranks")) == (2, 1)
        assert row.keys() == one.keys()
        assert row["loss"] == pytest.approx(one["loss"], rel=2e-3), row["step"]
        assert row["token_class"] == pytest.approx(one["token_class"], rel=5e-3), row["step"]
    assert not (tmp_path / "two" / ".ray").exists()


def fails_alone(out: Path, _device: str, report: Report) -> None:
    """The second worker waits for the first one's part of a sum."""
    report("begun")
    if rank() == 0:
        raise ConfigError("the first alone")
    (out / "waits").touch()
    over_all(torch.zeros(1))


@pytest.mark.usefixtures("ray_cluster")
def test_an_error_that_ends_the_first_worker_ends_those_who_wait_for_it(tmp_path: Path) -> None:
    """At once, and not after torch's half hour; nothing is tried again."""
    told: list[str] = []
    begun = time.monotonic()
    with pytest.raises(ConfigError, match="the first alone"):
        on_workers(fails_alone, tmp_path, Group(least=2, most=2, threads=1, gpu=False), tmp_path, told.append)
    assert time.monotonic() - begun < 900
    assert (tmp_path / "waits").exists()
    assert told == ["begun"]


@pytest.mark.usefixtures("ray_cluster")
def test_fit_on_workers_leaves_the_run_of_any_other_fit(tmp_path: Path, capsys: Said) -> None:
    """One or two workers, as there is room."""
    (tmp_path / "recipe.yaml").write_text(recipe(tmp_path / "prep", steps=2).to_yaml())
    fit = ["fit", "--recipe", str(tmp_path / "recipe.yaml"), "--threads", "1", "--workers", "1,2"]
    assert main([*fit, "--out", str(tmp_path / "run")]) == 0
    assert "step 2/2" in capsys.readouterr().out
    assert {one.name for one in (tmp_path / "run").iterdir()} >= {
        "checkpoint",
        "metrics.jsonl",
        "recipe.yaml",
        "run.json",
    }
    assert read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]["step"] == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--workers", "6"), "--workers 6, but a step has 5 tiles"),
        (("--workers", "2", "--hold-out", "nobody"), "--hold-out names scenes that no folder"),
        (("--workers", "2", "--device", "cuda:1"), "--device cuda:1: with --workers it is cpu or cuda"),
    ],
)
def test_what_workers_cannot_do_is_said_before_a_cluster_is_asked(
    given: tuple[str, ...], said: str, tmp_path: Path, capsys: Said
) -> None:
    (tmp_path / "recipe.yaml").write_text(recipe(tmp_path / "prep").to_yaml())
    assert main(["fit", "--recipe", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "run"), *given]) == 2
    assert said in capsys.readouterr().err


def test_gpus_of_another_machine_need_not_be_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    """What is wrong with the rest is said before the cluster is asked; that this machine has no GPU is not."""
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")
    (tmp_path / "recipe.yaml").write_text(recipe(tmp_path / "prep", device="cuda").to_yaml())
    fit = ["fit", "--recipe", str(tmp_path / "recipe.yaml"), "--workers", "2", "--hold-out", "nobody"]
    assert main([*fit, "--out", str(tmp_path / "run")]) == 2
    assert "--hold-out names scenes that no folder" in capsys.readouterr().err
