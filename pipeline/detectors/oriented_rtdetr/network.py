"""The oriented RT-DETR: RT-DETRv2 (arXiv 2407.17140) with rotated reference boxes.

Backbone and feature pyramid: :mod:`pipeline.detectors.modules.features`; decoder layers: :mod:`.decoder_layer`. Ours:

* proposals. Every token of the pyramid scores itself and writes an oriented box; the best, of which only local maxima
  count, become the decoder's queries. The direction is written as (cos 2a, sin 2a), which has no seam.
* rotated sampling. Deformable offsets live in the reference box's own axes and are truly turned by its angle, as in
  ARS-DETR (arXiv 2303.04989), not multiplied by a turned half-extent.
* iterative refinement of (cx, cy, w, h) and of the angle, which is added to the reference's modulo pi. The positional
  query knows (cx, cy, w, h) only.

Everything is in pixels of the chip and nothing depends on its size, so chips of any size go in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.detectors.modules.features import (
    FeatureNetwork,
    Features,
    FeaturesConfig,
    check_counts,
    initialise_convolutions,
    token_grid,
)
from pipeline.detectors.modules.reconstruction import Original
from pipeline.detectors.oriented_rtdetr.decoder_layer import DecoderLayer, PerceptronHead
from pipeline.detectors.oriented_rtdetr.deformable_attention import RotatedDeformableAttention, spread_sampling_points
from pipeline.detectors.torch_boxes import SMALLEST_SIDE_PX, reference_frames, refine

PRIOR_PROBABILITY = 0.01
BOX_HEAD_LAYERS = 3
POSITION_SCALE_PX = 512.0
"""Centres are divided by this before they become positional queries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig(FeaturesConfig):
    """The shape of the network; saved as config.json."""

    heads: int = 4
    points: int = 4
    """Sampling points per head and level."""
    decoder_layers: int = 3
    decoder_mlp_width: int = 256
    queries: int = 150
    anchor_strides: float = 4.0
    """Side of the square a token starts from, in units of its stride."""

    def __post_init__(self) -> None:
        """Raises ValueError for what contradicts itself."""
        super(NetworkConfig, self).__post_init__()
        check_counts(self, "heads", "points", "decoder_layers", "decoder_mlp_width", "queries")
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads, not {self.width} of {self.heads}")
        if not 0 < self.anchor_strides < math.inf:
            raise ValueError(f"anchor_strides must be a number above 0, not {self.anchor_strides!r}")

    @property
    def parts(self) -> tuple[str, ...]:
        """What the network is made of, in words for its card."""
        head = f"oriented RT-DETR head, {self.decoder_layers} decoder layers, {self.queries} queries"
        return (*super(NetworkConfig, self).parts, head)

    def queries_of(self, height: int, width: int) -> int:
        """How many queries a chip of these sides has, multiples of the largest stride: a small one has fewer tokens
        than ``queries``."""
        return min(self.queries, sum((height // stride) * (width // stride) for stride in self.strides))


@dataclass(frozen=True, slots=True, eq=False)
class Queries:
    """What enters the decoder: N queries of each of B chips."""

    content: Tensor
    """(B, N, width)."""
    boxes: Tensor
    """(B, N, 5) reference boxes, no gradient."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerOutput:
    """What one decoder layer says of its queries."""

    logits: Tensor
    """(B, N, classes)."""
    boxes: Tensor
    """(B, N, 5)."""
    reference: Tensor
    """(B, N, 5) the boxes it refined."""


@dataclass(frozen=True, slots=True, eq=False)
class NetworkOutput:
    """Proposals of every token, and the decoder's answers layer by layer."""

    token_logits: Tensor
    """(B, T, classes); -inf never, even in the padding."""
    token_boxes: Tensor
    """(B, T, 5) long side first where the training succeeded."""
    token_centres: Tensor
    """(T, 2) pixels."""
    token_strides: Tensor
    """(T,) pixels."""
    layers: tuple[LayerOutput, ...]
    features: Features
    """What it was said from."""


class ProposalHead(nn.Module):
    """Scores every token and lets it write an oriented box around itself."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.anchor_strides = config.anchor_strides
        self.embed = nn.Sequential(nn.Linear(config.width, config.width), nn.LayerNorm(config.width), nn.ReLU())
        self.score = nn.Linear(config.width, config.classes)
        self.box = PerceptronHead(config.width, config.width, 6, layers=2)

    def forward(self, tokens: Tensor, centres: Tensor, strides: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, width) tokens → embedded tokens, logits (B, T, classes), boxes (B, T, 5)."""
        embedded = self.embed(tokens)
        raw = self.box(embedded)
        centre = centres + raw[..., :2] * strides[:, None]
        sides = (raw[..., 2:4].clamp(-4, 4).exp() * (strides * self.anchor_strides)[:, None]).clamp(SMALLEST_SIDE_PX)
        direction = raw[..., 4:] + torch.tensor([1e-4, 0.0], device=raw.device, dtype=raw.dtype)
        angle = torch.atan2(direction[..., 1], direction[..., 0]) / 2
        return embedded, self.score(embedded).float(), torch.cat([centre, sides, angle[..., None]], -1)


class OrientedRTDetr(FeatureNetwork):
    """(B, bands, H, W) normalised chips, H and W multiples of the largest stride → :class:`NetworkOutput`."""

    config: NetworkConfig

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.config = config
        self.proposals = ProposalHead(config)
        self.position = PerceptronHead(4, config.width, config.width, layers=2)
        levels = len(config.strides)
        self.decoder = nn.ModuleList(
            DecoderLayer(config.width, config.heads, levels, config.points, config.decoder_mlp_width)
            for _ in range(config.decoder_layers)
        )
        self.score_heads = nn.ModuleList(nn.Linear(config.width, config.classes) for _ in self.decoder)
        self.box_heads = nn.ModuleList(
            PerceptronHead(config.width, config.width, 5, layers=BOX_HEAD_LAYERS) for _ in self.decoder
        )
        self.label_embedding = nn.Embedding(config.classes, config.width)
        self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """Weights for training from nothing."""
        initialise_convolutions(self)
        for module in self.modules():
            if isinstance(module, RotatedDeformableAttention):
                spread_sampling_points(module)
        for score in (self.proposals.score, *self.score_heads):
            nn.init.constant_(score.bias, -math.log((1 - PRIOR_PROBABILITY) / PRIOR_PROBABILITY))
        for box in self.box_heads:
            nn.init.zeros_(box.get_submodule(f"layers.{BOX_HEAD_LAYERS - 1}").weight)  # type: ignore[arg-type]
        nn.init.normal_(self.proposals.box.get_submodule("layers.1").weight, std=0.01)  # type: ignore[arg-type]

    def decode(
        self, queries: Queries, memory: Tensor, shapes: list[tuple[int, int]], mask: Tensor | None,
        origin: Tensor | None = None,
    ) -> tuple[LayerOutput, ...]:  # fmt: skip
        """Refine the queries' boxes layer by layer against (B, T, width) ``memory`` of the levels' ``shapes``."""
        height, width = (side * self.config.strides[0] for side in shapes[0])
        content, boxes = queries.content, queries.boxes.detach()
        outputs = []
        for layer, score, box in zip(self.decoder, self.score_heads, self.box_heads, strict=True):
            centre = boxes[..., :2] if origin is None else boxes[..., :2] + origin
            position = torch.cat([centre / POSITION_SCALE_PX, boxes[..., 2:4].log() / 4], -1)
            content = layer(
                content,
                self.position(position),
                mask,
                reference_points=reference_frames(boxes, width, height),
                spatial_shapes_list=shapes,
                encoder_hidden_states=memory,
            )
            refined = refine(boxes, box(content))
            outputs.append(LayerOutput(score(content).float(), refined, boxes))
            boxes = refined.detach()
        return tuple(outputs)

    def forward(
        self, pixels: Tensor, extra: Queries | None = None, mask: Tensor | None = None, origin: Tensor | None = None,
        queries: int | None = None, original: Original | None = None,
    ) -> NetworkOutput:  # fmt: skip
        """``extra`` queries (denoising) go before the proposals; ``mask`` is added to their self-attention.

        ``origin`` (B, 1, 2): where the positional queries believe the chips' corners to be, pixels. Small tiles drawn
        anywhere in a large chip teach the positions that only large chips have. ``queries`` is how many proposals are
        picked (None: as configured); ``original`` of the chips, for a network that reconstructs.
        """
        features = self.features(pixels, original)
        maps = features.levels
        shapes = [(feature.shape[2], feature.shape[3]) for feature in maps]
        memory = torch.cat([feature.flatten(2).transpose(1, 2) for feature in maps], 1)
        centres, strides = token_grid(shapes, self.config.strides, memory.device)
        embedded, logits, boxes = self.proposals(memory, centres, strides)
        best = select(logits.detach(), shapes, self.config.queries if queries is None else queries)
        entering = Queries(_gather(embedded, best), _gather(boxes, best))
        if extra is not None:
            entering = Queries(
                torch.cat([extra.content, entering.content], 1), torch.cat([extra.boxes, entering.boxes], 1)
            )
        layers = self.decode(entering, memory, shapes, mask, origin)
        return NetworkOutput(logits, boxes, centres, strides, layers, features)


def select(logits: Tensor, shapes: list[tuple[int, int]], count: int) -> Tensor:
    """(B, N) indices of the best tokens, local maxima of their 3 × 3 neighbourhood first, best first."""
    best = logits.amax(-1)
    ranked = []
    for level, (rows, columns) in zip(torch.split(best, [r * c for r, c in shapes], 1), shapes, strict=True):
        plane = level.view(-1, 1, rows, columns)
        peak = plane == functional.max_pool2d(plane, 3, stride=1, padding=1)
        ranked.append(torch.where(peak, plane, plane - 100.0).flatten(1))
    scores = torch.cat(ranked, 1)
    return scores.topk(min(count, scores.shape[1]), dim=1).indices


def _gather(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))
