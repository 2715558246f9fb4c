"""The loop with whatever a learner hands it: judged on the way, and stopped where it diverges."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.errors import ModelError
from pipeline.training.curves import read_metrics
from pipeline.training.data.augment import AugmentConfig
from pipeline.training.data.batches import Batch, TileSampler
from pipeline.training.learner import Learner
from pipeline.training.loop import BEST, CHECKPOINT, METRICS_FILE, Trainer, best_of
from pipeline.training.loop_config import LoopConfig
from tests.support.brightness import BrightnessLearner
from tests.support.prepared import scene_with

SHIPS = np.array([[60.0, 60, 40, 12, 0.5], [150, 100, 30, 10, -1.0], [90, 180, 50, 14, 0.0]])


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
