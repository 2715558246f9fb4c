"""The small residual backbone that learns from nothing: basic blocks, after the ResNet-D of RT-DETR (arXiv 2304.08069).

A stem of three convolutions, and shortcuts that average before they project. Written here and not taken from the
transformers library, whose import takes longer than everything else that a detector needs; names of weights are its.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class ConvNorm(nn.Module):
    """Convolution and batch normalisation, and ReLU where ``active``."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, *, active: bool = True
    ) -> None:  # fmt: skip
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.normalization = nn.BatchNorm2d(outputs)
        self.active = active

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H / stride, W / stride)."""
        found: Tensor = self.normalization(self.convolution(features))
        return functional.relu(found) if self.active else found


class BasicBlock(nn.Module):
    """Two 3 × 3 convolutions and what goes round them."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, first: bool) -> None:
        """``first`` of its stage: its shortcut projects."""
        super().__init__()
        self.shortcut: nn.Module = nn.Identity()
        if first and inputs == outputs:
            self.shortcut = ConvNorm(inputs, outputs, 1, stride, active=False)
        elif first:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(2, 2, ceil_mode=True), ConvNorm(inputs, outputs, 1, active=False)
            )  # fmt: skip
        self.layer = nn.Sequential(
            ConvNorm(inputs, outputs, stride=stride), ConvNorm(outputs, outputs, active=False)
        )  # fmt: skip

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H / stride, W / stride)."""
        found: Tensor = self.layer(features)
        found += self.shortcut(features)
        return functional.relu(found)


class Stage(nn.Module):
    """Blocks of one width."""

    def __init__(self, inputs: int, outputs: int, stride: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            BasicBlock(inputs, outputs, stride, first=True),
            *(BasicBlock(outputs, outputs, 1, first=False) for _ in range(depth - 1)),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H / stride, W / stride)."""
        found: Tensor = self.layers(features)
        return found


class Stem(nn.Module):
    """(B, bands, H, W) → (B, width, H / 4, W / 4)."""

    def __init__(self, bands: int, width: int) -> None:
        super().__init__()
        self.embedder = nn.Sequential(
            ConvNorm(bands, width // 2, stride=2), ConvNorm(width // 2, width // 2), ConvNorm(width // 2, width)
        )  # fmt: skip
        self.pooler = nn.MaxPool2d(3, 2, padding=1)

    def forward(self, pixels: Tensor) -> Tensor:
        """See the class."""
        pooled: Tensor = self.pooler(self.embedder(pixels))
        return pooled


class Stages(nn.Module):
    """Stages one after the other; all but the first halve what they are given."""

    def __init__(self, channels: tuple[int, ...], depths: tuple[int, ...]) -> None:
        super().__init__()
        before = (channels[0], *channels[:-1])
        self.stages = nn.ModuleList(
            Stage(inputs, outputs, 1 if number == 0 else 2, depth)
            for number, (inputs, outputs, depth) in enumerate(zip(before, channels, depths, strict=True))
        )

    def forward(self, features: Tensor) -> list[Tensor]:
        """(B, channels[0], H, W) → the map of every stage."""
        maps = []
        for stage in self.stages:
            features = stage(features)
            maps.append(features)
        return maps


class SmallResNet(nn.Module):
    """(B, bands, H, W) normalised chips → one (B, channels, H / stride, W / stride) map a stage, strides 4, 8, 16, …"""

    def __init__(self, bands: int, stage_channels: tuple[int, ...], stage_depths: tuple[int, ...]) -> None:
        super().__init__()
        self.embedder = Stem(bands, stage_channels[0])
        self.encoder = Stages(stage_channels, stage_depths)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """See the class."""
        maps: list[Tensor] = self.encoder(self.embedder(pixels))
        return maps
