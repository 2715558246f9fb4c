"""What the cross-attention of a decoder layer looked at, from what goes in and out of its module.

* Deformable attention (RT-DETR, RT-DETRv2, D-FINE, Deformable DETR, our oriented model) hands out its weights but
  keeps its sampling locations to itself: the module's own layer gives the offsets once more.
* Dense attention (DETR, Conditional DETR) is fused and hands out nothing: softmax(QKᵀ) once more from the module's own
  projections, with its padding mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# By name, so that one family's detector does not import the others' code.
_ROTATED = {"RotatedDeformableAttention"}
DEFORMABLE = _ROTATED | {
    "RTDetrMultiscaleDeformableAttention",
    "RTDetrV2MultiscaleDeformableAttention",
    "DFineMultiscaleDeformableAttention",
    "DeformableDetrMultiscaleDeformableAttention",
}
DENSE = {"DetrCrossAttention", "ConditionalDetrDecoderCrossAttention"}


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Where one decoder layer sampled the feature levels: S samples (all heads and points) of Q queries of B chips."""

    locations: Tensor
    """(B, Q, S, 2) x, y in units of the network's input; anything outside [0, 1] is read as zero."""
    weights: Tensor
    """(B, Q, S) sum to 1 over S: mean over the heads."""
    levels: Tensor
    """(S,) level of each sample."""
    sizes: tuple[tuple[int, int], ...]
    """Rows and columns of each level."""
    nearest: bool = False
    """Samples read the one cell they fall in, kept inside (the library's ``discrete`` method), not four."""


def samples_of(module: Any, inputs: dict[str, Any], weights: Tensor) -> Samples:
    """What one deformable attention read, from its inputs and the weights it answered."""
    queries = inputs["hidden_states"]
    if inputs.get("position_embeddings") is not None:
        queries = queries + inputs["position_embeddings"]
    sizes = tuple((int(rows), int(columns)) for rows, columns in inputs["spatial_shapes_list"])
    points = _points(module)
    levels = torch.arange(len(points), device=queries.device).repeat_interleave(
        torch.tensor(points, device=queries.device)
    )
    if type(module).__name__ in _ROTATED:
        locations = module.sampling_locations(queries, inputs["reference_points"])
    else:
        locations = _axis_aligned_locations(module, queries, inputs["reference_points"], levels, sizes)
    batch, count = queries.shape[:2]
    return Samples(
        locations.reshape(batch, count, -1, 2),
        weights.reshape(batch, count, -1) / module.n_heads,
        levels.repeat(module.n_heads),
        sizes,
        nearest=getattr(module, "method", getattr(module, "decoder_method", "default")) == "discrete",
    )


def _points(module: Any) -> list[int]:
    """Sampling points of a head on each level."""
    for name in ("n_points_list", "num_points_list"):
        if hasattr(module, name):
            return list(getattr(module, name))
    return [module.n_points] * module.n_levels


def _axis_aligned_locations(
    module: Any, queries: Tensor, reference: Tensor, levels: Tensor, sizes: tuple[tuple[int, int], ...]
) -> Tensor:
    """(B, Q, heads, points of all levels, 2) from reference points or boxes (B, Q, levels or 1, 2 or 4).

    Offsets are in cells from a point, or in halves of its sides (shared among the points of a level) from a box.
    """
    offsets = module.sampling_offsets(queries).reshape(*queries.shape[:2], module.n_heads, -1, 2)
    reference = reference.expand(-1, -1, len(sizes), -1)[:, :, levels][:, :, None]
    if reference.shape[-1] == 2:
        cells = torch.tensor(sizes, device=levels.device).flip(-1)[levels]
        near: Tensor = reference + offsets / cells
        return near
    points = torch.tensor(_points(module), device=levels.device)[levels, None]
    located: Tensor = reference[..., :2] + offsets / points * reference[..., 2:] * getattr(module, "offset_scale", 0.5)
    return located


def dense_weights(module: Any, inputs: dict[str, Any]) -> Tensor:
    """(B, Q, cells): softmax(QKᵀ) of one dense cross-attention, mean over its heads."""
    queries, keys = (_detr_projections if hasattr(module, "q_proj") else _conditional_projections)(module, inputs)
    scores = queries @ keys.transpose(-1, -2) * module.scaling
    mask = inputs.get("attention_mask")
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    averaged: Tensor = scores.softmax(-1).mean(1)
    return averaged


def _detr_projections(module: Any, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """(B, heads, Q, d) queries and (B, heads, cells, d) keys of DETR (arXiv 2005.12872, appendix A.3)."""
    queries, keys = inputs["hidden_states"], inputs["key_value_states"]
    if inputs.get("position_embeddings") is not None:
        queries = queries + inputs["position_embeddings"]
    if inputs.get("encoder_position_embeddings") is not None:
        keys = keys + inputs["encoder_position_embeddings"]
    heads = queries.shape[-1] // module.head_dim
    return _heads(module.q_proj(queries), heads), _heads(module.k_proj(keys), heads)


def _conditional_projections(module: Any, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """As for DETR, content and position side by side in each head (Conditional DETR, arXiv 2108.06152, section 3.2)."""
    queries = module.q_content_proj(inputs["hidden_states"])
    keys = module.k_content_proj(inputs["encoder_hidden_states"])
    key_positions = module.k_pos_proj(inputs["encoder_position_embeddings"])
    if inputs.get("query_position_embeddings") is not None:
        queries = queries + module.q_pos_proj(inputs["query_position_embeddings"])
        keys = keys + key_positions
    sine = module.q_pos_sine_proj(inputs["query_sine_embed"])
    heads = module.num_attention_heads
    return (
        torch.cat([_heads(queries, heads), _heads(sine, heads)], -1),
        torch.cat([_heads(keys, heads), _heads(key_positions, heads)], -1),
    )


def _heads(projected: Tensor, heads: int) -> Tensor:
    """(B, N, d) → (B, heads, N, d / heads)."""
    return projected.view(*projected.shape[:-1], heads, -1).transpose(1, 2)
