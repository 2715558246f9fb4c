"""The neck: a feature pyramid down and up again, as in RT-DETR (arXiv 2304.08069) without its attention on the coarsest
map, which would make what a cell answers depend on the whole chip.

Written here for the reason that :mod:`.resnet` is; names of weights are the transformers library's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

BLOCKS = 3
"""RepVGG blocks of a fusion."""
NARROWING = 2
"""Channels inside a fusion are so many times fewer."""


class ConvNorm(nn.Module):
    """Convolution and batch normalisation, and SiLU where ``active``."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, active: bool = True
    ) -> None:  # fmt: skip
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=(kernel - 1) // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.active = active

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H / stride, W / stride)."""
        found: Tensor = self.norm(self.conv(features))
        return functional.silu(found) if self.active else found


class RepVGGBlock(nn.Module):
    """A 3 × 3 and a 1 × 1 convolution side by side (RepVGG, arXiv 2101.03697)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(width, width, 3, active=False)
        self.conv2 = ConvNorm(width, width, 1, active=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, H, W) → the same shape."""
        return functional.silu(self.conv1(features) + self.conv2(features))


class Fusion(nn.Module):
    """Two maps, one after the other by channel, become one: half of the way through RepVGG blocks, half beside them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        narrow = int(width / NARROWING)
        self.conv1, self.conv2 = ConvNorm(2 * width, narrow), ConvNorm(2 * width, narrow)
        self.bottlenecks = nn.Sequential(*(RepVGGBlock(narrow) for _ in range(BLOCKS)))
        self.conv3: nn.Module = ConvNorm(narrow, width) if narrow != width else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """(B, 2 · width, H, W) → (B, width, H, W)."""
        found: Tensor = self.conv3(self.bottlenecks(self.conv1(features)) + self.conv2(features))
        return found


class Pyramid(nn.Module):
    """(B, width, H, W) maps of a backbone, finest first, each half as large as the one before → maps of the same
    shapes, each with what the others know."""

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        steps = range(levels - 1)
        self.lateral_convs = nn.ModuleList(ConvNorm(width, width) for _ in steps)
        self.fpn_blocks = nn.ModuleList(Fusion(width) for _ in steps)
        self.downsample_convs = nn.ModuleList(ConvNorm(width, width, 3, 2) for _ in steps)
        self.pan_blocks = nn.ModuleList(Fusion(width) for _ in steps)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """See the class."""
        coarser = [maps[-1]]
        """Coarsest first; each but the last already as the way up will see it."""
        for lateral, fuse, finer in zip(self.lateral_convs, self.fpn_blocks, reversed(maps[:-1]), strict=True):
            coarser[-1] = lateral(coarser[-1])
            doubled = functional.interpolate(coarser[-1], scale_factor=2.0, mode="nearest")
            coarser.append(fuse(torch.cat([doubled, finer], 1)))
        found = [coarser.pop()]
        for shrink, fuse in zip(self.downsample_convs, self.pan_blocks, strict=True):
            found.append(fuse(torch.cat([shrink(found[-1]), coarser.pop()], 1)))
        return found
