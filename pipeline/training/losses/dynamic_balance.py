"""Sizes of objects that teach alike, after the DCLoss of E-FPN-BS (Liu and Cui, arXiv 2506.09897, 2025).

The paper's idea: a loss that brings the gradients of objects of different scale into balance while training goes on.
Its text gives no formula or number. Ours, therefore: objects fall into four bins by the root of their area. Of the
answers that were matched to objects of bin b in one step, g_b is the mean size of their gradients, as a multiple of the
mean over the bins that the step holds; an exponential moving average of it is remembered from step to step. An answer
matched to an object of bin b then weighs

    w_b = clip((ḡ / g_b)^κ, 0.5, 2),    brought to Σ n_b w_b = Σ n_b over the answers at hand:

the balance moves loss between sizes and never changes how much there is of it. κ = 0.5 corrects half of a difference
(in logarithms). A decoder whose layers are matched one by one is observed once a layer. It knows nothing of heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BIN_LIMITS_PX = (8.0, 16.0, 32.0)
"""Roots of areas that part the bins, pixels: a limit belongs to the larger objects."""
DECAY = 0.99
EXPONENT = 0.5
LOWEST, HIGHEST = 0.5, 2.0
"""Of a weight, before the weights are brought to a mean of 1."""


class DynamicBalance(nn.Module):
    """What is remembered of the gradients of each size, and the weights that follow. A module for its state's sake: it
    has no parameter and no forward; the one buffer goes into checkpoints and comes back as it was.
    """

    shares: Tensor
    """(4,) float64 g_b. A bin that was never seen stays neutral, at 1."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shares", torch.ones(len(BIN_LIMITS_PX) + 1, dtype=torch.float64))

    def weights(self, boxes: Tensor) -> Tensor:
        """(N,) weights, of mean 1, of answers that were matched to objects of (N, 5) ``boxes``."""
        if len(boxes) == 0:
            return boxes.new_zeros(0)
        shares = self.shares.cpu()
        of_bin = (shares.mean() / shares).pow(EXPONENT).clamp(LOWEST, HIGHEST)
        weights = of_bin[bins(boxes)]
        return (weights / weights.mean()).to(boxes)

    def observe(self, boxes: Tensor, gradients: Tensor) -> None:
        """Remember (N,) sizes of the ``gradients`` of answers that were matched to objects of (N, 5) ``boxes``.

        A step in which none of them is a finite positive number teaches nothing.
        """
        index, size = bins(boxes), gradients.detach().double().cpu()
        count = torch.bincount(index, minlength=len(self.shares))
        mean = torch.bincount(index, size, minlength=len(self.shares)) / count.clamp(min=1)
        seen = count > 0
        overall = mean[seen].mean()
        if overall > 0 and overall.isfinite():
            shares = self.shares.cpu()
            moved = DECAY * shares + (1 - DECAY) * mean / overall
            self.shares.copy_(torch.where(seen, moved, shares))


def bins(boxes: Tensor) -> Tensor:
    """(N, 5) boxes → (N,) int64 number of their bin, on the CPU."""
    side = (boxes[:, 2] * boxes[:, 3]).detach().double().cpu().sqrt()
    return torch.bucketize(side, torch.tensor(BIN_LIMITS_PX, dtype=torch.float64), right=True)


def gradient_sizes(loss: Tensor, logits: Tensor, boxes: Tensor) -> Tensor:
    """(...,) size of the gradient of a scalar ``loss`` by each answer's (..., C) ``logits`` and (..., 5) ``boxes``.

    The sum of the absolute values; centre and sides in units of the root of the answer's own area, the angle in
    radians: in pixels whatever is small would have large gradients. The graph is kept.
    """
    by_logit, by_box = torch.autograd.grad(loss, (logits, boxes), retain_graph=True, materialize_grads=True)
    unit = (boxes[..., 2] * boxes[..., 3]).detach().clamp(min=0).sqrt()
    return by_logit.abs().sum(-1) + by_box[..., :4].abs().sum(-1) * unit + by_box[..., 4].abs()
