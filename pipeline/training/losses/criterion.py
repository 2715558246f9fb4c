"""What the network is asked for: every token's proposal, every decoder layer's set, the cleaned denoising queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.detectors.oriented_rtdetr.network import LayerOutput, NetworkOutput
from pipeline.detectors.torch_boxes import rotation
from pipeline.training.data.batches import Target
from pipeline.training.losses.better_sampling import (
    LayerSampling,
    area_ratio,
    attention_loss,
    offset_loss,
    sample_weights,
    scale_aligned,
)
from pipeline.training.losses.boxes import (
    IGNORED_MARGIN_PX,
    box_losses,
    inside,
    quality_focal,
    rotated_overlap,
    varifocal,
)
from pipeline.training.losses.denoising import Denoising
from pipeline.training.losses.dynamic_balance import DynamicBalance, gradient_sizes
from pipeline.training.losses.matcher import match
from pipeline.training.losses.settings import RTDETRLosses
from pipeline.training.ranks import count_over_all, over_all

WEIGHTS = {"token": 2.0, "class": 2.0, "l1": 0.5, "angle": 2.0, "kld": 2.0}
GAUSSIAN_SIGMA = 0.25
"""Spread of a token's target, in units of the box's sides: 0.13 at the middle of a side."""
BOX_TOKEN_TARGET = 0.4
"""Tokens with at least this target also learn the box."""
LEVEL_RANGE = (1.5, 16.0)
"""A level of stride s learns objects whose long side is between these multiples of s; the finest has no lower end."""

PLAIN = RTDETRLosses()

Losses = dict[str, Tensor]


def criterion(
    output: NetworkOutput, targets: Sequence[Target], denoising: Denoising | None, settings: RTDETRLosses = PLAIN,
    sampling: Sequence[LayerSampling] | None = None, balance: DynamicBalance | None = None,
) -> Losses:  # fmt: skip
    """Scalar losses by name; their sum is minimised. Normalised by the number of objects in the batch, of all
    ranks that share it.

    ``sampling`` has one for each decoder layer, of all queries, where ``settings.look_inside``; else it is None.
    ``balance`` weighs the matched queries of every decoder layer, and observes them.
    """
    device = output.token_logits.device
    count = max(1, count_over_all(sum(len(target.boxes) for target in targets), device))
    losses = token_losses(output, targets)
    noisy = 0 if denoising is None else denoising.target.shape[1]
    for number, layer in enumerate(output.layers):
        within = None if sampling is None else replace(sampling[number], record=sampling[number].record.after(noisy))
        for name, value in set_losses(_part(layer, noisy, None), targets, count, settings, within, balance).items():
            losses[f"{name}_{number}"] = value
        if denoising is not None:
            clean = denoising_losses(_part(layer, 0, noisy), targets, denoising.target, settings)
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
        counted = ~inside(output.token_centres, target.ignored, IGNORED_MARGIN_PX)
        class_loss = class_loss + (quality_focal(logits, soft) * counted[:, None]).sum()
        total = total + soft.sum()
    losses = {"token_class": WEIGHTS["token"] * class_loss / over_all(total).clamp(min=1.0)}
    weight = torch.cat(weights) if weights else total.new_zeros(0)
    all_weights = over_all(weight.sum())
    if weights:
        target_boxes = torch.cat(wanted)
        # The proposals write the long side first, so their angle is compared with the canonical one: no seam at 45°.
        parts = box_losses(torch.cat(picked), target_boxes, target_boxes[:, 4])
        for name, value in parts.items():
            losses[f"token_{name}"] = WEIGHTS[name] * (value * weight).sum() / all_weights
    return losses


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """The P queries of B chips that were given an object, and which."""

    rows: Tensor
    """(P,) chip."""
    queries: Tensor
    """(P,) query of that chip."""
    boxes: Tensor
    """(P, 5) of the objects."""
    class_ids: Tensor
    """(P,)"""


def match_all(layer: LayerOutput, targets: Sequence[Target]) -> Matches:
    """The cheapest assignment, chip by chip."""
    parts = []
    for row, target in enumerate(targets):
        if len(target.boxes):
            queries, objects = match(layer.logits[row], layer.boxes[row], target.boxes, target.class_ids)
            parts.append((torch.full_like(queries, row), queries, target.boxes[objects], target.class_ids[objects]))
    if parts:
        return Matches(*(torch.cat(one) for one in zip(*parts, strict=True)))
    none = torch.zeros(0, dtype=torch.int64, device=layer.boxes.device)
    return Matches(none, none, layer.boxes.new_zeros(0, 5), none)


def set_losses(
    layer: LayerOutput, targets: Sequence[Target], count: int, settings: RTDETRLosses = PLAIN,
    sampling: LayerSampling | None = None, balance: DynamicBalance | None = None,
) -> Losses:  # fmt: skip
    """One-to-one supervision of a decoder layer. With ``balance`` its answers must have gradients."""
    matches = match_all(layer, targets)
    at = (matches.rows, matches.queries)
    found, confidence = layer.boxes[at], target_confidence(layer.boxes[at], matches.boxes, settings)
    weights = None
    losses: Losses = {}
    if sampling is not None and len(found):
        if settings.sample_refinement:
            losses |= refinement_losses(sampling, at, count, settings)
        if sampling.generator is not None:
            score = layer.logits[(*at, matches.class_ids)].sigmoid()
            features = sampling.record.class_features[at], sampling.record.box_features[at]
            weights = sample_weights(sampling.generator, features, score, confidence)
            losses["difficulty"] = weights.difficulty_error.mean()
    share = torch.ones_like(found[:, 0]) if balance is None else balance.weights(matches.boxes)
    counted = torch.ones_like(layer.logits)
    for row, target in enumerate(targets):
        ignored = inside(layer.boxes[row, :, :2].detach(), target.ignored, IGNORED_MARGIN_PX)
        counted[row] = (~ignored)[:, None].to(counted)
    counted[at] = share[:, None].to(counted)
    of_class = None if weights is None else weights.of_class
    loss = class_loss(layer.logits, (*at, matches.class_ids), confidence, settings, of_class)
    losses["class"] = WEIGHTS["class"] * (loss * counted).sum() / count
    if len(found):
        for name, value in box_losses(found, matches.boxes, layer.reference[(*at, 4)]).items():
            of_box = share if weights is None else share * weights.of_box
            losses[name] = WEIGHTS[name] * (value * of_box).sum() / count
    if balance is not None and len(found):
        sizes = gradient_sizes(torch.stack(list(losses.values())).sum(), layer.logits, layer.boxes)
        balance.observe(matches.boxes, sizes[at] / share)
    return losses


def target_confidence(found: Tensor, wanted: Tensor, settings: RTDETRLosses) -> Tensor:
    """(P, 5) boxes found for (P, 5) objects → (P,) the score each is to have, without gradient."""
    overlap = rotated_overlap(found.detach(), wanted)
    if not settings.scale_aligned:
        return overlap
    return scale_aligned(overlap, area_ratio(found.detach(), wanted), settings.beta, settings.theta)


def class_loss(
    logits: Tensor, at: tuple[Tensor, ...], confidence: Tensor, settings: RTDETRLosses, weights: Tensor | None = None
) -> Tensor:
    """(B, N, classes) loss of ``logits`` that are to be ``confidence`` (P,) at the indices ``at``, nothing elsewhere.

    ``weights`` (P,) of what was found; None: by its confidence, as in Varifocal Loss.
    """
    quality, positive = torch.zeros_like(logits), torch.zeros_like(logits, dtype=torch.bool)
    positive[at] = True
    quality[at] = confidence.to(quality.dtype)
    emphasis = None
    if weights is not None:
        emphasis = torch.zeros_like(logits)
        emphasis[at] = weights.to(logits.dtype)
    return varifocal(logits, quality, positive, *settings.negatives, emphasis=emphasis)


def refinement_losses(sampling: LayerSampling, at: tuple[Tensor, Tensor], count: int, settings: RTDETRLosses) -> Losses:
    """Where the matched queries ``at`` (chip, query) sampled, and how much that weighed."""
    offsets, weights = sampling.record.offsets[at].float(), sampling.record.weights[at].float()
    return {
        "offset": settings.offset_weight * offset_loss(offsets, sampling.eta).sum() / count,
        "attention": settings.attention_weight * attention_loss(weights, offsets).sum() / count,
    }


def denoising_losses(
    layer: LayerOutput, targets: Sequence[Target], index: Tensor, settings: RTDETRLosses = PLAIN
) -> Losses:
    """Good queries become their object, bad ones nothing; ``index`` as in :class:`Denoising`.

    Their scores are learnt as those of matched queries are, since one head gives both.
    """
    rows, queries = torch.nonzero(index >= 0, as_tuple=True)
    starts = torch.tensor([0, *(len(target.boxes) for target in targets)], device=index.device).cumsum(0)
    objects = starts[rows] + index[rows, queries]
    wanted = torch.cat([target.boxes for target in targets])[objects]
    classes = torch.cat([target.class_ids for target in targets])[objects]
    found = layer.boxes[rows, queries]
    confidence = target_confidence(found, wanted, settings)
    loss = class_loss(layer.logits, (rows, queries, classes), confidence, settings) * (index > -2)[..., None]
    parts = box_losses(found, wanted, layer.reference[rows, queries, 4])
    count = max(1, count_over_all(len(rows), index.device))
    losses = {name: WEIGHTS[name] * value.sum() / count for name, value in parts.items()}
    losses["class"] = WEIGHTS["class"] * loss.sum() / count
    return losses
