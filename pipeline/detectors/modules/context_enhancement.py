"""Context for the finest levels, after the CEM of E-FPN-BS (Liu and Cui, arXiv 2506.09897, 2025).

The paper's idea: with tiny objects the coarsest levels of a pyramid are assigned none, so what they know of the scene
is lost to the loss; compressed, aligned and joined from a local and a global branch it should serve the finest levels,
where the objects are. Its text gives no formula, layer or number. Ours, therefore, is everything below: with the
coarsest levels P_h and a finest level F,

* local: each P_h is compressed to a quarter of its channels (1 × 1, normalised), enlarged to F's size (bilinear), and
  what is joined is aligned by a 3 × 3 convolution within channels and a 1 × 1 one across them;
* global: the means of the P_h over the chip, through one linear layer and a sigmoid, are a gate g per channel;
* F' = F + γ (g · local), with one γ a level that starts at 0: a fresh module is the identity, and γ's own gradient is
  not zero, so the rest learns from the second step on.

The gate is a mean over everything the network is shown: unlike a convolution it hears of the padding of a small chip.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

HIGH_LEVELS = 2
"""Coarsest levels that give: strides 16 and 32 of 4, 8, 16, 32."""
LOW_LEVELS = 2
"""Finest levels that take, of those that do not give: strides 4 and 8."""
COMPRESSION = 4


class ContextEnhancement(nn.Module):
    """Maps of a pyramid, finest first → the same, the finest :data:`LOW_LEVELS` with context of the coarsest."""

    def __init__(self, width: int, levels: int) -> None:
        """``width``: channels of every level; ``levels``: more than HIGH_LEVELS, or none is left to take."""
        super().__init__()
        low, narrow = min(LOW_LEVELS, levels - HIGH_LEVELS), max(1, width // COMPRESSION)
        self.compress = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, narrow, 1, bias=False), nn.BatchNorm2d(narrow), nn.ReLU())
            for _ in range(HIGH_LEVELS)
        )
        joined = HIGH_LEVELS * narrow
        self.align = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(joined, joined, 3, padding=1, groups=joined, bias=False), nn.BatchNorm2d(joined), nn.ReLU(),
                nn.Conv2d(joined, width, 1),
            )
            for _ in range(low)
        )  # fmt: skip
        self.gate = nn.ModuleList(nn.Linear(HIGH_LEVELS * width, width) for _ in range(low))
        self.strength = nn.Parameter(torch.zeros(low))
        """γ of every level that takes."""

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """(B, width, rows, columns) maps, finest first → maps of the same shapes."""
        high, enhanced = levels[-HIGH_LEVELS:], list(levels)
        narrow = [compress(feature) for compress, feature in zip(self.compress, high, strict=True)]
        means = torch.cat([feature.mean((2, 3)) for feature in high], 1)
        for number, (align, gate) in enumerate(zip(self.align, self.gate, strict=True)):
            feature = levels[number]
            near = [functional.interpolate(one, size=feature.shape[2:], mode="bilinear") for one in narrow]
            local = align(torch.cat(near, 1))
            share = gate(means).sigmoid()[:, :, None, None]
            enhanced[number] = feature + self.strength[number] * (share * local)
        return enhanced
