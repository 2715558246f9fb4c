"""The oriented RT-DETR as a learner."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.detectors.oriented_rtdetr.network import OrientedRTDetr
from pipeline.training.data.augment import AugmentConfig
from pipeline.training.data.batches import TileSampler
from pipeline.training.export import training_card
from pipeline.training.oriented_rtdetr import OrientedLearner
from tests.support.oriented import SMALL
from tests.support.prepared import scene_with

SHIPS = np.array([[60.0, 60, 40, 12, 0.5], [150, 100, 30, 10, -1.0], [90, 180, 50, 14, 0.0]])


def test_an_oriented_learner_makes_its_own_detectors_only() -> None:
    learner = OrientedLearner(OrientedRTDetr(SMALL))
    card = training_card("made", ("ship",), None, 64, SMALL)
    assert learner.detector(OrientedRTDetr(SMALL), card).card == card
    assert (card.mean, card.std) == (learner.mean, learner.std)
    with pytest.raises(TypeError, match="not of a Linear"):
        learner.detector(nn.Linear(1, 1), card)


def test_what_a_learner_subtracts_and_divides_by_is_what_its_card_says() -> None:
    """The numbers it has by itself, given: the same loss. Others: another one."""
    batch = TileSampler([([scene_with(SHIPS)], 1.0)], AugmentConfig()).batch(2, 64, np.random.default_rng(0))

    def loss(**normalisation: Any) -> float:
        torch.manual_seed(0)
        learner = OrientedLearner(OrientedRTDetr(SMALL), **normalisation)
        return float(learner.losses(batch, torch.Generator().manual_seed(1))["token_class"].detach())

    assert loss() == loss(mean=(0.25,) * 3, std=(0.25,) * 3)
    assert loss() != loss(mean=(0.1, 0.2, 0.3), std=(0.25,) * 3)
