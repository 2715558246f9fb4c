"""How the decoders of the transformers library's networks are read.

* Deformable attention (RT-DETR, RT-DETRv2, D-FINE, DEIMv2, Deformable DETR) hands out its weights but keeps its
  sampling locations to itself: the module's own layer gives the offsets once more.
* In RF-DETR and LW-DETR a module inside of it is given the locations, and the weights with them.
* Dense attention (DETR, Conditional DETR, DAB-DETR) is fused and hands out nothing: softmax(QKᵀ) once more from the
  module's own projections, with its padding mask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.detectors.cross_attention import (
    Decoder,
    Reader,
    Samples,
    level_of_each,
    level_sizes,
    modules_named,
    sampled,
    with_positions,
)
from pipeline.detectors.transformers_detr.model_types import ModelType


def decoder_of(network: nn.Module, kind: ModelType) -> Decoder | None:
    """The cross-attention of a network of that type; None where it has none."""
    asked = kind.cross_attention
    if asked is None:
        return None
    layers = modules_named(network, asked.module)
    last_features = modules_named(network, asked.last_features)[0] if asked.last_features else None
    return Decoder(layers=layers, read=_READERS[asked.read], last_features=last_features)


def samples_of(module: Any, inputs: dict[str, Any], output: tuple[Tensor, Tensor]) -> Samples:
    """What one deformable attention read, from its inputs and the weights it answered."""
    queries, sizes, points = with_positions(inputs), level_sizes(inputs), _points(module)
    locations = _locations(module, queries, inputs["reference_points"], points, sizes)
    nearest = getattr(module, "method", getattr(module, "decoder_method", "default")) == "discrete"
    return sampled(locations, output[1], points, sizes, nearest)


def _points(module: Any) -> list[int]:
    """Sampling points of a head on each level."""
    for name in ("n_points_list", "num_points_list"):
        if hasattr(module, name):
            return list(getattr(module, name))
    return [module.n_points] * module.n_levels


def _locations(
    module: Any, queries: Tensor, reference: Tensor, points: list[int], sizes: tuple[tuple[int, int], ...]
) -> Tensor:
    """(B, Q, heads, points of all levels, 2) from reference points or boxes (B, Q, levels or 1, 2 or 4).

    Offsets are in cells from a point, or in halves of its sides (shared among the points of a level) from a box.
    """
    levels = level_of_each(points, queries.device)
    offsets = module.sampling_offsets(queries).reshape(*queries.shape[:2], module.n_heads, -1, 2)
    reference = reference.expand(-1, -1, len(sizes), -1)[:, :, levels][:, :, None]
    if reference.shape[-1] == 2:
        cells = torch.tensor(sizes, device=levels.device).flip(-1)[levels]
        near: Tensor = reference + offsets / cells
        return near
    shared = torch.tensor(points, device=levels.device)[levels, None]
    located: Tensor = reference[..., :2] + offsets / shared * reference[..., 2:] * getattr(module, "offset_scale", 0.5)
    return located


def _given_samples(_module: Any, inputs: dict[str, Any], _output: Any) -> Samples:
    """What the inmost module of one deformable attention read: it is told where, (B, Q, heads, levels, points, 2)."""
    locations, weights = inputs["sampling_locations"], inputs["attention_weights"]
    levels, points = locations.shape[3:5]
    sizes = tuple((int(rows), int(columns)) for rows, columns in inputs["value_spatial_shapes_list"])
    return sampled(locations, weights, [points] * levels, sizes, nearest=False)


def _dense(projections: Callable[[Any, dict[str, Any]], tuple[Tensor, Tensor]]) -> Reader:
    """The reader of a dense cross-attention whose queries (B, heads, Q, d) and keys (B, heads, cells, d) are these."""

    def weights(module: Any, inputs: dict[str, Any], _output: Any) -> Tensor:
        """(B, Q, cells): softmax(QKᵀ), mean over its heads."""
        queries, keys = projections(module, inputs)
        scores = queries @ keys.transpose(-1, -2) * module.scaling
        mask = inputs.get("attention_mask")
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        averaged: Tensor = scores.softmax(-1).mean(1)
        return averaged

    return weights


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


def _dab_projections(module: Any, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """DAB-DETR (arXiv 2201.12329) projects as Conditional DETR, outside of the module."""
    heads = module.attention_heads
    return _heads(inputs["hidden_states"], heads), _heads(inputs["key_states"], heads)


def _heads(projected: Tensor, heads: int) -> Tensor:
    """(B, N, d) → (B, heads, N, d / heads)."""
    return projected.view(*projected.shape[:-1], heads, -1).transpose(1, 2)


_READERS: dict[str, Reader] = {
    "deformable": samples_of,
    "sampled": _given_samples,
    "detr": _dense(_detr_projections),
    "conditional": _dense(_conditional_projections),
    "dab": _dense(_dab_projections),
}
"""By what :class:`~pipeline.detectors.transformers_detr.model_types.CrossAttention` calls them."""
