"""The probe: where a decoder's queries looked, as one map over the chip.

For every checkpoint that ``load_detector`` accepts: its family hands over the modules to hook and how to read them
(:class:`~pipeline.detectors.cross_attention.Decoder`). Forward hooks on the decoder's cross-attention read what goes in
and out; no kernel is replaced and no answer changes, and the hooks are gone as soon as the look is over.

Samples of deformable attention deposit their weights bilinearly on the grid of their level: the transpose of how the
library reads it (Deformable DETR, arXiv 2010.04159, eq. 3; ``align_corners=False``, nothing outside). Dense attention
is weights over the last feature map already. Levels are brought to one grid of the chip by area
(:mod:`pipeline.pixels.cells`) and added up: mean over layers and heads as in ViCrop-Det (arXiv 2604.26806), over
queries as ``query_weights`` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from inspect import signature
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pipeline.detectors.cross_attention import Decoder, Reader, Samples
from pipeline.detectors.protocol import Detector
from pipeline.errors import ModelError
from pipeline.pixels.cells import shares
from pipeline.types import AttentionMap, Chip, FloatArray

CELL_PX = 8
"""Side of a cell of the map, about, chip pixels."""

QueryWeights = Literal["mean", "score"]
"""``mean``: every query counts alike, as published. ``score``: by its best class score, so that the many queries
which found nothing do not drown the few which did (ours)."""


def attention_of(detector: Detector, chip: Chip) -> AttentionMap:
    """Where ``detector`` looked in ``chip``. Raises ModelError when its network has no cross-attention to ask.

    ::

        detector = load_detector(builtin_folder("ships-s2"))
        heat = attention_of(detector, Chip(pixels=pixels, window=Window(x=0, y=0, width=512, height=512)))
        heat.mass.shape, heat.mass.sum() + heat.outside        # (64, 64), 1.0
    """
    attention = detector.detect([chip], score_threshold=1.0, attention=True)[0].attention
    if attention is None:
        raise ModelError(f"model {detector.card.name} has no decoder cross-attention: it cannot say where it looked")
    return attention


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One chip in the network's input: resized to fill it from the top left corner, padding to the right and below."""

    height: int
    """Chip pixels."""
    width: int
    """Chip pixels."""
    share_y: float = 1.0
    """Share of the input's height that the chip fills; the rest is padding."""
    share_x: float = 1.0


@dataclass(slots=True, eq=False)
class AttentionRecord:
    """What the hooks saw during one forward pass: per decoder layer samples, or dense weights."""

    samples: list[Samples] = field(default_factory=list)
    dense: list[Tensor] = field(default_factory=list)
    """Per layer (B, Q, cells of the last feature map), mean over the heads."""
    dense_size: tuple[int, int] | None = None
    """Rows and columns of the last feature map."""

    @torch.inference_mode()
    def maps(self, placements: Sequence[Placement], query_weights: FloatArray | None) -> list[AttentionMap | None]:
        """One map per chip on a grid of ceil(H / 8) x ceil(W / 8) cells, or None each when there was nothing to hook.

        ``query_weights`` (B, Q) >= 0 says how much each query counts, None: all alike. Mass and outside sum to 1.
        Raises ModelError when the attention is not finite.
        """
        if not (self.samples or self.dense):
            return [None] * len(placements)
        on_host = self._levels(query_weights)
        if not all(bool(level.isfinite().all()) for level in on_host):
            raise ModelError("the network's attention is NaN or infinite: its weights are damaged")
        return [_chip_map([level[row] for level in on_host], place) for row, place in enumerate(placements)]

    def _levels(self, query_weights: FloatArray | None) -> list[Tensor]:
        """Per level (B, rows, columns), each spanning the whole input; all levels of a chip sum to 1 at most."""
        seen = self.samples[0].weights if self.samples else self.dense[0]
        of_query = _normalised(query_weights, tuple(seen.shape[:2])).to(seen.device)
        levels = splat(self.samples, of_query) if self.samples else [self._dense_map(of_query)]
        return [level.cpu() for level in levels]

    def _dense_map(self, of_query: Tensor) -> Tensor:
        assert self.dense_size is not None, "a dense decoder without its feature map's shape"
        mean = torch.stack(self.dense).mean(0, dtype=torch.float64)
        mass = (of_query[:, None] @ mean)[:, 0]
        return (mass / mass.sum(1, keepdim=True)).view(-1, *self.dense_size)


def _normalised(query_weights: FloatArray | None, shape: tuple[int, ...]) -> Tensor:
    """(B, Q) float64, each row summing to 1."""
    if query_weights is None:
        return torch.full(shape, 1 / shape[1], dtype=torch.float64)
    assert query_weights.shape == shape, f"{query_weights.shape} weights for {shape} queries"
    positive = torch.from_numpy(query_weights + np.finfo(np.float64).tiny)  # all zero means: all alike
    return positive / positive.sum(1, keepdim=True)


