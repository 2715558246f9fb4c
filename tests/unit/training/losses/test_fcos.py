"""What the points of a dense detector are told: numbers by hand, and gradients for whatever a tile holds."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from pipeline.detectors.modules.features import Features
from pipeline.detectors.oriented_fcos.network import FCOSOutput
from pipeline.training.data.batches import Target
from pipeline.training.losses.dynamic_balance import DynamicBalance
from pipeline.training.losses.fcos import fcos_losses
from pipeline.training.losses.points import ranged_points
from pipeline.training.losses.settings import FCOSLosses
from tests.support.fcos import SMALL_FCOS, small_fcos
from tests.unit.training.losses.test_points import boxes, grid

NAMES = {"class", "l1", "angle", "kld", "quality"}


def target(*rows: tuple[float, ...], ignored: tuple[tuple[float, ...], ...] = ()) -> Target:
    return Target(boxes(*rows), torch.zeros(len(rows), dtype=torch.int64), boxes(*ignored))


def output(said: tuple[float, ...], logit: float = -20.0, size: int = 64) -> FCOSOutput:
    """Every point of a tile says the same box and the same class logit."""
    points, strides = grid(size)
    count = len(points)
    return FCOSOutput(
        torch.full((1, count, 1), logit), torch.zeros(1, count), boxes(said).expand(1, count, -1).clone(), points,
        strides, Features([]),
    )  # fmt: skip


def test_a_right_answer_costs_nothing_but_its_class() -> None:
    """The quality logit is 0 where the overlap is 1: ln 2. The class is missed at p = 2e-9: 0.25 · 20."""
    ship = (32.0, 32.0, 24.0, 8.0, 0.4)
    found = fcos_losses(output(ship), [target(ship)])
    assert found.keys() == NAMES
    assert float(found["quality"]) == pytest.approx(math.log(2), abs=1e-4)
    assert float(found["class"]) == pytest.approx(0.25 * 20, rel=1e-3)
    assert sum(float(found[name]) for name in ("l1", "angle", "kld")) == pytest.approx(0, abs=1e-4)


def test_points_near_the_middle_count_more_for_the_box() -> None:
    """Half of the points, those left of the middle, are right: the loss is half. All but the three in the middle row
    and column: less than their share."""
    ship = (32.0, 32.0, 24.0, 24.0, 0.0)
    wrong = output((36.0, 32.0, 24.0, 24.0, 0.0))
    inner = ((wrong.points - 32).abs().amax(1) < 4) & (wrong.strides == 4)
    mended = replace(wrong, boxes=torch.where(inner[None, :, None], boxes(ship), wrong.boxes))
    whole, rest = (float(fcos_losses(one, [target(ship)])["l1"]) for one in (wrong, mended))
    assert whole == pytest.approx(0.5 * 4 / 16, rel=1e-5)
    learnt = 36 + 9 + 4
    assert rest < whole * (1 - float(inner.sum()) / learnt) * 0.9


def test_ignore_regions_are_neither_right_nor_wrong() -> None:
    sure = output((32.0, 32, 10, 10, 0), logit=4.0)
    everywhere = target(ignored=((32.0, 32, 80, 80, 0),))
    assert float(fcos_losses(sure, [everywhere])["class"]) == 0
    assert float(fcos_losses(sure, [target()])["class"]) > 100
    inside = fcos_losses(sure, [replace(everywhere, boxes=boxes((32, 32, 20, 20, 0)), class_ids=torch.zeros(1).long())])
    assert float(inside["kld"]) > 0.05, "an object is learnt in an ignore region too"


def test_the_quality_learns_the_rotated_overlap() -> None:
    """A box turned by a quarter: 8 · 8 px of both are shared, of 2 · 24 · 8 - 64 px."""
    ship, crossed = (32.0, 32, 24, 8, 0.0), (32.0, 32, 24, 8, math.pi / 2)
    iou = 64 / (2 * 24 * 8 - 64)
    told = output(crossed)
    right = replace(told, quality=torch.full_like(told.quality, math.log(iou / (1 - iou))))
    entropy = -iou * math.log(iou) - (1 - iou) * math.log(1 - iou)
    assert float(fcos_losses(right, [target(ship)])["quality"]) == pytest.approx(entropy, abs=0.02)


def test_the_balance_of_sizes_moves_loss_between_objects_and_adds_none() -> None:
    """A boat of 6 px learns four times as much as the mean of the bins, a ship of 20 px a quarter of it: w is 1/2 to 2
    before the mean is brought to 1. Where all points say alike the class costs as ever; of a class that only the ship's
    points miss the cost grows, of one that only the boat's miss it falls. With neutral shares nothing changes."""
    boat, ship = (12.0, 12.0, 6.0, 6.0, 0.0), (44.0, 44.0, 20.0, 20.0, 0.0)

    def loss(shares: list[float] | None, found_already: int | None = None) -> float:
        said = output(ship, logit=-6.0)
        logits = said.logits
        if found_already is not None:
            right = ranged_points(said.points, said.strides, boxes(boat, ship)) == found_already
            logits = torch.where(right[None, :, None], 6.0, logits)
        given = replace(said, logits=logits.clone().requires_grad_(), boxes=said.boxes.requires_grad_())
        balance = None
        if shares is not None:
            balance = DynamicBalance()
            balance.shares.copy_(torch.tensor(shares))
        found = float(fcos_losses(given, [target(boat, ship)], balance=balance)["class"].detach())
        if balance is not None:
            assert balance.shares.tolist() != shares, "it observed"
        return found

    skewed = [4.0, 1.0, 0.25, 1.0]
    assert loss([1.0] * 4) == loss(None)
    assert loss(skewed) == pytest.approx(loss(None), rel=1e-4)
    assert loss(skewed, found_already=0) > 1.02 * loss(None, found_already=0)
    assert loss(skewed, found_already=1) < 0.9 * loss(None, found_already=1)


