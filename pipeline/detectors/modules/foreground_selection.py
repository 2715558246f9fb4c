"""A mask that amplifies the foreground, after the FBSM of E-FPN-BS (Liu and Cui, arXiv 2506.09897, 2025).

The paper's idea: a spatial mask, learnt from where the objects are, amplifies what tells them apart. Its text gives no
formula, layer or number. Ours, therefore: on each of the finest levels F

    M = σ(conv 1 × 1 (ReLU(conv 3 × 3 (F)))),    F' = F · (1 + M),

so that nothing is ever put out, however wrong the mask is. The hidden layer has a quarter of F's channels. The mask
starts at :data:`PRIOR` everywhere. What it should become is said by ``training/losses/foreground.py``; without that
loss it is attention like any other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

MASKED_LEVELS = 2
"""Finest levels that have a mask: strides 4 and 8."""
PRIOR = 0.01
"""What a fresh mask is everywhere: the share of foreground to begin with."""
COMPRESSION = 4


class ForegroundSelection(nn.Module):
    """Maps of a pyramid, finest first → the same, the finest :data:`MASKED_LEVELS` amplified, and their masks."""

    def __init__(self, width: int, levels: int) -> None:
        """``width``: channels of every level."""
        super().__init__()
        narrow = max(1, width // COMPRESSION)
        self.masks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, narrow, 3, padding=1), nn.ReLU(), nn.Conv2d(narrow, 1, 1))
            for _ in range(min(MASKED_LEVELS, levels))
        )
        self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """Every mask is :data:`PRIOR`, whatever it is shown: its last layer starts with its bias alone."""
        for mask in self.masks:
            last = mask.get_submodule("2")
            nn.init.zeros_(last.weight)  # type: ignore[arg-type]
            nn.init.constant_(last.bias, -math.log((1 - PRIOR) / PRIOR))  # type: ignore[arg-type]

    def forward(self, levels: Sequence[Tensor]) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        """(B, width, rows, columns) maps, finest first → maps of the same shapes, and (B, 1, rows, columns) logits of
        the masks of the finest."""
        amplified, logits = list(levels), []
        for number, mask in enumerate(self.masks):
            logits.append(mask(levels[number]))
            amplified[number] = levels[number] * (1 + logits[number].sigmoid())
        return amplified, tuple(logits)
