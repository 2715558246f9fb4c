"""Difference-map-guided feature enhancement (DGFE of SR-TOD, arXiv 2405.11276).

The finest features are weighed by channel and doubled where the difference map is above a threshold. The paper calls
that threshold learnable. In its official code no gradient reaches it: the derivative of a sign is zero, so it stays
where it began. That form is here as :class:`OfficialFiltration`, beside :class:`LearnableFiltration` (ours), whose
answers are the same and whose threshold learns.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

REDUCTION = 16
"""Of the channels, in the middle of the gate."""
SOFTNESS = 0.5
"""Width of the sigmoid that the threshold learns by, in units of log D: 2/255 at a threshold of 4/255. By logarithms,
so that a gradient is left where D is several times the threshold, as it is everywhere in a fresh network. Ours."""
PACE = 10.0
"""How much faster log t moves than other weights: Adam moves each weight by about the learning rate a step, so log t
would need thousands of steps for what separates 4/255 from what a network draws wrong at first. Ours."""
LEAST = 1e-6
"""D below this, that of the padding, counts as this under the logarithm."""


class OfficialFiltration(nn.Module):
    """½ (sign(D - t) + 1): 0 or 1, and ½ where D is t exactly. No gradient reaches t."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(threshold))

    def forward(self, difference: Tensor) -> Tensor:
        """D of any shape → the same shape."""
        return (torch.sign(difference - self.threshold) + 1) * 0.5


class LearnableFiltration(nn.Module):
    """1 where D > t, else 0, with the gradient of σ((log D - log t) / SOFTNESS) for t and none for D.

    What learns is how far log t has moved from where it began: t stays positive, and a step changes it by a share of
    itself, whatever its size.
    """

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.beginning = math.log(threshold)
        self.shift = nn.Parameter(torch.tensor(0.0))

    @property
    def log_threshold(self) -> Tensor:
        """log t, a scalar."""
        return self.beginning + PACE * self.shift

    def forward(self, difference: Tensor) -> Tensor:
        """D of any shape → the same shape."""
        difference = difference.detach()
        soft = ((difference.clamp(min=LEAST).log() - self.log_threshold) / SOFTNESS).sigmoid()
        return (difference > self.log_threshold.exp()).to(soft.dtype) + (soft - soft.detach())


class ChannelGate(nn.Module):
    """(B, width, H, W) → (B, width, 1, 1) in 0 to 1: σ(MLP(mean) + MLP(maximum)) over the pixels, one MLP for both.

    Ours: over the pixels that are shown, so that a chip is weighed alike whatever it is padded to.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        narrow = max(1, width // REDUCTION)
        self.weigh = nn.Sequential(nn.Linear(width, narrow), nn.ReLU(), nn.Linear(narrow, width))

    def forward(self, features: Tensor, shown: Tensor) -> Tensor:
        """See the class; ``shown`` (B, 1, H, W) bool is False in the padding."""
        share = shown.float().mean((2, 3))
        mean = (features.masked_fill(~shown, 0).mean((2, 3)) / share).to(features.dtype)
        gate: Tensor = self.weigh(mean) + self.weigh(features.masked_fill(~shown, -torch.inf).amax((2, 3)))
        return gate.sigmoid()[:, :, None, None]


class DifferenceEnhancement(nn.Module):
    """Finest features (B, width, h, w), their difference map (B, 1, H, W) and where it is of a chip, not of the padding
    (B, 1, H, W bool) → enhanced features of the same shape.

    Gate ⊗ (M + 1) ⊗ features, M being the filtered map at the features' size: of each cell the first pixel counts
    (the paper's nearest). So every feature is weighed by its channel, and counts once or twice.
    """

    def __init__(self, width: int, threshold: float, *, learnable: bool) -> None:
        super().__init__()
        self.filtration = LearnableFiltration(threshold) if learnable else OfficialFiltration(threshold)
        self.gate = ChannelGate(width)

    def forward(self, features: Tensor, difference: Tensor, shown: Tensor) -> Tensor:
        """See the class."""
        # Filtering knows no neighbours: of the pixels that are left out nothing need be known.
        difference = functional.interpolate(difference, features.shape[-2:], mode="nearest")
        there = functional.interpolate(shown.to(difference.dtype), features.shape[-2:], mode="nearest") > 0
        mask: Tensor = self.filtration(difference) + 1
        enhanced: Tensor = self.gate(features, there) * features * mask.to(features.dtype)
        return enhanced