def test_the_balance_of_sizes_adds_no_loss_of_boxes_either() -> None:
    """Every point is 4 px beside its object, of whatever size: what it costs does not depend on the weights. Points of
    the ship weigh by centre-ness, far below that of the boat's in the mean."""
    boat, ship = (12.0, 12.0, 6.0, 6.0, 0.0), (44.0, 44.0, 20.0, 20.0, 0.0)
    said = output(ship)
    owner = ranged_points(said.points, said.strides, boxes(boat, ship)).clamp(min=0)
    beside = (boxes(boat, ship)[owner] + torch.tensor([4.0, 0, 0, 0, 0]))[None].requires_grad_()
    given = replace(said, logits=said.logits.requires_grad_(), boxes=beside)
    balance = DynamicBalance()
    balance.shares.copy_(torch.tensor([4.0, 1.0, 0.25, 1.0]))
    for weighed in (None, balance):
        found = fcos_losses(given, [target(boat, ship)], balance=weighed)
        assert float(found["l1"].detach()) == pytest.approx(0.5 * 4 / 16, rel=1e-5)


@pytest.mark.parametrize("settings", [FCOSLosses(), FCOSLosses(aligned_points=True)], ids=["plain", "aligned"])
@pytest.mark.parametrize("receptive_field", ["none", "first", "last"])
@pytest.mark.parametrize("count", [0, 1, 500])
@pytest.mark.parametrize("size", [(32, 32), (64, 160)])
def test_every_parameter_has_a_finite_gradient_whatever_a_tile_holds(
    settings: FCOSLosses, receptive_field: str, count: int, size: tuple[int, int]
) -> None:
    """Two tiles, the second of them always empty; two classes."""
    network = small_fcos(replace(SMALL_FCOS, receptive_field=receptive_field, classes=2)).train()
    random = torch.Generator().manual_seed(count)
    drawn = torch.rand(count, 5, generator=random) * torch.tensor([size[1], size[0], 30, 30, 3.1]) + torch.tensor(
        [0, 0, 2, 2, -1.55]
    )
    sides = drawn[:, 2:4].sort(1, descending=True).values
    full = Target(torch.cat([drawn[:, :2], sides, drawn[:, 4:]], 1), torch.arange(count) % 2, boxes((9, 9, 5, 5, 0)))
    found = fcos_losses(network(torch.rand(2, 3, *size)), [full, target()], settings)
    assert found.keys() == NAMES
    assert all(value.isfinite() for value in found.values())
    assert (float(found["kld"].detach()) > 0) == (count > 0)
    torch.stack(list(found.values())).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
