"""Aligned point sampling (APS): points that both tasks like learn an object, whatever their level.

After MOD (Hao et al., "Toward Minimal Misalignment at Minimal Cost in One-Stage and Anchor-Free Object Detection",
arXiv 2112.08902), by what its code does. Every step is one function here. Ours are: boxes are turned, so that "inside"
and the overlap are of turned boxes; a box that no point lies in gets the nearest one; where a point is wanted by two
objects the smaller one has it.

The paper's text shares out both losses over the candidates by a soft-max before they are compared; its code works these
shares out and does not use them. Nor do we.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.training.losses.boxes import focal, generalised_overlap
from pipeline.training.losses.points import points_inside, smallest_owner

OWNERS_OF_A_POINT = 2
"""A point is a candidate of at most its two smallest boxes."""
POINTS_OF_A_LEVEL = 9
LEVELS_OF_AN_OBJECT = 2
SCORE_SCALE = 10.0
"""The mixture is fitted to this times S."""
FIRST_VARIANCE = 10.0
"""Of both components, where the fit begins: a precision of 0.1."""
LEAST_VARIANCE = 1e-6
MOST_ROUNDS, SMALLEST_GAIN = 100, 1e-3
"""The fit ends when a round gains less than this in mean log likelihood."""


@dataclass(frozen=True, slots=True, eq=False)
class Shortlist:
    """What the scale step leaves of each object's candidates; K places an object, not all of them taken."""

    points: Tensor
    """(M, K) int64."""
    taken: Tensor
    """(M, K) bool: whether there is a point in that place."""
    one_level: Tensor
    """(M,) bool: all of them are of one level, as the object has candidates on no other."""


@torch.no_grad()
def aligned_points(
    points: Tensor, strides: Tensor, logits: Tensor, predicted: Tensor, boxes: Tensor, class_ids: Tensor
) -> Tensor:
    """(P,) index of the object that each point learns, -1 for none.

    ``logits`` (P, C) and ``predicted`` (P, 5) are what the network says at ``points`` (P, 2), ``boxes`` (M, 5) and
    ``class_ids`` (M,) what is there.
    """
    candidates = smallest_owners(points_inside(points, strides, boxes), boxes)
    class_loss, box_loss = candidate_losses(candidates, logits.float(), predicted.float(), boxes, class_ids)
    short = best_levels(class_loss + box_loss, strides)
    objects = torch.arange(len(boxes), device=boxes.device)[:, None]
    score = misalignment(class_loss[short.points, objects], box_loss[short.points, objects], short.one_level)
    positive = below_the_cut(score, short.taken)
    fits = torch.zeros_like(candidates)
    fits[short.points[positive], objects.expand_as(positive)[positive]] = True
    return smallest_owner(fits, boxes)


def smallest_owners(inside: Tensor, boxes: Tensor) -> Tensor:
    """Step 1: (P, M) inside → (P, M) candidates. A point remembers its two smallest boxes, on every level."""
    area = torch.where(inside, boxes[:, 2] * boxes[:, 3], torch.inf)
    order = area.sort(dim=1, stable=True).indices[:, :OWNERS_OF_A_POINT]
    small = torch.zeros_like(inside).scatter_(1, order, True)
    return inside & small


def candidate_losses(
    candidates: Tensor, logits: Tensor, predicted: Tensor, boxes: Tensor, class_ids: Tensor
) -> tuple[Tensor, Tensor]:
    """Step 2: (P, M) each, infinite where there is no candidate: the focal loss summed over classes against the
    object's one, and 1 - GIoU of what the point predicts."""
    miss, hit = focal(logits, torch.zeros_like(logits)), focal(logits, torch.ones_like(logits))
    class_loss = miss.sum(1)[:, None] + (hit - miss)[:, class_ids]
    at, of = candidates.nonzero(as_tuple=True)
    box_loss = torch.full_like(class_loss, torch.inf)
    box_loss[at, of] = 1 - generalised_overlap(predicted[at], boxes[of])
    return torch.where(candidates, class_loss, torch.inf), box_loss


def best_levels(fitness: Tensor, strides: Tensor) -> Shortlist:
    """Step 3, scale: of each level an object's nine points of lowest loss; of the levels the two whose nine have the
    lowest mean. ``fitness`` (P, M), infinite for what is no candidate."""
    points, values = [], []
    for stride in sorted(set(strides.tolist())):
        (of_level,) = torch.nonzero(strides == stride, as_tuple=True)
        lowest = fitness[of_level].sort(dim=0, stable=True)
        points.append(_padded(of_level[lowest.indices[:POINTS_OF_A_LEVEL]], 0))
        values.append(_padded(lowest.values[:POINTS_OF_A_LEVEL], torch.inf))
    every, losses = torch.stack(points), torch.stack(values)  # (levels, 9, M)
    taken = losses.isfinite()
    mean = torch.where(taken, losses, 0).sum(1) / taken.sum(1)  # 0 / 0 where a level has none
    rank = mean.nan_to_num(torch.inf).sort(dim=0, stable=True).indices[:LEVELS_OF_AN_OBJECT]
    kept = rank[:, None].expand(-1, POINTS_OF_A_LEVEL, -1)
    return Shortlist(
        points=every.gather(0, kept).flatten(0, 1).T,
        taken=taken.gather(0, kept).flatten(0, 1).T,
        one_level=taken.any(1).sum(0) == 1,
    )


