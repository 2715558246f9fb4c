"""Oriented boxes as torch tensors: what the networks of our own families and their training share.

Boxes are ``(..., 5)``: cx, cy, w, h in pixels of the chip, angle in radians clockwise on screen. Inside the network
``w >= h`` is not demanded: (w, h, a) and (h, w, a ± pi/2) are the same rectangle, and a ± pi too.

What runs inside the network does without matrix products: autocast would take them in 16 bits, and at 500 px those
have steps of 2 px.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SMALLEST_SIDE_PX = 1.0
LARGEST_SIDE_PX = 4096.0
LARGEST_LOG_STEP = 2.0
"""A refinement changes a side by a factor of at most exp(2)."""


def rotation(angle: Tensor) -> Tensor:
    """(...,) angles → (..., 2, 2) matrices that take box-frame vectors to the screen (y down, clockwise)."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)


def reference_frames(boxes: Tensor, width: float, height: float) -> Tensor:
    """(..., 5) boxes → (..., 2, 3) affine maps from box coordinates to the chip's unit square.

    Box coordinates have the box's centre at 0 and its sides at ±0.5, along its own axes.
    """
    frames = torch.cat([rotation(boxes[..., 4]) * boxes[..., None, 2:4], boxes[..., :2, None]], -1)
    # Row by row, by plain numbers: a graph that is traced then takes chips of other sizes than the traced one.
    return torch.cat([frames[..., :1, :] / width, frames[..., 1:, :] / height], -2)


def refine(reference: Tensor, residual: Tensor) -> Tensor:
    """Boxes from a reference and (..., 5) residuals.

    A shift along the reference's axes in units of its sides, the logarithm of how its sides grow, and an unbounded
    turn that is added to its angle modulo pi.
    """
    shift = (rotation(reference[..., 4]) * (residual[..., :2] * reference[..., 2:4])[..., None, :]).sum(-1)
    growth = residual[..., 2:4].clamp(-LARGEST_LOG_STEP, LARGEST_LOG_STEP).exp()
    sides = (reference[..., 2:4] * growth).clamp(SMALLEST_SIDE_PX, LARGEST_SIDE_PX)
    angle = wrap_half_turn(reference[..., 4:] + residual[..., 4:])
    return torch.cat([reference[..., :2] + shift, sides, angle], -1)


def wrap_half_turn(angle: Tensor) -> Tensor:
    """The same direction of an axis, in [-pi/2, pi/2). The gradient is that of the identity."""
    wrapped = angle - math.pi * torch.floor(angle.detach() / math.pi + 0.5)
    return wrapped.clamp(min=-math.pi / 2)  # rounding can fall short of it by one step


def canonical(boxes: Tensor) -> Tensor:
    """The same rectangles with ``w >= h`` and the angle in [-pi/2, pi/2)."""
    cx, cy, w, h, angle = boxes.unbind(-1)
    turned = w < h
    angle = wrap_half_turn(torch.where(turned, angle + math.pi / 2, angle))
    return torch.stack([cx, cy, torch.maximum(w, h), torch.minimum(w, h), angle], -1)


def align_to(boxes: Tensor, reference_angle: Tensor) -> Tensor:
    """Of the four ways to write each rectangle, the one whose angle is nearest to the reference's.

    The returned angle is not wrapped: it differs from ``reference_angle`` by at most pi/4, so it can be regressed.
    """
    cx, cy, w, h, angle = boxes.unbind(-1)
    quarter_turns = torch.round((reference_angle - angle) / (math.pi / 2))
    odd = quarter_turns.remainder(2) == 1
    nearest = angle + quarter_turns * (math.pi / 2)
    return torch.stack([cx, cy, torch.where(odd, h, w), torch.where(odd, w, h), nearest], -1)


def corners(boxes: Tensor) -> Tensor:
    """(..., 5) boxes → (..., 4, 2) corner points in order around the box."""
    signs = torch.tensor([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]], dtype=boxes.dtype, device=boxes.device)
    local = signs * boxes[..., None, 2:4]
    return boxes[..., None, :2] + local @ rotation(boxes[..., 4]).transpose(-1, -2)


def covariance(boxes: Tensor) -> Tensor:
    """(..., 5) boxes → (..., 2, 2) covariance R diag(w²/4, h²/4) Rᵀ of the Gaussian that stands for the box."""
    axes = rotation(boxes[..., 4])
    return (axes * (boxes[..., None, 2:4].square() / 4)) @ axes.transpose(-1, -2)


def kl_divergence(predicted: Tensor, target: Tensor) -> Tensor:
    """KL(target ‖ predicted) of the boxes' Gaussians (Yang et al., NeurIPS 2021), in float32 at least, >= 0.

    Written in the predicted box's own axes, where its covariance is diagonal, so nothing is inverted numerically.
    """
    predicted, target = (boxes.to(torch.promote_types(boxes.dtype, torch.float32)) for boxes in (predicted, target))
    to_axes = rotation(predicted[..., 4]).transpose(-1, -2)
    variance = predicted[..., 2:4].square() / 4
    offset = (to_axes @ (target[..., :2] - predicted[..., :2])[..., None])[..., 0]
    spread = (to_axes @ covariance(target) @ to_axes.transpose(-1, -2)).diagonal(dim1=-2, dim2=-1)
    log_ratio = 2 * (predicted[..., 2:4].log() - target[..., 2:4].log()).sum(-1)
    return (0.5 * (((offset.square() + spread) / variance).sum(-1) + log_ratio - 2)).clamp(min=0)


def kld_distance(predicted: Tensor, target: Tensor) -> Tensor:
    """KL divergence brought to [0, 1): 1 - 1 / (1 + ln(1 + D)). The loss and the matching cost."""
    return 1 - 1 / (1 + torch.log1p(kl_divergence(predicted, target)))
