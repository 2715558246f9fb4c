"""The loop learns, resumes exactly, and the job's commands fit together."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from jobs.train_detector import main
from pipeline.detectors.loading import load_detector
from pipeline.detectors.oriented_rtdetr.network import OrientedRTDetr
from pipeline.detectors.protocol import Detector
from pipeline.errors import ModelError
from pipeline.training.curves import read_metrics
from pipeline.training.data.augment import AugmentConfig
from pipeline.training.data.batches import Batch, TileSampler
from pipeline.training.data.scenes import TrainingScene, save_scene
from pipeline.training.export import export, training_card
from pipeline.training.learner import Learner
from pipeline.training.loop import BEST, CHECKPOINT, METRICS_FILE, Trainer, best_of
from pipeline.training.loop_config import LoopConfig
from pipeline.training.losses.criterion import PLAIN
from pipeline.training.losses.settings import RTDETRLosses
from pipeline.training.oriented_rtdetr import OrientedLearner
from pipeline.training.parameter_groups import parameter_groups
from pipeline.training.validation import validate
from pipeline.types import Chip, ModelCard, Window
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


class Brightness(nn.Module):
    """(B, 3, H, W) in [0, 1] → (B, 1): one convolution, its mean."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 1, 3)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.layer(pixels).mean((2, 3))


