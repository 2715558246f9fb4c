"""The loop learns, resumes exactly, and the job's commands fit together."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from jobs.train_detector import main
from pipeline.detectors.loading import load_detector
from pipeline.detectors.oriented_rtdetr.network import OrientedRTDetr
from pipeline.errors import ModelError
from pipeline.training.data.augment import AugmentConfig
from pipeline.training.data.batches import Batch, TileSampler
from pipeline.training.data.scenes import TrainingScene, save_scene
from pipeline.training.export import export, training_card
from pipeline.training.loop import CHECKPOINT, METRICS_FILE, Trainer
from pipeline.training.loop_config import LoopConfig
from pipeline.training.losses.criterion import PLAIN
from pipeline.training.losses.settings import RTDETRLosses
from pipeline.training.oriented_rtdetr import OrientedLearner
from pipeline.training.parameter_groups import parameter_groups
from pipeline.training.validation import detect_whole, validate
from pipeline.types import Chip, Window
from tests.support.oriented import SMALL
from tests.support.prepared import scene_with

SHIPS = np.array([[60.0, 60, 40, 12, 0.5], [150, 100, 30, 10, -1.0], [90, 180, 50, 14, 0.0]])


REFINED = RTDETRLosses(sample_refinement=True, scale_aligned=True, sample_weights=True, better_class_loss=True)


def trainer(out: Path, steps: int, settings: RTDETRLosses = PLAIN, seed: int = 0) -> Trainer:
    torch.manual_seed(seed)
    sampler = TileSampler([([scene_with(SHIPS)], 1.0)], AugmentConfig())
    config = LoopConfig(steps=steps, tiles=2, sizes_px=(64,), warmup_steps=2, checkpoint_steps=3)
    return Trainer(OrientedLearner(OrientedRTDetr(SMALL), losses=settings), sampler, config, out)


@pytest.mark.parametrize("settings", [PLAIN, REFINED], ids=["plain", "Better Sampling"])
def test_a_resumed_run_repeats_the_uninterrupted_one(settings: RTDETRLosses, tmp_path: Path) -> None:
    """Six steps in one go, and three, a new process' worth of fresh objects, three more: the same losses. Those of what
    learns beside the network, too."""

    def losses(run: Trainer, count: int) -> list[list[float]]:
        run.network.train()
        return [list(run.learn(run.batch(run.step)).values()) for _ in range(count)]

    whole = losses(trainer(tmp_path / "whole", 6, settings), 6)
    first = trainer(tmp_path / "parts", 6, settings)
    begun = losses(first, 3)
    first.save()
    second = trainer(tmp_path / "parts", 6, settings, seed=99)
    assert second.resume()
    assert second.step == 3
    together = begun + losses(second, 3)
    assert [len(row) for row in together] == [len(row) for row in whole]
    for ours, expected in zip(together, whole, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-7)


def test_what_learns_beside_the_network_is_kept_but_not_averaged_and_not_exported(tmp_path: Path) -> None:
    run = trainer(tmp_path, 2, REFINED)
    run.run(lambda _: None)
    state = load_file(tmp_path / CHECKPOINT / "state.safetensors")
    fresh = trainer(tmp_path / "fresh", 2, REFINED)._learner.auxiliary
    assert fresh is not None
    learnt = {name: value for name, value in fresh.state_dict().items() if value.ndim > 1}
    assert all(not torch.equal(value, state[f"auxiliary.{name}"]) for name, value in learnt.items())
    names = state.keys()
    beside = {name.split(".")[0] for name in names if "shared" in name or "gates" in name}
    assert beside == {"auxiliary"}
    assert {name.split(".", 1)[0] for name in names} == {"network", "average", "auxiliary", "optimizer"}
    exported = export(tmp_path, tmp_path / "weights", training_card("made", ("ship",), None, 64, SMALL))
    assert load_file(tmp_path / "weights" / "model.safetensors").keys() <= OrientedRTDetr(SMALL).state_dict().keys()
    assert load_detector(tmp_path / "weights").card == exported


@pytest.mark.parametrize(
    ("before", "after"), [(PLAIN, REFINED), (REFINED, PLAIN), (REFINED, RTDETRLosses(dynamic_balance=True))]
)
def test_a_run_does_not_go_on_with_or_without_what_learnt_beside_the_network(
    before: RTDETRLosses, after: RTDETRLosses, tmp_path: Path
) -> None:
    trainer(tmp_path, 1, before).run(lambda _: None)
    with pytest.raises(ModelError, match="give another --out") as refused:
        trainer(tmp_path, 2, after).resume()
    assert "was trained with other losses that keep weights of their own" in str(refused.value)


@pytest.mark.parametrize(("before", "after"), [(1.0, 0.1), (0.1, 1.0)])
def test_what_the_optimiser_remembers_goes_to_its_own_parameters_or_nowhere(
    before: float, after: float, tmp_path: Path
) -> None:
    """A backbone of its own pace is in groups of its own: the numbers of all parameters are others."""

    def run(rate: float) -> Trainer:
        torch.manual_seed(0)
        sampler = TileSampler([([scene_with(SHIPS)], 1.0)], AugmentConfig())
        config = LoopConfig(steps=4, tiles=2, sizes_px=(64,), warmup_steps=2, backbone_rate=rate)
        return Trainer(OrientedLearner(OrientedRTDetr(SMALL)), sampler, config, tmp_path)

    first = run(before)
    first.network.train()
    first.learn(first.batch(0))
    first.save()
    assert run(before).resume()
    with pytest.raises(ModelError, match=r"schedule\.backbone_rate"):
        run(after).resume()


def test_what_learns_beside_the_network_does_not_shorten_its_step(tmp_path: Path) -> None:
    """A difficulty error of 1e6 is another gradient of the generators, and the same step of the network."""

    def learnt(factor: float, out: Path) -> list[Tensor]:
        run = trainer(out, 2, RTDETRLosses(sample_weights=True))
        losses = run._learner.losses

        def scaled(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
            return {k: v * factor if k.startswith("difficulty") else v for k, v in losses(batch, generator).items()}

        run._learner.losses = scaled  # type: ignore[method-assign]
        run.network.train()
        assert "difficulty_1" in run.learn(run.batch(0))
        return list(run.network.state_dict().values())

    plain, large = learnt(1.0, tmp_path / "plain"), learnt(1e6, tmp_path / "large")
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(plain, large, strict=True))


@pytest.mark.parametrize(
    ("switch", "falls"),
    [
        ("sample_refinement", ("offset_0", "offset_1")),
        ("scale_aligned", ("denoising_class_0", "denoising_class_1", "kld_1")),
        ("sample_weights", ("difficulty_0", "difficulty_1")),
        ("better_class_loss", ("denoising_class_0", "denoising_class_1", "kld_1")),
    ],
)
def test_a_short_fit_lowers_what_a_switch_asks_for(switch: str, falls: tuple[str, ...], tmp_path: Path) -> None:
    """On the same tiles over and over; sampling points start three times as far out as usual."""
    run = trainer(tmp_path, 16, RTDETRLosses(**{switch: True}))  # type: ignore[arg-type]
    run.config = replace(run.config, learning_rate=2e-3)
    with torch.no_grad():
        for layer in run.network.decoder:
            layer.encoder_attn.sampling_offsets.bias.mul_(3)
    run.network.train()
    tiles = run.batch(1)
    assert sum(len(target.boxes) for target in tiles.targets) > 1
    rows = [run.learn(tiles) for _ in range(16)]
    assert all(name in row for row in rows for name in falls)
    for names in (falls, ("loss",)):
        first, last = (sum(row[name] for row in part for name in names) for part in (rows[:3], rows[-3:]))
        assert last < 0.9 * first, names


def test_a_run_goes_on_from_its_own_step_and_not_from_that_of_some_parameter(tmp_path: Path) -> None:
    """The optimiser counts for each parameter how often that one was learnt; of one that stood still it counts less."""
    run = trainer(tmp_path, 6)
    run.network.train()
    run.learn(run.batch(run.step))
    for parameter in run.network.parameters():
        parameter.requires_grad_(parameter.ndim <= 1)
    run.learn(run.batch(run.step))
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

    scene = TrainingScene("made", scene_with(SHIPS).pixels, scene_with(SHIPS).truth)
    torch.manual_seed(0)
    sampler = TileSampler([([scene], 1.0)], AugmentConfig(paste=0, light=0, object_share=1.0))
    config = LoopConfig(steps=400, tiles=2, sizes_px=(128,), warmup_steps=20, learning_rate=1e-3, ema_decay=0.98)
    learner = OrientedLearner(OrientedRTDetr(SMALL))
    run = Trainer(learner, sampler, config, tmp_path)
    run.run(lambda _: None)
    detector = learner.detector(run.average, training_card("made", ("ship",), None, 256, SMALL))
    figures = validate([scene], [detect_whole(detector, scene, 64)])
    assert figures["ap50"] > 0.9


class TestGroups:
    def test_a_backbone_learns_at_its_share_and_the_rest_at_the_whole_rate(self, tmp_path: Path) -> None:
        network = nn.ModuleDict({"backbone": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
        groups = parameter_groups(network, 0.1, 0.25)
        assert [(one["share"], one["weight_decay"]) for one in groups] == [(1, 0.1), (1, 0), (0.25, 0.1), (0.25, 0)]
        assert groups[2]["params"] == [network["backbone"].weight]
        assert groups[1]["params"] == [network["head"].bias]
        whole = parameter_groups(network, 0.1, 1.0)
        assert [(one["share"], len(one["params"])) for one in whole] == [(1, 2), (1, 2)]

    def test_the_share_reaches_the_steps(self, tmp_path: Path) -> None:
        """At a share of 0 the backbone stays, bit for bit; the rest learns."""
        torch.manual_seed(0)
        sampler = TileSampler([([scene_with(SHIPS)], 1.0)], AugmentConfig())
        config = LoopConfig(steps=2, tiles=1, sizes_px=(64,), warmup_steps=0, backbone_rate=0.0)
        run = Trainer(OrientedLearner(OrientedRTDetr(SMALL)), sampler, config, tmp_path)
        before = {name: one.detach().clone() for name, one in run.network.named_parameters()}
        run.run(lambda _: None)
        moved = {name for name, one in run.network.named_parameters() if not torch.equal(one, before[name])}
        assert moved
        assert not [name for name in moved if name.startswith("backbone.")]
