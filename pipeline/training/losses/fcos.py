"""What a dense detector is told: every point its class, those that learn an object its box and how well it fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.detectors.oriented_fcos.network import FCOSOutput
from pipeline.detectors.oriented_fcos.points import centreness, distances_to
from pipeline.training.data.batches import Target
from pipeline.training.losses.aligned_points import aligned_points
from pipeline.training.losses.boxes import IGNORED_MARGIN_PX, box_losses, focal, inside, rotated_overlap
from pipeline.training.losses.dynamic_balance import DynamicBalance, gradient_sizes
from pipeline.training.losses.points import NOTHING, ranged_points
from pipeline.training.losses.settings import FCOSLosses
from pipeline.training.ranks import count_over_all, over_all

WEIGHTS = {"class": 1.0, "l1": 0.5, "angle": 2.0, "kld": 2.0, "quality": 1.0}
LEAST_BOX_WEIGHT = 0.1
"""Box losses weigh by centre-ness, which is 0 for the only point of a boat that lies between points: at least this."""
PLAIN = FCOSLosses()

Losses = dict[str, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Learning:
    """The K points of a batch that learn an object, and what they are told."""

    boxes: Tensor
    """(K, 5) what they say."""
    quality: Tensor
    """(K,) logits."""
    wanted: Tensor
    """(K, 5)."""
    points: Tensor
    """(K, 2)."""
    share: Tensor
    """(K,) what each weighs, of mean 1."""


def fcos_losses(
    output: FCOSOutput, targets: Sequence[Target], settings: FCOSLosses = PLAIN, balance: DynamicBalance | None = None
) -> Losses:
    """Scalar losses by name; their sum is minimised.

    Class: focal loss over all points but those in ignore regions, by the number of points that learn an object. Box: as
    of the other family's proposals, weighed by centre-ness (FCOS, MOD), by the sum of the weights. Quality: binary
    cross-entropy against the rotated overlap of what the point says with its object. ``balance`` weighs the points that
    learn an object, and observes them: the answers must have gradients then.
    """
    owner = torch.stack([_owners(output, row, target, settings) for row, target in enumerate(targets)])
    at = torch.nonzero(owner != NOTHING, as_tuple=True)
    own = [(target, one[one != NOTHING]) for target, one in zip(targets, owner, strict=True)]
    wanted = torch.cat([target.boxes[index] for target, index in own])
    class_ids = torch.cat([target.class_ids[index] for target, index in own])
    share = torch.ones_like(wanted[:, 0]) if balance is None else balance.weights(wanted)
    count = max(1, count_over_all(len(wanted), wanted.device))
    kinds = torch.zeros_like(output.logits)
    kinds[(*at, class_ids)] = 1
    counted = torch.stack([~inside(output.points, target.ignored, IGNORED_MARGIN_PX) for target in targets]).to(kinds)
    counted[at] = share.to(counted)
    learning = Learning(
        boxes=output.boxes[at], quality=output.quality[at], wanted=wanted, points=output.points[at[1]], share=share
    )
    losses = {"class": WEIGHTS["class"] * (focal(output.logits, kinds) * counted[..., None]).sum() / count}
    losses |= _learning_losses(learning, count)
    if balance is not None and len(wanted):
        sizes = gradient_sizes(torch.stack(list(losses.values())).sum(), output.logits, output.boxes)
        balance.observe(wanted, sizes[at] / share)
    return losses


def _owners(output: FCOSOutput, row: int, target: Target, settings: FCOSLosses) -> Tensor:
    """(T,) index of the object that each point of a tile learns, -1 for none."""
    if len(target.boxes) == 0:
        return torch.full_like(output.strides, NOTHING, dtype=torch.int64)
    if not settings.aligned_points:
        return ranged_points(output.points, output.strides, target.boxes)
    return aligned_points(
        output.points, output.strides, output.logits[row], output.boxes[row], target.boxes, target.class_ids
    )


def _learning_losses(learning: Learning, count: int) -> Losses:
    """Of boxes and qualities; 0 with a gradient of 0 where nothing is learnt, so that every parameter has one."""
    found, wanted, share = learning.boxes, learning.wanted, learning.share
    # Long side first, as the canonical truth: the angle is compared with that one, so there is no seam at 45 degrees.
    parts = box_losses(found, wanted, wanted[:, 4])
    weight = centreness(distances_to(learning.points, wanted)).clamp(min=LEAST_BOX_WEIGHT) * share
    losses = {name: (value * weight).sum() / over_all(weight.sum()).clamp(min=1e-6) for name, value in parts.items()}
    overlap = rotated_overlap(found.detach(), wanted)
    losses["quality"] = (
        functional.binary_cross_entropy_with_logits(learning.quality, overlap, share, reduction="sum") / count
    )
    return {name: WEIGHTS[name] * value for name, value in losses.items()}
