"""What the cross-attention of a decoder layer looked at, from what goes in and out of its module.

A family of detectors hands over a :class:`Decoder`: which modules are its cross-attention, and how to read them. What
several families share of the reading stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


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


Reader = Callable[[Any, dict[str, Any], Any], Samples | Tensor]
"""(module, its inputs by name, its output) → what one layer looked at in one forward pass: :class:`Samples` of
deformable attention, or the (B, Q, cells) weights of dense attention, mean over heads, summing to 1 over the cells."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decoder:
    """The cross-attention of one network's decoder. All layers look in one way; none: there is nothing to ask."""

    layers: Sequence[nn.Module]
    """One module a decoder layer."""
    read: Reader
    last_features: nn.Module | None = None
    """Answers the (B, C, rows, columns) feature map whose cells dense attention weighs: it knows their shape."""


def modules_named(network: nn.Module, name: str) -> list[nn.Module]:
    """The modules inside ``network`` whose path ends with ``name``: their own, or with those of modules around it."""
    return [module for path, module in network.named_modules() if f".{path}".endswith(f".{name}")]


def with_positions(inputs: dict[str, Any]) -> Tensor:
    """(B, Q, d) queries of a deformable attention, their positions added where there are any."""
    queries: Tensor = inputs["hidden_states"]
    positions = inputs.get("position_embeddings")
    return queries if positions is None else queries + positions


def sampled(
    locations: Tensor, weights: Tensor, points: Sequence[int], sizes: tuple[tuple[int, int], ...], nearest: bool
) -> Samples:
    """Samples from the locations (B, Q, heads, points of all levels, 2) and answered weights of one attention.

    ``points`` are those of a head on each level, ``sizes`` rows and columns of the levels.
    """
    batch, count, heads = locations.shape[:3]
    return Samples(
        locations.reshape(batch, count, -1, 2),
        weights.reshape(batch, count, -1) / heads,
        level_of_each(points, locations.device).repeat(heads),
        sizes,
        nearest,
    )


def level_sizes(inputs: dict[str, Any]) -> tuple[tuple[int, int], ...]:
    """Rows and columns of each feature level that a deformable attention was called with."""
    return tuple((int(rows), int(columns)) for rows, columns in inputs["spatial_shapes_list"])


def level_of_each(points: Sequence[int], device: torch.device) -> Tensor:
    """(P,) level of each sampling point of a head."""
    return torch.arange(len(points), device=device).repeat_interleave(torch.tensor(points, device=device))
