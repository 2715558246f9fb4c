"""Deformable attention whose sampling points turn with the box they belong to."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.detectors.cross_attention import Decoder, Samples, level_sizes, sampled, with_positions

OFFSET_SCALE = 0.5
"""Of the offsets' layer, in units of the box's sides: RT-DETRv2's."""


class RotatedDeformableAttention(nn.Module):
    """Multi-scale deformable attention (arXiv 2010.04159) whose sampling offsets are turned and scaled with the
    reference box. Names of weights are the transformers library's."""

    n_points_scale: Tensor

    def __init__(self, width: int, heads: int, levels: int, points: int) -> None:
        """``points`` of every head on each level."""
        super().__init__()
        self.n_heads, self.n_levels, self.n_points = heads, levels, points
        self.sampling_offsets = nn.Linear(width, heads * levels * points * 2)
        self.attention_weights = nn.Linear(width, heads * levels * points)
        self.value_proj, self.output_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.register_buffer("n_points_scale", torch.full((levels * points,), 1 / points))

    def box_offsets(self, queries: Tensor) -> Tensor:
        """(B, N, width) queries → (B, N, heads, levels · points, 2) from the reference box's centre, along its axes, in
        units of its sides: ±0.5 is on its edge."""
        batch, count, _ = queries.shape
        offsets = self.sampling_offsets(queries).view(batch, count, self.n_heads, -1, 2)
        local: Tensor = offsets * self.n_points_scale.to(queries.dtype)[:, None] * OFFSET_SCALE
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
        """(B, N, width) queries and their positions, (B, T, width) tokens of levels of these shapes, (B, N, 2, 3)
        reference frames → what was seen (B, N, width), and the weights (B, N, heads, levels · points)."""
        queries = hidden_states + position_embeddings
        batch, count = queries.shape[:2]
        value = self.value_proj(encoder_hidden_states)
        locations = self.sampling_locations(queries, reference_points)
        weights = self.attention_weights(queries).view(batch, count, self.n_heads, -1).softmax(-1)
        taken = self._taken(value.to(locations.dtype), locations, spatial_shapes_list)
        by_head = weights.transpose(1, 2).reshape(batch * self.n_heads, 1, count, -1)
        mixed = (taken * by_head).sum(-1).view(batch, -1, count).transpose(1, 2).contiguous()
        return self.output_proj(mixed), weights

    def _taken(self, value: Tensor, locations: Tensor, shapes: list[tuple[int, int]]) -> Tensor:
        """What lies at the locations: (B · heads, width / heads, N, levels · points), bilinear, 0 outside."""
        batch, tokens, width = value.shape
        by_head = value.view(batch, tokens, self.n_heads, width // self.n_heads).permute(0, 2, 3, 1).flatten(0, 1)
        planes = torch.split(by_head, [rows * columns for rows, columns in shapes], -1)
        grids = torch.split((2 * locations - 1).transpose(1, 2).flatten(0, 1), self.n_points, -2)
        return torch.cat(
            [
                functional.grid_sample(plane.reshape(*plane.shape[:2], rows, columns), grid, align_corners=False)
                for plane, grid, (rows, columns) in zip(planes, grids, shapes, strict=True)
            ],
            -1,
        )


def decoder_of(network: nn.Module) -> Decoder:
    """The cross-attention of an oriented RT-DETR's decoder, for the probe."""
    layers = [module for module in network.modules() if isinstance(module, RotatedDeformableAttention)]
    return Decoder(layers=layers, read=samples_of)


def samples_of(module: RotatedDeformableAttention, inputs: dict[str, Any], output: tuple[Tensor, Tensor]) -> Samples:
    """What one rotated attention read: its own locations, and the weights it answered."""
    locations = module.sampling_locations(with_positions(inputs), inputs["reference_points"])
    points = [module.n_points] * module.n_levels
    return sampled(locations, output[1], points, level_sizes(inputs), nearest=False)


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
