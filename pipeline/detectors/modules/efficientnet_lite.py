"""EfficientNet-Lite0 (tensorflow/tpu, ``efficientnet_lite_builder.py``): a backbone for which ImageNet weights exist.

Of the network for classification, what stands before the head: the stem and seven stages of inverted bottlenecks,
without squeeze-and-excitation, with ReLU6. Convolutions pad as TensorFlow's SAME does, which at stride 2 is one pixel
less above and to the left than below and to the right.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

STEM_CHANNELS = 32
NORM_EPSILON = 1e-3
PIXEL_MEAN, PIXEL_STD = 127 / 255, 128 / 255
"""Of pixels / 255: the weights expect (x - 127) / 128 of x in 0 … 255."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Blocks of one width."""

    blocks: int
    kernel: int
    stride: int
    """Of its first block."""
    expansion: int
    channels: int
    feature: bool = False
    """Whether its output is one of the backbone's maps: the last of its stride."""


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24, feature=True),
    Stage(2, 5, 2, 6, 40, feature=True),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112, feature=True),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320, feature=True),
)
FEATURE_CHANNELS = tuple(stage.channels for stage in STAGES if stage.feature)
"""Of the maps of stride 4, 8, 16 and 32."""


class ConvNorm(nn.Module):
    """Convolution, batch normalisation, and ReLU6 where ``active``."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, active: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=NORM_EPSILON)
        self.active = active
        total = kernel - stride if kernel > 1 else 0  # for sides that the stride divides; chips' sides are such
        self.padding = (total // 2, total - total // 2) * 2

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H / stride, W / stride); H and W are multiples of the stride."""
        before, after = self.padding[:2]
        if before == after:  # padding inside the convolution saves a copy
            conv = self.conv
            found = functional.conv2d(features, conv.weight, conv.bias, conv.stride, before, 1, conv.groups)
        else:
            found = self.conv(functional.pad(features, self.padding))
        found = self.norm(found)
        return functional.relu6(found) if self.active else found


class InvertedBottleneck(nn.Module):
    """Widen by 1 × 1, filter each channel, narrow by 1 × 1; added to its input where the shapes agree."""

    def __init__(self, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        wide = inputs * stage.expansion
        self.expand = ConvNorm(inputs, wide, 1) if stage.expansion != 1 else nn.Identity()
        self.depthwise = ConvNorm(wide, wide, stage.kernel, stride, groups=wide)
        self.project = ConvNorm(wide, stage.channels, 1, active=False)
        self.residual = stride == 1 and inputs == stage.channels

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, channels, H / stride, W / stride)."""
        found: Tensor = self.project(self.depthwise(self.expand(features)))
        return features + found if self.residual else found


class EfficientNetLite(nn.Module):
    """(B, bands, H, W) normalised chips → maps of stride 4, 8, 16 and 32 with :data:`FEATURE_CHANNELS` channels."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.stem = ConvNorm(bands, STEM_CHANNELS, 3, 2)
        self.stages = nn.ModuleList()
        self.frozen_statistics = False
        """While fine-tuning from ImageNet: batches of a few tiles would spoil the running statistics. The state of a
        training, not of the network: no file holds it."""
        inputs = STEM_CHANNELS
        for stage in STAGES:
            blocks = nn.Sequential()
            for number in range(stage.blocks):
                blocks.append(InvertedBottleneck(inputs, stage, stage.stride if number == 0 else 1))
                inputs = stage.channels
            self.stages.append(blocks)

    def train(self, mode: bool = True) -> EfficientNetLite:
        """As every module, but normalisation with frozen statistics stays as in inference."""
        super().train(mode)
        if self.frozen_statistics:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """See the class."""
        maps, features = [], self.stem(pixels)
        for stage, blocks in zip(STAGES, self.stages, strict=True):
            features = blocks(features)
            if stage.feature:
                maps.append(features)
        return maps
