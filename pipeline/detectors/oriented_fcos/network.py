"""The oriented FCOS: every cell of the pyramid scores itself and writes a turned box around itself.

After FCOS (Tian et al., "FCOS: Fully Convolutional One-Stage Object Detection", ICCV 2019): two towers of convolutions,
shared by all levels; one ends in the classes, the other in the box and in its quality. Ours:

* turned boxes: distances in the box's own axes and an angle, written without a seam (:mod:`.points`).
* the quality is the rotated overlap that the box will have, not centre-ness.
* the towers normalise by batch statistics of each level of its own, not by groups of channels over the whole map, so
  that what a cell answers does not depend on the size of the chip or on its padding.
* with ``receptive_field`` one convolution of each tower chooses where it looks (MOD, arXiv 2112.08902): its article
  says the first one, its code does the last.

Backbone and feature pyramid: :mod:`pipeline.detectors.modules.features`. Everything is in pixels of the chip.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.detectors.modules.features import (
    FeatureNetwork,
    Features,
    FeaturesConfig,
    check_counts,
    initialise_convolutions,
    token_grid,
)
from pipeline.detectors.modules.receptive_field import ReceptiveFieldAdapter
from pipeline.detectors.modules.reconstruction import Original
from pipeline.detectors.oriented_fcos.points import boxes_from, turned
from pipeline.detectors.torch_boxes import SMALLEST_SIDE_PX

PRIOR_PROBABILITY = 0.01
START_STRIDES = 4.0
"""Side of the square a cell starts from, in units of its stride."""
LARGEST_LOG_SIDE = 4.0
"""A side is at most exp(4) = 55 times that."""
NO_FIELD, FIRST, LAST = "none", "first", "last"


@dataclass(frozen=True, slots=True, kw_only=True)
class FCOSConfig(FeaturesConfig):
    """The shape of the network; saved as config.json."""

    tower_layers: int = 4
    """Convolutions of each tower."""
    receptive_field: str = NO_FIELD
    """Which convolution of each tower is a receptive field adapter: ``none``, ``first`` or ``last``."""

    def __post_init__(self) -> None:
        """Raises ValueError for what contradicts itself."""
        super(FCOSConfig, self).__post_init__()
        check_counts(self, "tower_layers")
        if self.receptive_field not in (NO_FIELD, FIRST, LAST):
            raise ValueError(f"receptive_field must be {NO_FIELD}, {FIRST} or {LAST}, not {self.receptive_field!r}")

    @property
    def parts(self) -> tuple[str, ...]:
        """What the network is made of, in words for its card."""
        field = "" if self.receptive_field == NO_FIELD else f", the {self.receptive_field} with RFA"
        return (*super(FCOSConfig, self).parts, f"oriented FCOS head, {self.tower_layers} convolutions a tower{field}")

    @property
    def adapted_layer(self) -> int | None:
        """Number of the towers' convolution that is a receptive field adapter; None for none."""
        return {FIRST: 0, LAST: self.tower_layers - 1}.get(self.receptive_field)


@dataclass(frozen=True, slots=True, eq=False)
class FCOSOutput:
    """What every point says; T points, of one level after the other, row by row."""

    logits: Tensor
    """(B, T, classes)."""
    quality: Tensor
    """(B, T) logit of the rotated overlap with the object that the point believes in."""
    boxes: Tensor
    """(B, T, 5) long side first where the training succeeded."""
    points: Tensor
    """(T, 2) pixels."""
    strides: Tensor
    """(T,) pixels."""
    features: Features
    """What it was said from."""


class Tower(nn.Module):
    """Convolutions that all levels share; normalisation is each level's own."""

    def __init__(self, config: FCOSConfig) -> None:
        super().__init__()
        width = config.width
        self.convolutions = nn.ModuleList(
            ReceptiveFieldAdapter(width, width)
            if layer == config.adapted_layer
            else nn.Conv2d(width, width, 3, padding=1, bias=False)
            for layer in range(config.tower_layers)
        )
        self.norms = nn.ModuleList(
            nn.ModuleList(nn.BatchNorm2d(width) for _ in config.strides) for _ in range(config.tower_layers)
        )

    def forward(self, feature: Tensor, level: int) -> Tensor:
        """(B, width, H, W) of one level → the same shape."""
        for convolution, norms in zip(self.convolutions, self.norms, strict=True):
            feature = norms[level](convolution(feature)).relu()  # type: ignore[index]
        return feature


class OrientedFCOS(FeatureNetwork):
    """(B, bands, H, W) normalised chips, H and W multiples of the largest stride → :class:`FCOSOutput`."""

    config: FCOSConfig

    def __init__(self, config: FCOSConfig) -> None:
        super().__init__(config)
        self.config = config
        self.class_tower, self.box_tower = Tower(config), Tower(config)
        self.score = nn.Conv2d(config.width, config.classes, 3, padding=1)
        self.box = nn.Conv2d(config.width, 6, 3, padding=1)
        self.quality = nn.Conv2d(config.width, 1, 3, padding=1)
        self.scales = nn.Parameter(torch.ones(len(config.strides)))
        self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """Weights for training from nothing."""
        initialise_convolutions(self)
        for module in self.modules():
            if isinstance(module, ReceptiveFieldAdapter):
                module.initialise()
        for last in (self.score, self.box, self.quality):
            nn.init.normal_(last.weight, std=0.01)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        nn.init.constant_(self.score.bias, -math.log((1 - PRIOR_PROBABILITY) / PRIOR_PROBABILITY))  # type: ignore[arg-type]

    def forward(self, pixels: Tensor, original: Original | None = None) -> FCOSOutput:
        """See the class; ``original`` of the chips, for a network that reconstructs."""
        features = self.features(pixels, original)
        logits, quality, raw = [], [], []
        for level, feature in enumerate(features.levels):
            of_class, of_box = self.class_tower(feature, level), self.box_tower(feature, level)
            logits.append(_rows(self.score(of_class)))
            quality.append(_rows(self.quality(of_box)))
            raw.append(_rows(self.box(of_box)) * self.scales[level])
        shapes = [(feature.shape[2], feature.shape[3]) for feature in features.levels]
        points, strides = token_grid(shapes, self.config.strides, pixels.device)
        boxes = written_boxes(torch.cat(raw, 1), points, strides)
        return FCOSOutput(torch.cat(logits, 1), torch.cat(quality, 1)[..., 0], boxes, points, strides, features)


def written_boxes(raw: Tensor, points: Tensor, strides: Tensor) -> Tensor:
    """(B, T, 6) numbers of the head → (B, T, 5) boxes: offset of the middle and sides in strides, doubled direction."""
    offset = raw[..., :2] * strides[:, None]
    growth = raw[..., 2:4].clamp(-LARGEST_LOG_SIDE, LARGEST_LOG_SIDE).exp()
    sides = (growth * (START_STRIDES * strides)[:, None]).clamp(min=SMALLEST_SIDE_PX)
    distances, angle = turned(offset, sides, raw[..., 4:])
    return boxes_from(points, distances, angle)


def _rows(planes: Tensor) -> Tensor:
    """(B, C, H, W) → (B, H · W, C), float32."""
    return planes.flatten(2).transpose(1, 2).float()
