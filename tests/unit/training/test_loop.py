"""The loop learns, resumes exactly, and the job's commands fit together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from jobs.train_detector import main
from pipeline.detectors.loading import load_detector
from pipeline.detectors.oriented_rtdetr.network import NetworkConfig, OrientedRTDetr
from pipeline.training.data.augment import AugmentConfig
from pipeline.training.data.batches import TileSampler
from pipeline.training.data.scenes import TrainingScene, save_scene
from pipeline.training.loop import METRICS_FILE, LoopConfig, Trainer
from pipeline.training.validation import validate
from pipeline.types import Chip, Window
from tests.unit.training.data.test_batches import scene_with

SMALL = NetworkConfig(
    stage_channels=(16, 16, 16, 16), stage_depths=(1, 1, 1, 1), width=32, heads=2, decoder_layers=2, queries=20
)
SHIPS = np.array([[60.0, 60, 40, 12, 0.5], [150, 100, 30, 10, -1.0], [90, 180, 50, 14, 0.0]])


def trainer(out: Path, steps: int) -> Trainer:
    torch.manual_seed(0)
    sampler = TileSampler([([scene_with(SHIPS)], 1.0)], AugmentConfig())
    config = LoopConfig(steps=steps, tiles=2, sizes_px=(64,), warmup_steps=2, checkpoint_steps=3)
    return Trainer(OrientedRTDetr(SMALL), sampler, config, out)


def test_a_resumed_run_repeats_the_uninterrupted_one(tmp_path: Path) -> None:
    """Six steps in one go, and three, a new process' worth of fresh objects, three more: the same losses."""

    def losses(run: Trainer, count: int) -> list[float]:
        run.network.train()
        return [run.learn(run._batch(run.step))["loss"] for _ in range(count)]

    whole = losses(trainer(tmp_path / "whole", 6), 6)
    first = trainer(tmp_path / "parts", 6)
    begun = losses(first, 3)
    first.save()
    torch.manual_seed(99)
    second = trainer(tmp_path / "parts", 6)
    assert second.resume()
    assert second.step == 3
    np.testing.assert_allclose(begun + losses(second, 3), whole, rtol=1e-5)


def test_a_run_goes_on_from_its_own_step_and_not_from_that_of_some_parameter(tmp_path: Path) -> None:
    """The optimiser counts for each parameter how often that one was learnt; of one that stood still it counts less."""
    run = trainer(tmp_path, 6)
    run.network.train()
    run.learn(run._batch(run.step))
    for parameter in run.network.parameters():
        parameter.requires_grad_(parameter.ndim <= 1)
    run.learn(run._batch(run.step))
    run.save()
    again = trainer(tmp_path, 6)
    assert again.resume()
    assert again.step == run.step == 2


def test_without_a_checkpoint_nothing_is_resumed(tmp_path: Path) -> None:
    assert not trainer(tmp_path, 1).resume()


def test_metrics_and_checkpoints_are_written(tmp_path: Path) -> None:
    lines: list[str] = []
    trainer(tmp_path, 4).run(lines.append)
    assert "step 4/4" in lines[-1]
    last = json.loads((tmp_path / METRICS_FILE).read_text().splitlines()[-1])
    assert last["step"] == 4
    assert {"loss", "token_class", "class_1", "kld_1", "denoising_class_0"} <= last.keys()
    assert not list(tmp_path.rglob("*.partial"))


def test_the_job_goes_from_prepared_scenes_to_weights_that_load(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_scene(tmp_path / "prep" / "a.npz", scene_with(SHIPS))
    save_scene(tmp_path / "prep" / "b.npz", scene_with(SHIPS[:1]))
    run, prep = str(tmp_path / "run"), str(tmp_path / "prep")
    fit = [
        "fit",
        "--scenes",
        f"{prep}:1",
        "--hold-out",
        "b",
        "--out",
        run,
        "--tiles",
        "1",
        "--sizes",
        "64",
        "--threads",
        "1",
    ]
    assert main([*fit, "--steps", "2"]) == 0
    assert main([*fit, "--steps", "3"]) == 0
    assert "going on from step 2" in capsys.readouterr().out
    assert main(["validate", "--run", run, "--scenes", prep, "--only", "b", "--gsd", "6"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["right"] + figures["missed"] == 1
    card = {
        "name": "test",
        "classes": ["ship"],
        "gsd_m": 6.0,
        "bands": ["red", "green", "blue"],
        "input_px": 64,
        "oriented": True,
    }
    (tmp_path / "card.json").write_text(json.dumps(card))
    assert (
        main(["export", "--run", run, "--card", str(tmp_path / "card.json"), "--out", str(tmp_path / "weights")]) == 0
    )
    detector = load_detector(tmp_path / "weights")
    chip = Chip(pixels=scene_with(SHIPS).pixels, window=Window(x=0, y=0, width=240, height=240))
    assert len(detector.detect([chip], score_threshold=0.0)) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["fit", "--scenes", "nowhere", "--out", "run"], 2, "no prepared scenes"),
        (["fit", "--scenes", "nowhere:much", "--out", "run"], 2, "not a number"),
        (["validate", "--run", "nowhere", "--scenes", "nowhere"], 2, "no prepared scenes"),
        (["export", "--run", "nowhere", "--card", "none.json", "--out", "x"], 2, "cannot read the card"),
        (["prepare", "--annotations", "none.json", "--images", ".", "--out", "x"], 2, "none.json"),
    ],
)
def test_mistakes_end_in_one_sentence(
    arguments: list[str], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == code
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.slow
def test_one_scene_can_be_learnt_by_heart(tmp_path: Path) -> None:
    """Everything between pixels and boxes is right: 400 steps on one small scene find all its ships, well placed."""
    from pipeline.detectors.oriented_rtdetr.detector import OrientedDetector
    from pipeline.training.export import training_card

    scene = TrainingScene("made", scene_with(SHIPS).pixels, scene_with(SHIPS).truth)
    torch.manual_seed(0)
    sampler = TileSampler([([scene], 1.0)], AugmentConfig(paste_mean=0, light=0, object_share=1.0))
    config = LoopConfig(steps=400, tiles=2, sizes_px=(128,), warmup_steps=20, learning_rate=1e-3, ema_decay=0.98)
    run = Trainer(OrientedRTDetr(SMALL), sampler, config, tmp_path)
    run.run(lambda _: None)
    detector = OrientedDetector(run.average, training_card("made", ("ship",), None, 256))
    figures = validate(detector, [scene], 64)
    assert figures["ap50"] > 0.9
