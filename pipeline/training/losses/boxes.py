"""Losses and costs over oriented boxes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.detectors.torch_boxes import align_to, corners, kld_distance, rotation
from pipeline.training.losses.settings import VARIFOCAL_ALPHA, VARIFOCAL_GAMMA

BOX_SCALE_PX = 16.0
"""Errors of centres and sides are measured in this unit."""
GRID = 12
"""Points per side of the grid that measures overlap."""
IGNORED_MARGIN_PX = 4.0
"""What a head says this near to an ignore region is neither right nor wrong, either."""


def corner_distance(boxes: Tensor, targets: Tensor) -> Tensor:
    """(N, 5) × (M, 5) → (N, M) Hausdorff distance of the corner sets, pixels: blind to how a rectangle is written."""
    pairs = torch.cdist(corners(boxes).flatten(0, 1), corners(targets).flatten(0, 1))
    pairs = pairs.view(len(boxes), 4, len(targets), 4).permute(0, 2, 1, 3)
    return torch.maximum(pairs.amin(3).amax(2), pairs.amin(2).amax(2))


@torch.no_grad()
def rotated_overlap(first: Tensor, second: Tensor) -> Tensor:
    """(N, 5), (N, 5) → (N,) rotated IoU of pairs, measured on a grid of points in each box (error about 0.02)."""
    steps = (torch.arange(GRID, dtype=first.dtype, device=first.device) + 0.5) / GRID - 0.5
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1).view(-1, 2)
    area_first, area_second = first[:, 2] * first[:, 3], second[:, 2] * second[:, 3]
    common = (_share_inside(first, second, grid) * area_first + _share_inside(second, first, grid) * area_second) / 2
    return common / (area_first + area_second - common).clamp(min=1e-6)


@torch.no_grad()
def generalised_overlap(first: Tensor, second: Tensor) -> Tensor:
    """(N, 5), (N, 5) → (N,) generalised IoU (Rezatofighi et al., CVPR 2019) of pairs, -1 to 1.

    What encloses both is the smallest rectangle along the second's axes: for equal angles the GIoU of upright boxes.
    """
    local = (corners(first) - second[:, None, :2]) @ rotation(second[:, 4])
    half = second[:, 2:4] / 2
    reach = torch.maximum(local.amax(1), half) - torch.minimum(local.amin(1), -half)
    overlap = rotated_overlap(first, second)
    area_both = first[:, 2] * first[:, 3] + second[:, 2] * second[:, 3]
    union = area_both / (1 + overlap)
    enclosing = torch.maximum(reach.prod(1), union)
    return overlap - (enclosing - union) / enclosing.clamp(min=1e-6)


def _share_inside(source: Tensor, other: Tensor, grid: Tensor) -> Tensor:
    """Share of ``source``'s grid points that lie in ``other``."""
    points = source[:, None, :2] + (grid * source[:, None, 2:4]) @ rotation(source[:, 4]).transpose(-1, -2)
    local = (points - other[:, None, :2]) @ rotation(other[:, 4])
    return (local.abs() <= other[:, None, 2:4] / 2).all(-1).to(source.dtype).mean(-1)


def inside(points: Tensor, boxes: Tensor, margin_px: float = 0.0) -> Tensor:
    """(P, 2) points × (M, 5) boxes → (P,) True where a point lies in any box."""
    if len(boxes) == 0:
        return torch.zeros(len(points), dtype=torch.bool, device=points.device)
    local = torch.einsum("pmj,mji->pmi", points[:, None] - boxes[None, :, :2], rotation(boxes[:, 4]))
    return (local.abs() <= boxes[:, 2:4] / 2 + margin_px).all(-1).any(1)


def box_losses(predicted: Tensor, target: Tensor, reference_angle: Tensor) -> dict[str, Tensor]:
    """(N, 5) pairs → (N,) losses: ``l1`` of centre and sides and ``angle``, both against the way to write the target
    that is nearest to ``reference_angle``, and ``kld``, to which all ways are one."""
    aligned = align_to(target, reference_angle)
    elongation = 1 - aligned[:, 2:4].amin(1) / aligned[:, 2:4].amax(1)
    return {
        "l1": (predicted[:, :4] - aligned[:, :4]).abs().sum(1) / BOX_SCALE_PX,
        "angle": (predicted[:, 4] - aligned[:, 4]).sin().square() * elongation,
        "kld": kld_distance(predicted, target),
    }


def focal(logits: Tensor, target: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Elementwise focal loss (Lin et al., ICCV 2017) for targets of 0 and 1."""
    chance = logits.sigmoid()
    missed = target * (1 - chance) + (1 - target) * chance
    weight = target * alpha + (1 - target) * (1 - alpha)
    return functional.binary_cross_entropy_with_logits(logits, target, reduction="none") * weight * missed.pow(gamma)


def varifocal(
    logits: Tensor, quality: Tensor, positive: Tensor, alpha: float = VARIFOCAL_ALPHA, gamma: float = VARIFOCAL_GAMMA,
    emphasis: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Elementwise varifocal loss (Zhang et al., CVPR 2021): positives weigh their quality, or ``emphasis`` where it is
    given (Better Sampling, eq. 20); negatives focally."""
    chance = logits.detach().sigmoid()
    weight = torch.where(positive, quality if emphasis is None else emphasis, alpha * chance.pow(gamma))
    return functional.binary_cross_entropy_with_logits(logits, quality, reduction="none") * weight


def quality_focal(logits: Tensor, quality: Tensor, gamma: float = 2.0) -> Tensor:
    """Elementwise quality focal loss (Li et al., NeurIPS 2020) for soft targets."""
    miss = (logits.detach().sigmoid() - quality).abs().pow(gamma)
    return functional.binary_cross_entropy_with_logits(logits, quality, reduction="none") * miss


def focal_class_cost(logits: Tensor, class_ids: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """(N, C) logits, (M,) classes → (N, M) matching cost of DETR with focal loss."""
    chance = logits.sigmoid()
    hit = alpha * (1 - chance).pow(gamma) * -(chance + 1e-8).log()
    miss = (1 - alpha) * chance.pow(gamma) * -(1 - chance + 1e-8).log()
    return (hit - miss)[:, class_ids]
