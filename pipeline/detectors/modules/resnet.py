"""The small residual backbone that learns from nothing: the transformers library's, with basic blocks."""

from __future__ import annotations

from torch import Tensor
from transformers import RTDetrResNetConfig
from transformers.models.rt_detr.modeling_rt_detr_resnet import RTDetrResNetBackbone


class SmallResNet(RTDetrResNetBackbone):  # type: ignore[misc]
    """(B, bands, H, W) normalised chips → one (B, channels, H / stride, W / stride) map a stage, strides 4, 8, 16, …"""

    def __init__(self, bands: int, stage_channels: tuple[int, ...], stage_depths: tuple[int, ...]) -> None:
        super().__init__(
            RTDetrResNetConfig(
                num_channels=bands, embedding_size=stage_channels[0], hidden_sizes=list(stage_channels),
                depths=list(stage_depths), layer_type="basic", out_indices=list(range(1, len(stage_channels) + 1)),
            )
        )  # fmt: skip

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """See the class."""
        return list(super().forward(pixels).feature_maps)
