"""Deformable attention whose sampling points turn with the box they belong to."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.rt_detr_v2.modeling_rt_detr_v2 import (
    RTDetrV2MultiscaleDeformableAttention,
    multi_scale_deformable_attention_v2,
)

from pipeline.detectors.cross_attention import Decoder, Samples, level_sizes, sampled, with_positions


class RotatedDeformableAttention(RTDetrV2MultiscaleDeformableAttention):  # type: ignore[misc]
    """Multi-scale deformable attention whose sampling offsets are turned and scaled with the reference box."""

    def box_offsets(self, queries: Tensor) -> Tensor:
        """(B, N, width) queries → (B, N, heads, levels · points, 2) from the reference box's centre, along its axes, in
        units of its sides: ±0.5 is on its edge."""
        batch, count, _ = queries.shape
        offsets = self.sampling_offsets(queries).view(batch, count, self.n_heads, -1, 2)
        local: Tensor = offsets * self.n_points_scale.to(queries.dtype)[:, None] * self.offset_scale
        return local

    def sampling_locations(self, queries: Tensor, frames: Tensor) -> Tensor:
        """(B, N, width) queries and (B, N, 2, 3) reference frames → (B, N, heads, levels · points, 2) in [0, 1]."""
        local = self.box_offsets(queries)
        located: Tensor = (frames[:, :, None, None, :, :2] * local[..., None, :]).sum(-1) + frames[
            :, :, None, None, :, 2
        ]
        return located

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        position_embeddings: Tensor,
        reference_points: Tensor,
        spatial_shapes_list: list[tuple[int, int]],
        **_: Any,
    ) -> tuple[Tensor, Tensor]:
        """As in the library, with ``reference_points`` being (B, N, 2, 3) frames."""
        queries = hidden_states + position_embeddings
        batch, count, _width = queries.shape
        value = self.value_proj(encoder_hidden_states).view(batch, -1, self.n_heads, self.d_model // self.n_heads)
        locations = self.sampling_locations(queries, reference_points)
        weights = self.attention_weights(queries).view(batch, count, self.n_heads, -1).softmax(-1)
        mixed = multi_scale_deformable_attention_v2(
            value.to(locations.dtype), spatial_shapes_list, locations, weights, self.n_points_list, self.method
        )
        return self.output_proj(mixed), weights


def decoder_of(network: nn.Module) -> Decoder:
    """The cross-attention of an oriented RT-DETR's decoder, for the probe."""
    layers = [module for module in network.modules() if isinstance(module, RotatedDeformableAttention)]
    return Decoder(layers=layers, read=samples_of)


def samples_of(module: RotatedDeformableAttention, inputs: dict[str, Any], output: tuple[Tensor, Tensor]) -> Samples:
    """What one rotated attention read: its own locations, and the weights it answered."""
    locations = module.sampling_locations(with_positions(inputs), inputs["reference_points"])
    nearest = module.method == "discrete"
    return sampled(locations, output[1], module.n_points_list, level_sizes(inputs), nearest)


def spread_sampling_points(attention: RotatedDeformableAttention) -> None:
    """Heads look in different directions, points at growing distances, as Deformable DETR starts."""
    turn = torch.arange(attention.n_heads) * (2 * math.pi / attention.n_heads)
    directions = torch.stack([turn.cos(), turn.sin()], -1)
    directions = directions / directions.abs().amax(-1, keepdim=True)
    distances = torch.arange(1, attention.n_points + 1, dtype=torch.float32)
    spread = directions[:, None, None] * distances[:, None]
    nn.init.zeros_(attention.sampling_offsets.weight)
    attention.sampling_offsets.bias.copy_(spread.expand(-1, attention.n_levels, -1, -1).flatten())
    nn.init.zeros_(attention.attention_weights.weight)
