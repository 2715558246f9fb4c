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
from pipeline.training.losses.boxes import box_losses, focal, inside, rotated_overlap
from pipeline.training.losses.points import NOTHING, ranged_points
from pipeline.training.losses.settings import FCOSLosses

WEIGHTS = {"class": 1.0, "l1": 0.5, "angle": 2.0, "kld": 2.0, "quality": 1.0}
LEAST_BOX_WEIGHT = 0.1
"""Box losses weigh by centre-ness, which is 0 for the only point of a boat that lies between points: at least this."""
IGNORED_MARGIN_PX = 4.0
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


def fcos_losses(output: FCOSOutput, targets: Sequence[Target], settings: FCOSLosses = PLAIN) -> Losses:
    """Scalar losses by name; their sum is minimised.

    Class: focal loss over all points but those in ignore regions, by the number of points that learn an object. Box: as
    of the other family's proposals, weighed by centre-ness (FCOS, MOD), by the sum of the weights. Quality: binary
    cross-entropy against the rotated overlap of what the point says with its object.
    """
    class_loss, count, learning = output.logits.new_zeros(()), 0, []
    for row, target in enumerate(targets):
        owner = _owners(output, row, target, settings)
        learns = owner != NOTHING
        wanted = torch.zeros_like(output.logits[row])
        wanted[learns, target.class_ids[owner[learns]]] = 1
        counted = learns | ~inside(output.points, target.ignored, IGNORED_MARGIN_PX)
        class_loss = class_loss + (focal(output.logits[row], wanted) * counted[:, None]).sum()
        count += int(learns.sum())
        learning.append(
            Learning(
                boxes=output.boxes[row, learns], quality=output.quality[row, learns],
                wanted=target.boxes[owner[learns]], points=output.points[learns],
            )
        )  # fmt: skip
    return {"class": WEIGHTS["class"] * class_loss / max(1, count), **_learning_losses(learning, count)}


def _owners(output: FCOSOutput, row: int, target: Target, settings: FCOSLosses) -> Tensor:
    """(T,) index of the object that each point of a tile learns, -1 for none."""
    if len(target.boxes) == 0:
        return torch.full_like(output.strides, NOTHING, dtype=torch.int64)
    if not settings.aligned_points:
        return ranged_points(output.points, output.strides, target.boxes)
    return aligned_points(
        output.points, output.strides, output.logits[row], output.boxes[row], target.boxes, target.class_ids
    )


def _learning_losses(learning: Sequence[Learning], count: int) -> Losses:
    """Of boxes and qualities; 0 with a gradient of 0 where nothing is learnt, so that every parameter has one."""
    found, wanted = (torch.cat([getattr(one, name) for one in learning]) for name in ("boxes", "wanted"))
    logits, points = (torch.cat([getattr(one, name) for one in learning]) for name in ("quality", "points"))
    # Long side first, as the canonical truth: the angle is compared with that one, so there is no seam at 45 degrees.
    parts = box_losses(found, wanted, wanted[:, 4])
    weight = centreness(distances_to(points, wanted)).clamp(min=LEAST_BOX_WEIGHT)
    losses = {name: (value * weight).sum() / weight.sum().clamp(min=1e-6) for name, value in parts.items()}
    overlap = rotated_overlap(found.detach(), wanted)
    losses["quality"] = functional.binary_cross_entropy_with_logits(logits, overlap, reduction="sum") / max(1, count)
    return {name: WEIGHTS[name] * value for name, value in losses.items()}