def misalignment(class_loss: Tensor, box_loss: Tensor, one_level: Tensor) -> Tensor:
    """Step 4, place: (M, K) S = sqrt(S_m · S_f), lower is better. S_f is the sum of both losses, S_m = σ(|their
    difference|), from 0.5 on. Of an object with candidates on one level only, S is S_f."""
    fitness = class_loss + box_loss
    aligned = ((class_loss - box_loss).abs().sigmoid() * fitness).sqrt()
    return torch.where(one_level[:, None], fitness, aligned)


def below_the_cut(score: Tensor, taken: Tensor) -> Tensor:
    """Step 5: (M, K) True for what learns the object: of two Gaussians fitted to 10 S, the members of the lower one up
    to its likeliest member (by the mixture, as in PAA, arXiv 2007.08103); the best candidate where it has none."""
    value = torch.where(taken, SCORE_SCALE * score, 0).double()
    parts, means = fitted_mixture(value, taken)
    low = means.argmin(1)[:, None, None].expand(-1, value.shape[1], 1)
    member = taken & (parts.gather(2, low)[..., 0] >= parts.amax(2))
    likelihood = torch.where(member, parts.logsumexp(2), -torch.inf)
    cut = value.gather(1, likelihood.argmax(1, keepdim=True))
    best = torch.where(taken, value, torch.inf).argmin(1, keepdim=True)
    alone = torch.zeros_like(taken).scatter_(1, best, True) & taken
    return torch.where(member.any(1, keepdim=True), member & (value <= cut), alone)


def fitted_mixture(value: Tensor, taken: Tensor) -> tuple[Tensor, Tensor]:
    """Two Gaussians to each row of (M, K) float64 values, those ``taken``: logarithms of weight · density (M, K, 2) and
    means (M, 2).

    Expectation maximisation from the lowest and the highest value, with weights of one half; no chance is in it, and a
    row that has converged stands still, so its answer does not depend on the other rows.
    """
    count = taken.sum(1, keepdim=True).clamp(min=1).double()
    lowest = torch.where(taken, value, torch.inf).amin(1).nan_to_num(posinf=0.0)
    highest = torch.where(taken, value, -torch.inf).amax(1).nan_to_num(neginf=0.0)
    means = torch.stack([lowest, highest], 1)
    variances, weights = torch.full_like(means, FIRST_VARIANCE), torch.full_like(means, 0.5)
    before = torch.full_like(count[:, 0], -torch.inf)
    moving = torch.ones_like(before, dtype=torch.bool)
    for _ in range(MOST_ROUNDS):
        parts = _log_parts(value, means, variances, weights)
        likelihood = parts.logsumexp(2)
        share = (parts - likelihood[..., None]).exp() * taken[..., None]
        mass = share.sum(1) + 10 * torch.finfo(value.dtype).eps
        centre = (share * value[..., None]).sum(1) / mass
        spread = (share * (value[..., None] - centre[:, None]).square()).sum(1) / mass + LEAST_VARIANCE
        step = moving[:, None]
        means, variances = torch.where(step, centre, means), torch.where(step, spread, variances)
        weights = torch.where(step, mass / count, weights)
        mean_likelihood = torch.where(taken, likelihood, 0).sum(1) / count[:, 0]
        moving = moving & ~((mean_likelihood - before).abs() < SMALLEST_GAIN)
        before = mean_likelihood
        if not bool(moving.any()):
            break
    return _log_parts(value, means, variances, weights), means


def _log_parts(value: Tensor, means: Tensor, variances: Tensor, weights: Tensor) -> Tensor:
    """(M, K, 2) log of weight · density of each component."""
    away = (value[..., None] - means[:, None]).square() / variances[:, None]
    return weights.log()[:, None] - 0.5 * (away + variances.log()[:, None] + math.log(2 * math.pi))


def _padded(rows: Tensor, filler: float) -> Tensor:
    """(n, M) → (9, M)."""
    missing = POINTS_OF_A_LEVEL - len(rows)
    return torch.cat([rows, rows.new_full((missing, rows.shape[1]), filler)]) if missing else rows
