"""The oriented FCOS as a learner."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.config import RasterConfig
from pipeline.detectors.oriented_fcos.network import OrientedFCOS
from pipeline.training.data.augment import AugmentConfig
from pipeline.training.data.batches import TileSampler
from pipeline.training.data.harbours import prepare_harbour
from pipeline.training.export import training_card
from pipeline.training.loop import Trainer
from pipeline.training.loop_config import LoopConfig
from pipeline.training.losses.settings import FCOSLosses
from pipeline.training.oriented_fcos import FCOSLearner
from tests.support.fcos import SMALL_FCOS
from tests.support.prepared import scene_with

SHIPS = np.array([[60.0, 60, 40, 12, 0.5], [150, 100, 30, 10, -1.0], [90, 180, 50, 14, 0.0]])


def test_a_learner_makes_its_own_detectors_only() -> None:
    learner = FCOSLearner(OrientedFCOS(SMALL_FCOS))
    card = training_card("made", ("ship",), None, 64, SMALL_FCOS)
    assert learner.detector(OrientedFCOS(SMALL_FCOS), card).card == card
    assert (card.mean, card.std) == (learner.mean, learner.std)
    assert learner.auxiliary is None
    with pytest.raises(TypeError, match="not of a Linear"):
        learner.detector(nn.Linear(1, 1), card)


def test_the_settings_decide_which_points_learn() -> None:
    batch = TileSampler([([scene_with(SHIPS)], 1.0)], AugmentConfig()).batch(2, 96, np.random.default_rng(0))

    def loss(settings: FCOSLosses) -> float:
        torch.manual_seed(0)
        learner = FCOSLearner(OrientedFCOS(SMALL_FCOS), losses=settings)
        return float(learner.losses(batch, torch.Generator())["class"].detach())

    assert loss(FCOSLosses()) == loss(FCOSLosses())
    assert loss(FCOSLosses()) != loss(FCOSLosses(aligned_points=True))


def test_masks_and_reconstruction_have_their_losses_with_their_weights() -> None:
    batch = TileSampler([([scene_with(SHIPS)], 1.0)], AugmentConfig()).batch(2, 96, np.random.default_rng(0))
    config = replace(SMALL_FCOS, foreground=True, reconstruction="learnable")

    def losses(settings: FCOSLosses) -> dict[str, float]:
        torch.manual_seed(0)
        learner = FCOSLearner(OrientedFCOS(config), losses=settings)
        found = learner.losses(batch, torch.Generator())
        assert set(learner.telling) == found.keys()
        return {name: float(value.detach()) for name, value in found.items()}

    once, twice = losses(FCOSLosses()), losses(FCOSLosses(foreground_weight=1.0, reconstruction_weight=2.0))
    for name, value in once.items():
        assert twice[name] == pytest.approx(value * (2 if name in ("foreground", "reconstruction") else 1)), name
        assert value > 0, name


def test_masks_and_the_balance_of_sizes_learn_and_are_resumed(tmp_path: Path) -> None:
    """What is after E-FPN-BS with this head: two steps, a checkpoint, and another object's worth of the same run."""

    def trainer() -> tuple[FCOSLearner, Trainer]:
        config = replace(SMALL_FCOS, context=True, foreground=True)
        learner = FCOSLearner(OrientedFCOS(config), losses=FCOSLosses(dynamic_balance=True))
        sampler = TileSampler([([scene_with(SHIPS)], 1.0)], AugmentConfig(scale_range=(0.1, 1.5)))
        return learner, Trainer(learner, sampler, LoopConfig(steps=3, tiles=2, sizes_px=(64,)), tmp_path)

    torch.manual_seed(0)
    learner, run = trainer()
    run.network.train()
    said = [run.learn(run.batch(run.step)) for _ in range(2)]
    assert {"class", "foreground"} <= said[-1].keys()
    run.save()
    again, resumed = trainer()
    assert resumed.resume()
    assert learner.auxiliary is not None
    assert again.auxiliary is not None
    assert torch.equal(again.auxiliary.shares, learner.auxiliary.shares)
    assert not torch.equal(again.auxiliary.shares, torch.ones(4).double())
    resumed.network.train()
    assert resumed.learn(resumed.batch(2))["loss"] == pytest.approx(run.learn(run.batch(2))["loss"], rel=1e-4)


@pytest.mark.parametrize("receptive_field", ["none", "last"])
@pytest.mark.parametrize("settings", [FCOSLosses(), FCOSLosses(aligned_points=True)], ids=["plain", "aligned"])
def test_sixty_steps_on_a_harbour_lower_the_loss(receptive_field: str, settings: FCOSLosses, tmp_path: Path) -> None:
    """Of the same tiles, which are not those of the steps, by the averaged weights."""
    torch.manual_seed(0)
    harbour = prepare_harbour(0, 192, 10.0, RasterConfig())
    assert len(harbour.truth) > 3
    sampler = TileSampler([([harbour], 1.0)], AugmentConfig())
    learner = FCOSLearner(OrientedFCOS(replace(SMALL_FCOS, receptive_field=receptive_field)), losses=settings)
    config = LoopConfig(steps=60, tiles=2, sizes_px=(64,), warmup_steps=5, learning_rate=2e-3, checkpoint_steps=1000)
    trainer = Trainer(learner, sampler, config, tmp_path)
    judged = sampler.batch(12, 64, np.random.default_rng(99))

    @torch.no_grad()
    def loss() -> float:
        """In training mode: how statistics of few steps settle is not what is asked."""
        return float(torch.stack(list(learner.losses(judged, torch.Generator()).values())).sum())

    trainer.network.train()
    before = loss()
    trainer.run(lambda _: None)
    assert loss() < 0.75 * before
