"""Which points of a dense detector learn which object: FCOS's own rule, for turned boxes.

Points are cells' centres, (P, 2) in pixels of the tile; ``strides`` (P,) says of which level; boxes are (M, 5).
"""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.detectors.oriented_fcos.points import distances_to

RANGE_STRIDES = (4.0, 8.0)
"""A level of stride s learns a point whose largest distance lies above the first and not above the second of these
multiples of s (FCOS: 64 to 128 px at stride 16); the finest level has no lower end, the coarsest no upper one."""
NOTHING = -1


def level_ranges(strides: Tensor) -> tuple[Tensor, Tensor]:
    """(P,) lowest and highest distance that each point's level learns, pixels."""
    low = torch.where(strides == strides.min(), -torch.inf, RANGE_STRIDES[0] * strides)
    high = torch.where(strides == strides.max(), torch.inf, RANGE_STRIDES[1] * strides)
    return low, high


def points_inside(points: Tensor, strides: Tensor, boxes: Tensor) -> Tensor:
    """(P, M) True where a point lies in a box. A box that holds none gets the nearest of its level: a boat 3 px wide
    can lie between points that are 4 px apart, and would never be learnt."""
    held = (distances_to(points[:, None], boxes[None]) > 0).all(-1)
    return held | _nearest(points, strides, boxes) & ~held.any(0)


@torch.no_grad()
def ranged_points(points: Tensor, strides: Tensor, boxes: Tensor) -> Tensor:
    """(P,) index of the object that each point learns, -1 for none: FCOS's rule (its sections 3.1 and 3.2).

    Of a turned box, "inside" means inside the turned box, and the size range of a level holds the largest of the four
    distances along the box's own axes. The smallest of several boxes wins. No centre sampling. An object that no point
    of a fitting level lies in gets the point nearest to its middle, of the level whose range holds half its length.
    """
    distances = distances_to(points[:, None], boxes[None])
    low, high = level_ranges(strides)
    farthest = distances.amax(-1)
    fits = (distances > 0).all(-1) & (farthest > low[:, None]) & (farthest <= high[:, None])
    return smallest_owner(fits | _nearest(points, strides, boxes) & ~fits.any(0), boxes)


def smallest_owner(fits: Tensor, boxes: Tensor) -> Tensor:
    """(P, M) → (P,) index of the smallest box that each point fits (the first of equal ones), -1 for none."""
    area = (boxes[:, 2] * boxes[:, 3]).expand(len(fits), -1)
    smallest, owner = torch.where(fits, area, torch.inf).min(1)
    return torch.where(smallest.isfinite(), owner, NOTHING)


def _nearest(points: Tensor, strides: Tensor, boxes: Tensor) -> Tensor:
    """(P, M) True at one point of each box: the nearest to its middle, of the level that learns half its length."""
    low, high = level_ranges(strides)
    half = boxes[:, 2:4].amax(1) / 2
    level = (half > low[:, None]) & (half <= high[:, None])
    away = (points[:, None] - boxes[None, :, :2]).norm(dim=-1)
    chosen = torch.zeros_like(level)
    chosen[torch.where(level, away, torch.inf).argmin(0), torch.arange(len(boxes), device=boxes.device)] = True
    return chosen
