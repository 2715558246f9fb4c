"""The oriented RT-DETR as a learner."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.detectors.oriented_rtdetr.network import OrientedRTDetr
from pipeline.training.data.augment import AugmentConfig
from pipeline.training.data.batches import Batch, Target, TileSampler
from pipeline.training.export import training_card
from pipeline.training.loop import Trainer
from pipeline.training.loop_config import LoopConfig
from pipeline.training.losses.settings import RTDETRLosses
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


def test_a_tile_of_fewer_tokens_than_queries_is_learnt_from() -> None:
    """32 px have 85 tokens, and 150 queries are configured: all tokens are queries then, beside those to be cleaned."""
    torch.manual_seed(0)
    learner = OrientedLearner(OrientedRTDetr(replace(SMALL, queries=150)))
    batch = TileSampler([([scene_with(SHIPS)], 1.0)], AugmentConfig()).batch(2, 32, np.random.default_rng(0))
    assert any(len(target.boxes) for target in batch.targets), "without an object nothing is denoised"
    losses = learner.losses(batch, torch.Generator().manual_seed(0))
    assert all(bool(value.isfinite()) for value in losses.values())
    assert any(name.startswith("denoising") for name in losses)


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


E_FPN_BS = replace(SMALL, context=True, foreground=True)


def tiles(*counts: int, size: tuple[int, int] = (64, 64)) -> Batch:
    """One tile for each number of objects, of all sizes."""
    random = np.random.default_rng(len(counts))
    targets = []
    for count in counts:
        sides = 2 ** random.uniform(1, 5.5, (count, 2))
        boxes = np.column_stack([random.uniform(0, 64, (count, 2)), np.sort(sides)[:, ::-1], np.zeros(count)])
        targets.append(Target(torch.tensor(boxes).float(), torch.zeros(count, dtype=torch.int64), torch.zeros(0, 5)))
    return Batch(torch.tensor(random.integers(0, 255, (len(counts), *size, 3), np.uint8)), tuple(targets))


@pytest.mark.parametrize("batch", [tiles(0, 0), tiles(1, 0), tiles(500, 0), tiles(3, 2, size=(64, 96))],
                         ids=["empty", "one", "500", "not square"])  # fmt: skip
def test_after_e_fpn_bs_losses_and_gradients_are_finite_for_any_number_of_objects(batch: Batch) -> None:
    torch.manual_seed(0)
    learner = OrientedLearner(OrientedRTDetr(E_FPN_BS), losses=RTDETRLosses(dynamic_balance=True))
    losses = learner.losses(batch, torch.Generator().manual_seed(0))
    assert all(value.ndim == 0 and value.isfinite() for value in losses.values())
    assert "foreground" in losses
    torch.stack(list(losses.values())).sum().backward()
    for name, parameter in learner.network.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name
    assert learner.network.context.strength.grad.abs().sum() > 0
    assert learner.network.foreground.masks[0].get_submodule("2").bias.grad.abs().sum() > 0


def test_the_weight_of_the_masks_is_its_own() -> None:
    """Twice the weight, twice that loss and no other; no weight or no masks, no such loss."""

    def losses(config: Any, **settings: Any) -> dict[str, float]:
        torch.manual_seed(0)
        learner = OrientedLearner(OrientedRTDetr(config), losses=RTDETRLosses(**settings))
        return {name: float(one.detach()) for name, one in learner.losses(tiles(3, 1), torch.Generator()).items()}

    half, whole, none = (losses(E_FPN_BS, foreground_weight=weight) for weight in (0.5, 1.0, 0.0))
    assert half == whole | {"foreground": pytest.approx(whole["foreground"] / 2)}
    assert none == {name: value for name, value in whole.items() if name != "foreground"}
    assert losses(SMALL).keys() == none.keys()


def test_a_balance_that_has_learnt_moves_loss_to_what_learns_little_and_a_fresh_one_does_not() -> None:
    """Shares of 4 and 1/4 make the weights of a small and a large object differ; the same step with neutral shares is
    the plain one."""

    def losses(shares: list[float] | None) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        learner = OrientedLearner(OrientedRTDetr(SMALL), losses=RTDETRLosses(dynamic_balance=shares is not None))
        if shares is not None:
            assert learner.auxiliary is not None
            learner.auxiliary.get_buffer("balance.shares").copy_(torch.tensor(shares))
        found = learner.losses(tiles(4, 3), torch.Generator().manual_seed(0))
        if shares is not None:
            assert learner.auxiliary.get_buffer("balance.shares").tolist() != shares  # it observed
        return {name: one.detach() for name, one in found.items()}

    plain, fresh, learnt = losses(None), losses([1, 1, 1, 1]), losses([4, 4, 0.25, 0.25])
    assert plain.keys() == fresh.keys() == learnt.keys()
    first = {name for name in plain if name.endswith("_0") and not name.startswith("denoising")}
    assert first == {"class_0", "l1_0", "angle_0", "kld_0"}
    for name in plain:
        if not (name.endswith("_1") and name[:-2] in ("class", "l1", "angle", "kld")):  # the first has observed by then
            torch.testing.assert_close(fresh[name], plain[name])
        assert torch.equal(learnt[name], plain[name]) == (name.startswith(("token", "denoising"))), name


def test_what_the_balance_remembers_is_resumed_to_the_last_bit(tmp_path: Path) -> None:
    def trainer(out: Path) -> Trainer:
        torch.manual_seed(0)
        learner = OrientedLearner(OrientedRTDetr(E_FPN_BS), losses=RTDETRLosses(dynamic_balance=True))
        sampler = TileSampler([([scene_with(SHIPS)], 1.0)], AugmentConfig(scale_range=(0.1, 1.5)))
        return Trainer(learner, sampler, LoopConfig(steps=4, tiles=2, sizes_px=(64,), warmup_steps=2), out)

    def learn(run: Trainer, count: int) -> list[float]:
        run.network.train()
        return [run.learn(run.batch(run.step))["loss"] for _ in range(count)]

    def shares(run: Trainer) -> list[float]:
        learner = run._learner
        assert learner.auxiliary is not None
        return learner.auxiliary.get_buffer("balance.shares").tolist()

    whole = trainer(tmp_path / "whole")
    wanted = learn(whole, 4)
    parts = trainer(tmp_path / "parts")
    learn(parts, 2)
    parts.save()
    torch.manual_seed(99)
    again = trainer(tmp_path / "parts")
    assert shares(again) == [1, 1, 1, 1]
    assert again.resume()
    assert shares(again) == shares(parts) != [1, 1, 1, 1]
    assert learn(again, 2) == pytest.approx(wanted[2:], rel=1e-5)
    assert shares(again) == pytest.approx(shares(whole), rel=1e-5)
