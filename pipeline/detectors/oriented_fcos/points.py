"""Points and the turned boxes they describe: four distances in the box's own axes, and an angle.

FCOS (Tian et al., ICCV 2019) describes a box from a point by its distances l, t, r, b to the box's sides. Of a turned
box they are measured along its own axes: l and r against and along its direction (cos a, sin a), t and b across it.
All in pixels of the chip; angles in radians, clockwise on screen.

Half a turn writes the same rectangle and exchanges l with r and t with b, so four numbers that a network learnt would
have to jump where the angle does. Their sums do not jump, and their differences are the way from the point to the
box's middle, which does not jump when it is written in the chip's axes: a network writes these (:func:`turned`), and
nothing it has to learn has a seam.
"""

from __future__ import annotations

import torch
from torch import Tensor


def distances_to(points: Tensor, boxes: Tensor) -> Tensor:
    """(..., 2) points, (..., 5) boxes → (..., 4) distances l, t, r, b; a negative one is of a point outside."""
    along, across = _in_axes(boxes[..., :2] - points, boxes[..., 4])
    half_w, half_h = boxes[..., 2] / 2, boxes[..., 3] / 2
    return torch.stack([half_w - along, half_h - across, half_w + along, half_h + across], -1)


def boxes_from(points: Tensor, distances: Tensor, angle: Tensor) -> Tensor:
    """(..., 2) points, (..., 4) distances, (...,) angles → (..., 5) boxes: undoes :func:`distances_to`."""
    left, top, right, bottom = distances.unbind(-1)
    along, across = (right - left) / 2, (bottom - top) / 2
    cos, sin = angle.cos(), angle.sin()
    x, y = points.unbind(-1)
    return torch.stack(
        [x + cos * along - sin * across, y + sin * along + cos * across, left + right, top + bottom, angle], -1
    )


def turned(offset: Tensor, sides: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Distances (..., 4) and angles (...,) in [-pi/2, pi/2] from what a network writes without a seam.

    ``offset`` (..., 2): from the point to the box's middle, pixels in the chip's axes. ``sides`` (..., 2), pixels.
    ``direction`` (..., 2): (cos 2a, sin 2a) of any length.
    """
    forward = direction + torch.tensor([1e-4, 0.0], device=direction.device, dtype=direction.dtype)  # (0, 0) has none
    angle = torch.atan2(forward[..., 1], forward[..., 0]) / 2
    along, across = _in_axes(offset, angle)
    half_w, half_h = sides[..., 0] / 2, sides[..., 1] / 2
    return torch.stack([half_w - along, half_h - across, half_w + along, half_h + across], -1), angle


def centreness(distances: Tensor) -> Tensor:
    """(..., 4) distances → (...,) FCOS's centre-ness, 1 in the middle, 0 on the sides and outside (its eq. 3)."""
    left, top, right, bottom = distances.clamp(min=0).unbind(-1)
    across = torch.minimum(left, right) / torch.maximum(left, right).clamp(min=1e-6)
    down = torch.minimum(top, bottom) / torch.maximum(top, bottom).clamp(min=1e-6)
    return (across * down).sqrt()


def _in_axes(vector: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """(..., 2) vectors on screen → their parts along and across (...,) directions."""
    cos, sin = angle.cos(), angle.sin()
    return vector[..., 0] * cos + vector[..., 1] * sin, vector[..., 1] * cos - vector[..., 0] * sin
