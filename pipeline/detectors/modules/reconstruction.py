"""A picture made again from the finest features, and how far it is from the real one (SR-TOD, arXiv 2405.11276).

What a backbone loses, small things first, it cannot draw again: the difference map shows where that is. Head and map
are the paper's, read with its official code, the head scaled to the width of the pyramid. Ours: padding counts
nowhere, and a fresh head draws an even grey.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

FRESH_STD = 0.01
"""Of the last convolution's weights: the sigmoid starts in its middle, where it learns."""


@dataclass(frozen=True, slots=True, eq=False)
class Original:
    """The chips that reconstructions are held against."""

    pixels: Tensor
    """(B, bands, H, W) float32, 0 to 1."""
    shown: Tensor
    """(B, 1, H, W) bool: False in the padding."""

    @classmethod
    def of(
        cls, normalised: Tensor, mean: Sequence[float], std: Sequence[float],
        sizes: Sequence[tuple[int, int]] | None = None,
    ) -> Original:  # fmt: skip
        """Of what a network is shown, (B, bands, H, W) chips normalised by ``mean`` and ``std`` of pixels / 255.

        ``sizes`` are the chips' rows and columns, where they are padded to H x W below and to the right.
        """
        shown = torch.ones_like(normalised[:, :1], dtype=torch.bool)
        for row, (rows, columns) in zip(shown, sizes or (), strict=sizes is not None):
            row[:, rows:] = False
            row[:, :, columns:] = False
        scale, offset = (torch.tensor(values, device=normalised.device).view(1, -1, 1, 1) for values in (std, mean))
        return cls(normalised.float() * scale + offset, shown)


class Doubling(nn.Module):
    """(B, inputs, H, W) → (B, outputs, 2 H, 2 W): a transposed convolution, then two convolutions with ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.enlarge = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
        self.refine = nn.Sequential(
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.ReLU(),
        )  # fmt: skip

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        doubled: Tensor = self.refine(self.enlarge(features))
        return doubled


class ReconstructionHead(nn.Module):
    """(B, width, H / 4, W / 4) finest features → (B, bands, H, W) pictures, 0 to 1, float32.

    Channels are halved at each doubling (the paper's 256, 128, 64); the last convolution is 3 × 3 as in the official
    code, where the paper says 1 × 1.
    """

    def __init__(self, width: int, bands: int) -> None:
        super().__init__()
        half, quarter = max(1, width // 2), max(1, width // 4)
        self.doublings = nn.Sequential(Doubling(width, half), Doubling(half, quarter))
        self.picture = nn.Conv2d(quarter, bands, 3, padding=1)

    @torch.no_grad()
    def initialise(self) -> None:
        """What a network's own initialisation of convolutions does not know of."""
        for module in self.modules():
            if isinstance(module, nn.ConvTranspose2d):  # 2 × 2 of the 4 × 4 weights meet in each pixel
                nn.init.normal_(module.weight, std=(4 * module.in_channels) ** -0.5)
        nn.init.normal_(self.picture.weight, std=FRESH_STD)
        for name, bias in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(bias)

    def forward(self, finest: Tensor) -> Tensor:
        """See the class."""
        logits: Tensor = self.picture(self.doublings(finest))
        return logits.float().sigmoid()


def difference_map(reconstruction: Tensor, original: Original) -> Tensor:
    """(B, 1, H, W) D, the mean over the bands of \\|I_r - I_o\\|, 0 to 1; 0 in the padding."""
    difference = (reconstruction - original.pixels).abs().mean(1, keepdim=True)
    return torch.where(original.shown, difference, 0.0)
