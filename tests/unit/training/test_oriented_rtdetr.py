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
from pipeline.training.losses.settings import RTDETRLosses
from pipeline.training.oriented_rtdetr import OrientedLearner
from tests.support.oriented import SMALL
from tests.support.prepared import scene_with

SHIPS = np.array([[60.0, 60, 40, 12, 0.5], [150, 100, 30, 10, -1.0], [90, 180, 50, 14, 0.0]])


def test_an_oriented_learner_makes_its_own_detectors_only() -> None:
    learner = OrientedLearner(OrientedRTDetr(SMALL))
    card = training_card("made", ("ship",), None, 64)
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


def test_every_decoder_layer_has_its_own_room_around_the_box() -> None:
    """Points at 1.3 half sides in both layers: within the first layer's 1.5, beyond the last one's 1.0."""
    torch.manual_seed(0)
    network = OrientedRTDetr(SMALL)
    for layer in network.decoder:
        torch.nn.init.constant_(layer.encoder_attn.sampling_offsets.bias, 1.3 * SMALL.points)
    tiles = TileSampler([([scene_with(SHIPS)], 1.0)], AugmentConfig(object_share=1.0)).batch(
        2, 64, np.random.default_rng(0)
    )
    matched = sum(len(target.boxes) for target in tiles.targets)
    assert 0 < matched <= SMALL.queries
    learner = OrientedLearner(network, losses=RTDETRLosses(sample_refinement=True))
    losses = learner.losses(tiles, torch.Generator().manual_seed(1))
    assert float(losses["offset_0"].detach()) == 0
    assert float(losses["offset_1"].detach()) == pytest.approx(0.36, rel=1e-3)
