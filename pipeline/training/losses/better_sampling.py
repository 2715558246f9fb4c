"""Better Sampling (arXiv 2407.06127) for rotated boxes: sample-point refinement, scale-aligned targets, re-weighting.

Equation numbers are the paper's. Where a formula cannot be taken as printed, the docstring says what is ours and why.
There is no official code. P is the number of matched queries: denoising queries are never among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.detectors.oriented_rtdetr.decoder_record import LayerRecord

SMALLEST_WEIGHT, LARGEST_WEIGHT = 0.5, 2.0
"""Of a found object, in units of the mean of all (ours)."""


def expansions(eta: Sequence[float], layers: int) -> tuple[float, ...]:
    """The η of each of ``layers`` decoder layers.

    The paper's six belong to six layers. Ours: they are values at even steps from the first layer to the last, and
    another number of layers reads between them on straight lines: (1.5, 1.15, 1.0) for three. A sole layer is a first.
    """
    steps = np.linspace(0, len(eta) - 1, layers)
    return tuple(np.interp(steps, np.arange(len(eta)), eta).tolist())


def offset_loss(offsets: Tensor, eta: float) -> Tensor:
    """(P, heads, levels, points, 2) offsets in half sides of the reference box → (P,): SPR's loss on points outside.

    ``[(|q_x| - η)₊ + (|q_y| - η)₊]²``, mean over heads, levels and points. After eq. 5, which as printed asks every
    point outside for the one place ``η · (w, h)``: it draws points on the left and above across the object, takes whole
    for half extents, and pushes points between box and η-box outwards. Ours keeps what the text wants: nothing inside
    the η-box, and beyond it inwards, by the square of the L1 distance; in half sides, so that large objects do not
    drown small ones, and a mean, so that one stray point does not drown the rest.
    """
    return (offsets.abs() - eta).relu().sum(-1).square().mean((1, 2, 3))


def attention_loss(weights: Tensor, offsets: Tensor) -> Tensor:
    """(P, heads, levels, points) attention and its offsets as in :func:`offset_loss` → (P,): eq. 6.

    How far each point outside the box outweighs the best point inside it, of the same head and level; summed over
    levels and points. Ours: the mean over the heads; no gradient to the best point (it is not to be raised, others are
    to be lowered); nothing where a head has no point inside on a level, for which eq. 6 is undefined.
    """
    outside = offsets.detach().abs().amax(-1) > 1
    best_inside = weights.detach().masked_fill(outside, 0).amax(-1, keepdim=True)
    uncounted = ~outside | outside.all(-1, keepdim=True)
    return (weights - best_inside).relu().masked_fill(uncounted, 0).sum((2, 3)).mean(1)


def area_ratio(found: Tensor, wanted: Tensor) -> Tensor:
    """(P, 5), (P, 5) boxes → (P,) ρ, area found over true area (eqs. 8, 10)."""
    return found[:, 2] * found[:, 3] / (wanted[:, 2] * wanted[:, 3]).clamp(min=1e-6)


def scale_aligned(overlap: Tensor, ratio: Tensor, beta: float, theta: float) -> Tensor:
    """(P,) IoU u and ratio of areas ρ → (P,) ``u^β · v^(1-β)`` with ``v = exp(-θ (√ρ - 1)²)`` (eqs. 12 to 14).

    Ours: eq. 15 multiplies this by the network's own score, and a target below the score draws every score to zero; the
    target is this product itself, at the object's class, without gradient. Note that v is not symmetric: a box of twice
    the area gets 0.357, one of half the area 0.598, although the text prefers the larger.
    """
    fit = (-theta * (ratio.sqrt() - 1).square()).exp()
    return overlap.pow(beta) * fit.pow(1 - beta)


class WeightGenerator(nn.Module):
    """SR's weight generator (eqs. 16 to 18, fig. 4): what the heads hold of a query → how hard it is for each of them.

    Its 1 x 1 convolutions over queries are linear layers of the shapes of fig. 4 (C x 2C, C x C, 1 x C); the second and
    third are each task's own, as we read the figure. Ours: layer for batch normalisation, which a handful of found
    objects does not bear, and before the third layer, since a single channel has nothing to normalise; no ReLU before
    the last sigmoid, which would keep every weight above 0.5.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.shared = nn.Sequential(nn.Linear(2 * width, width), nn.LayerNorm(width), nn.ReLU(), nn.Sigmoid())
        self.gates = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.outputs = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, 1)) for _ in range(2)
        )

    def forward(self, class_features: Tensor, box_features: Tensor) -> tuple[Tensor, Tensor]:
        """(P, width), (P, width) → (P,) w of the class and (P,) w of the box, in (0, 1)."""
        gate = self.shared(torch.cat([box_features, class_features], -1))
        made = [
            output(features * to_gate(gate)).sigmoid()[:, 0]
            for features, to_gate, output in zip((class_features, box_features), self.gates, self.outputs, strict=True)
        ]
        return made[0], made[1]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerSampling:
    """What the losses need of one decoder layer beside its answers."""

    record: LayerRecord
    eta: float
    """How far sampling points may lie, in half sides of the reference box."""
    generator: WeightGenerator | None = None
    """None: found objects weigh alike."""


@dataclass(frozen=True, slots=True, eq=False)
class SampleWeights:
    """What re-weighting makes of P found objects."""

    of_class: Tensor
    """(P,) mean 1, no gradient."""
    of_box: Tensor
    """(P,) mean 1, no gradient."""
    difficulty_error: Tensor
    """(P,) what the generator learns from."""


def sample_weights(
    generator: WeightGenerator, features: tuple[Tensor, Tensor], score: Tensor, target: Tensor
) -> SampleWeights:
    """SR: the weights r of eqs. 19 to 21 of found objects with (P,) scores s and target confidences t.

    ``features`` are (P, width) of the class and of the box. Ours is what the generator learns from. Left to the loss
    that it weighs, as printed, it finds the least loss: the smallest weights, and the smallest of all for the hardest
    objects. So the weights carry no gradient and have mean 1, and the generator learns by itself to tell the difficulty
    that they stand for: ``|t - s|`` of the class, ``1 - t`` of the box. It sees the features without gradient: the
    network learns from the same losses as without it, weighed otherwise.
    """
    score, target = score.detach(), target.detach()
    class_features, box_features = (one.detach().float() for one in features)
    of_class, of_box = generator(class_features, box_features)
    gap = (target - score).abs()
    error = (of_class - gap).square() + (of_box - (1 - target)).square()
    return SampleWeights(discounted(of_class, gap), discounted(of_box, gap), error)


@torch.no_grad()
def discounted(weight: Tensor, gap: Tensor) -> Tensor:
    """(P,) w and |t - s| → (P,) ``w^(1 - |t - s|)`` (eq. 19), brought to a mean of 1, without gradient.

    Ours is the mean, without which all weights together change the rate of learning, and that none is far from it: they
    are cut to SMALLEST_WEIGHT … LARGEST_WEIGHT, after which the mean is set right once more.
    """
    raw = weight.clamp(min=1e-6).pow(1 - gap)
    near = (raw / raw.mean()).clamp(SMALLEST_WEIGHT, LARGEST_WEIGHT)
    return near / near.mean()