class BrightnessLearner:
    """Learns how bright a tile is. Nothing of a detector: the loop must ask for no more than the protocol says."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.network = Brightness()
        self.auxiliary = None
        self.telling = ("error", "absent")

    def losses(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        pixels = batch.pixels.permute(0, 3, 1, 2).float() / 255
        noise = 0.01 * torch.rand(pixels.shape, generator=generator)
        error = self.network(pixels + noise) - pixels.mean((1, 2, 3))[:, None]
        return {"error": error.square().mean(), "weight": 1e-4 * self.network.layer.weight.square().sum()}

    def config(self) -> dict[str, Any]:
        return {"model_type": "brightness", "kernel": 3}

    def detector(self, network: nn.Module, card: ModelCard) -> Detector:
        raise NotImplementedError


def test_the_loop_trains_and_resumes_whatever_a_learner_hands_it(tmp_path: Path) -> None:
    """Another network, other losses, another configuration: learnt, told, written, resumed to the same weights."""
    sampler = TileSampler([([scene_with(SHIPS)], 1.0)], AugmentConfig())

    def run(out: Path, steps: int) -> Trainer:
        learner: Learner = BrightnessLearner()
        config = LoopConfig(steps=steps, tiles=2, sizes_px=(32,), warmup_steps=2, learning_rate=0.01)
        made = Trainer(learner, sampler, config, out)
        made.resume()
        made.run(lines.append)
        return made

    lines: list[str] = []
    whole = run(tmp_path / "whole", 40)
    assert "error 0." in lines[-1]
    assert "absent" not in lines[-1]
    rows = [json.loads(row) for row in (tmp_path / "whole" / METRICS_FILE).read_text().splitlines()]
    assert [row["step"] for row in rows] == [20, 40]
    assert rows[1]["error"] < rows[0]["error"]
    assert rows[1].keys() == {"step", "seconds_per_step", "rate", "loss", "error", "weight"}
    assert json.loads((tmp_path / "whole" / CHECKPOINT / "config.json").read_text())["model_type"] == "brightness"
    again = run(tmp_path / "whole", 40)
    assert again.step == 40
    for ours, theirs in zip(again.average.state_dict().values(), whole.average.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


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
    figures = validate(detector, [scene], 64)
    assert figures["ap50"] > 0.9


class Judged:
    """A judge whose figures are given, and who keeps the weights it was shown."""

    def __init__(self, *figures: float) -> None:
        self.figures = list(figures)
        self.seen: list[dict[str, Tensor]] = []

    def __call__(self, network: nn.Module) -> dict[str, float]:
        self.seen.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        for tensor in network.state_dict().values():
            tensor.zero_()  # it may change the network: the run must not notice
        return {"held_out_ap": self.figures.pop(0), "train_ap": 0.5}


def judged_run(out: Path, judge: Judged, steps: int, **more: Any) -> Trainer:
    sampler = TileSampler([([scene_with(SHIPS)], 1.0)], AugmentConfig())
    config = LoopConfig(steps=steps, tiles=2, sizes_px=(32,), warmup_steps=2, validate_steps=2, **more)
    return Trainer(BrightnessLearner(), sampler, config, out, judge)


class TestJudging:
    def test_the_best_averaged_weights_are_kept_and_the_metrics_hold_both_figures(self, tmp_path: Path) -> None:
        judge, lines = Judged(0.2, 0.4, float("nan"), 0.3), []
        run = judged_run(tmp_path, judge, 7)
        run.run(lines.append)
        rows = [row for row in read_metrics(tmp_path / METRICS_FILE) if "train_ap" in row]
        assert [row["step"] for row in rows] == [2, 4, 6, 7], "every two steps and after the last"
        assert [row["held_out_ap"] for row in rows] == [0.2, 0.4, None, 0.3]
        assert best_of(tmp_path) == (4, 0.4)
        assert [line for line in lines if "the best so far" in line] == [
            "step 2/7  held_out_ap 0.200  train_ap 0.500  the best so far",
            "step 4/7  held_out_ap 0.400  train_ap 0.500  the best so far",
        ]
        kept = load_file(tmp_path / BEST / "state.safetensors")
        for name, tensor in judge.seen[1].items():
            torch.testing.assert_close(kept[f"average.{name}"], tensor)
        assert run.average.layer.weight.abs().sum() > 0

    def test_going_on_knows_what_was_best(self, tmp_path: Path) -> None:
        judged_run(tmp_path, Judged(0.4), 2).run(lambda _: None)
        again = judged_run(tmp_path, Judged(0.3), 4)
        assert again.resume()
        again.run(lambda _: None)
        assert best_of(tmp_path) == (2, 0.4)

    def test_without_steps_between_the_last_weights_alone_are_judged(self, tmp_path: Path) -> None:
        sampler = TileSampler([([scene_with(SHIPS)], 1.0)], AugmentConfig())
        config = LoopConfig(steps=2, tiles=2, sizes_px=(32,))
        Trainer(BrightnessLearner(), sampler, config, tmp_path, Judged(0.25)).run(lambda _: None)
        assert best_of(tmp_path) == (2, 0.25)


class Breaks(BrightnessLearner):
    """Its loss, or only its gradient, is no number at step 1."""

    def __init__(self, gradient: bool) -> None:
        super().__init__()
        self.step, self.gradient = -1, gradient

    def losses(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        self.step += 1
        found = super().losses(batch, generator)
        if self.step == 1:
            weight = self.network.layer.weight
            found["error"] = (0 * weight).sum().sqrt() if self.gradient else weight.sum() * torch.nan
        return found


@pytest.mark.parametrize(("gradient", "said"), [(False, "error is nan"), (True, "the gradient's norm is nan")])
def test_a_training_that_diverges_stops_with_its_step_and_its_batch(gradient: bool, said: str, tmp_path: Path) -> None:
    sampler = TileSampler([([scene_with(SHIPS)], 1.0)], AugmentConfig())
    run = Trainer(Breaks(gradient), sampler, LoopConfig(steps=3, tiles=2, sizes_px=(32,)), tmp_path)
    with pytest.raises(ModelError, match=f"diverged at step 1: .*{said}.*diverged.npz"):
        run.run(lambda _: None)
    batch = run.batch(1)
    with np.load(tmp_path / "diverged.npz") as kept:
        np.testing.assert_array_equal(kept["pixels"], batch.pixels.numpy())
        assert kept["counts"][:, 0].sum() == len(kept["boxes"]) == len(kept["class_ids"])
        np.testing.assert_array_equal(kept["boxes"], torch.cat([one.boxes for one in batch.targets]).numpy())
    assert all(parameter.isfinite().all() for parameter in run.network.parameters()), "the step was not done"


def test_the_last_steps_keep_scale_and_light(tmp_path: Path) -> None:
    """A share of a quarter of eight steps: in the last two a white ship is as white and as large as in its scene."""
    scene = scene_with(np.array([[120.0, 120, 40, 12, 0.0]]))
    config = AugmentConfig(scale_range=(0.4, 0.5), paste=0, object_share=1.0)
    run = Trainer(
        BrightnessLearner(), TileSampler([([scene], 1.0)], config),
        LoopConfig(steps=8, tiles=4, sizes_px=(128,), mild_share=0.25), tmp_path,
    )  # fmt: skip
    for step in range(8):
        batch = run.batch(step)
        sides = torch.cat([target.boxes[:, 2] for target in batch.targets])
        assert len(sides)
        if step >= 6:
            torch.testing.assert_close(sides, torch.full_like(sides, 40.0))
            assert set(np.unique(batch.pixels.numpy())) <= set(range(221))
        else:
            assert sides.max() < 21


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