def splat(layers: Sequence[Samples], of_query: Tensor) -> list[Tensor]:
    """Deposit the samples of all layers on their levels: one (B, rows, columns) float64 map per level.

    ``of_query`` (B, Q) float64 weighs the queries, its rows summing to 1; layers count alike. All maps of a chip
    together hold 1 less what fell outside, which lands on a ring around each level and is cut off with it.
    NaN in, NaN out.
    """
    first = layers[0]
    locations = torch.cat([layer.locations.float() for layer in layers], 1)
    weights = torch.cat([layer.weights.double() for layer in layers], 1)
    batch = len(weights)
    weights = weights * of_query.repeat(1, len(layers))[..., None]
    weights = weights / weights.sum((1, 2), keepdim=True)

    rings = [(rows + 3) * (columns + 3) for rows, columns in first.sizes]
    starts = torch.tensor([0, *rings[:-1]], device=locations.device).cumsum(0)[first.levels]
    size = torch.tensor(first.sizes, device=locations.device).flip(-1)[first.levels]
    position = _positions(locations, size, nearest=first.nearest)
    corner = position.floor()
    right, down = (position - corner).unbind(-1)
    column, row = corner.nan_to_num(0).long().unbind(-1)
    stride = size[:, 0] + 3
    cell = starts + (row + 1) * stride + column + 1
    cell += sum(rings) * torch.arange(batch, device=cell.device)[:, None, None]

    flat = torch.zeros(batch * sum(rings), dtype=torch.float64, device=cell.device)
    for step, part in (
        (0, (1 - right) * (1 - down)), (1, right * (1 - down)),
        (stride, (1 - right) * down), (stride + 1, right * down),
    ):  # fmt: skip
        flat.scatter_add_(0, (cell + step).flatten(), (weights * part).flatten())
    return [
        level.view(batch, rows + 3, columns + 3)[:, 1 : rows + 1, 1 : columns + 1]
        for level, (rows, columns) in zip(torch.split(flat.view(batch, -1), rings, 1), first.sizes, strict=True)
    ]


def _positions(locations: Tensor, size: Tensor, *, nearest: bool) -> Tensor:
    """Columns and rows, cell centres being whole numbers; what is far outside is moved onto the ring at -1 and size."""
    if nearest:
        return torch.minimum((locations * size + 0.5).trunc().clamp(min=0), size - 1)
    return torch.minimum((locations * size - 0.5).clamp(min=-1), size)


def _chip_map(levels: Sequence[Tensor], place: Placement) -> AttentionMap:
    """The levels of one chip's input, each spanning it, on the grid of the chip.

    Multiplied by torch: numpy's library would wake threads of its own beside those that torch was given.
    """
    rows, columns = -(-place.height // CELL_PX), -(-place.width // CELL_PX)
    mass = torch.zeros((rows, columns), dtype=torch.float64)
    for level in levels:
        mass += (
            axis_shares(level.shape[0], rows, place.share_y)
            @ level
            @ axis_shares(level.shape[1], columns, place.share_x).T
        )
    return AttentionMap(mass.numpy(), max(0.0, 1.0 - float(mass.sum())))


@lru_cache(maxsize=256)
def axis_shares(cells: int, target_cells: int, share: float = 1.0) -> Tensor:
    """Shares of ``cells`` over the whole input in ``target_cells`` over the ``share`` of it that the chip fills."""
    return torch.from_numpy(shares(np.linspace(0, 1, cells + 1), np.linspace(0, share, target_cells + 1)))


@contextmanager
def watch(decoder: Decoder | None) -> Iterator[AttentionRecord]:
    """Record the decoder's cross-attention of the one forward pass inside; without a decoder nothing is hooked."""
    record = AttentionRecord()
    handles: list[RemovableHandle] = []
    try:
        if decoder is not None:
            hook = _recorder(record, decoder.read)
            handles.extend(layer.register_forward_hook(hook, with_kwargs=True) for layer in decoder.layers)
            if decoder.last_features is not None:
                handles.append(decoder.last_features.register_forward_hook(_size_recorder(record)))
        yield record
    finally:
        for handle in handles:
            handle.remove()


def _recorder(record: AttentionRecord, read: Reader) -> Any:
    """The hook of a cross-attention module."""

    def hook(module: nn.Module, positional: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
        inputs = signature(module.forward).bind_partial(*positional, **keywords).arguments if positional else keywords
        seen = read(module, inputs, output)
        if isinstance(seen, Samples):
            record.samples.append(seen)
        else:
            record.dense.append(seen)

    return hook


def _size_recorder(record: AttentionRecord) -> Any:
    def hook(_module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> None:
        record.dense_size = (output.shape[-2], output.shape[-1])

    return hook
