"""What the network is asked for: every token's proposal, every decoder layer's set, the cleaned denoising queries."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.detectors.oriented_rtdetr.network import LayerOutput, NetworkOutput
from pipeline.detectors.oriented_rtdetr.torch_boxes import rotation
from pipeline.training.data.batches import Target
from pipeline.training.losses.boxes import box_losses, inside, quality_focal, rotated_overlap, varifocal
from pipeline.training.losses.denoising import Denoising
from pipeline.training.losses.matcher import match

WEIGHTS = {"token": 2.0, "class": 2.0, "l1": 0.5, "angle": 2.0, "kld": 2.0}
GAUSSIAN_SIGMA = 0.25
"""Spread of a token's target, in units of the box's sides: 0.13 at the middle of a side."""
BOX_TOKEN_TARGET = 0.4
"""Tokens with at least this target also learn the box."""
LEVEL_RANGE = (1.5, 16.0)
"""A level of stride s learns objects whose long side is between these multiples of s; the finest has no lower end."""

Losses = dict[str, Tensor]


def criterion(output: NetworkOutput, targets: Sequence[Target], denoising: Denoising | None) -> Losses:
    """Scalar losses by name; their sum is minimised. Normalised by the number of objects in the batch."""
    count = max(1, sum(len(target.boxes) for target in targets))
    losses = token_losses(output, targets)
    noisy = 0 if denoising is None else denoising.target.shape[1]
    for number, layer in enumerate(output.layers):
        for name, value in set_losses(_part(layer, noisy, None), targets, count).items():
            losses[f"{name}_{number}"] = value
        if denoising is not None:
            clean = denoising_losses(_part(layer, 0, noisy), targets, denoising.target)
            for name, value in clean.items():
                losses[f"denoising_{name}_{number}"] = value
    return losses


def _part(layer: LayerOutput, start: int, stop: int | None) -> LayerOutput:
    return LayerOutput(layer.logits[:, start:stop], layer.boxes[:, start:stop], layer.reference[:, start:stop])


def token_targets(centres: Tensor, strides: Tensor, target: Target, classes: int) -> tuple[Tensor, Tensor]:
    """(T, classes) soft targets and (T,) index of the object a token belongs to.

    A rotated Gaussian around each object, at the levels whose stride suits its length; the nearest token gets 1.
    """
    local = torch.einsum("tmj,mji->tmi", centres[:, None] - target.boxes[None, :, :2], rotation(target.boxes[:, 4]))
    sigma = torch.maximum(GAUSSIAN_SIGMA * target.boxes[None, :, 2:4], 0.4 * strides[:, None, None])
    heat = (-0.5 * (local / sigma).square().sum(-1)).exp()
    long_side, finest = target.boxes[:, 2], strides.min()
    low = torch.where(strides == finest, 0.0, LEVEL_RANGE[0] * strides)[:, None]
    high = torch.where(strides == strides.max(), torch.inf, LEVEL_RANGE[1] * strides)[:, None]
    heat = torch.where((long_side >= low) & (long_side < high), heat, 0.0)
    heat[heat.argmax(0), torch.arange(heat.shape[1], device=heat.device)] = 1.0
    best, owner = heat.max(1)
    soft = torch.zeros(len(centres), classes, dtype=centres.dtype, device=centres.device)
    soft[torch.arange(len(owner), device=owner.device), target.class_ids[owner]] = best
    return torch.where(soft < 0.05, 0.0, soft), owner


def token_losses(output: NetworkOutput, targets: Sequence[Target]) -> Losses:
    """One-to-many supervision of the proposals: quality focal loss on all tokens, box losses near objects."""
    class_loss, weights, picked, wanted = output.token_logits.new_zeros(()), [], [], []
    total = output.token_logits.new_zeros(())
    for logits, boxes, target in zip(output.token_logits, output.token_boxes, targets, strict=True):
        soft = torch.zeros_like(logits)
        if len(target.boxes):
            soft, owner = token_targets(output.token_centres, output.token_strides, target, logits.shape[1])
            strength = soft.amax(1)
            near = strength >= BOX_TOKEN_TARGET
            weights.append(strength[near])
            picked.append(boxes[near])
            wanted.append(target.boxes[owner[near]])
        counted = ~inside(output.token_centres, target.ignored, 4.0)
        class_loss = class_loss + (quality_focal(logits, soft) * counted[:, None]).sum()
        total = total + soft.sum()
    losses = {"token_class": WEIGHTS["token"] * class_loss / total.clamp(min=1.0)}
    if weights:
        weight, target_boxes = torch.cat(weights), torch.cat(wanted)
        # The proposals write the long side first, so their angle is compared with the canonical one: no seam at 45°.
        parts = box_losses(torch.cat(picked), target_boxes, target_boxes[:, 4])
        for name, value in parts.items():
            losses[f"token_{name}"] = WEIGHTS[name] * (value * weight).sum() / weight.sum()
    return losses


def set_losses(layer: LayerOutput, targets: Sequence[Target], count: int) -> Losses:
    """One-to-one supervision of a decoder layer."""
    quality, positive = torch.zeros_like(layer.logits), torch.zeros_like(layer.logits, dtype=torch.bool)
    counted = torch.ones_like(positive)
    found, references, wanted = [], [], []
    for row, target in enumerate(targets):
        counted[row] = ~inside(layer.boxes[row, :, :2].detach(), target.ignored, 4.0)[:, None]
        if len(target.boxes) == 0:
            continue
        queries, objects = match(layer.logits[row], layer.boxes[row], target.boxes, target.class_ids)
        found.append(layer.boxes[row, queries])
        references.append(layer.reference[row, queries])
        wanted.append(target.boxes[objects])
        classes = target.class_ids[objects]
        positive[row, queries, classes] = True
        quality[row, queries, classes] = rotated_overlap(found[-1].detach(), wanted[-1]).to(quality.dtype)
        counted[row, queries] = True
    losses = {"class": WEIGHTS["class"] * (varifocal(layer.logits, quality, positive) * counted).sum() / count}
    if found:
        parts = box_losses(torch.cat(found), torch.cat(wanted), torch.cat(references)[:, 4])
        losses |= {name: WEIGHTS[name] * value.sum() / count for name, value in parts.items()}
    return losses


def denoising_losses(layer: LayerOutput, targets: Sequence[Target], index: Tensor) -> Losses:
    """Good queries become their object, bad ones nothing; ``index`` as in :class:`Denoising`."""
    rows, queries = torch.nonzero(index >= 0, as_tuple=True)
    starts = torch.tensor([0, *(len(target.boxes) for target in targets)], device=index.device).cumsum(0)
    objects = starts[rows] + index[rows, queries]
    wanted = torch.cat([target.boxes for target in targets])[objects]
    classes = torch.cat([target.class_ids for target in targets])[objects]
    found = layer.boxes[rows, queries]
    quality, positive = torch.zeros_like(layer.logits), torch.zeros_like(layer.logits, dtype=torch.bool)
    positive[rows, queries, classes] = True
    quality[rows, queries, classes] = rotated_overlap(found.detach(), wanted).to(quality.dtype)
    loss = varifocal(layer.logits, quality, positive) * (index > -2)[..., None]
    parts = box_losses(found, wanted, layer.reference[rows, queries, 4])
    losses = {name: WEIGHTS[name] * value.mean() for name, value in parts.items()}
    losses["class"] = WEIGHTS["class"] * loss.sum() / len(rows)
    return losses
