"""From a chip to the feature pyramid: what the networks of all families of our own begin with.

A network is a backbone, a neck, optional feature modules and a head. What comes before the head stands here; a head is
a family's own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.detectors.modules.context_enhancement import HIGH_LEVELS, ContextEnhancement
from pipeline.detectors.modules.dgfe import DifferenceEnhancement
from pipeline.detectors.modules.efficientnet_lite import FEATURE_CHANNELS, EfficientNetLite
from pipeline.detectors.modules.foreground_selection import ForegroundSelection
from pipeline.detectors.modules.pyramid import Pyramid
from pipeline.detectors.modules.reconstruction import Original, ReconstructionHead, difference_map
from pipeline.detectors.modules.resnet import SmallResNet

RESNET, EFFICIENTNET_LITE0 = "resnet", "efficientnet_lite0"
FINEST_STRIDE = 4
NO_RECONSTRUCTION, LEARNABLE, OFFICIAL = "none", "learnable", "official"
_RESNET_CHANNELS, _RESNET_DEPTHS = (32, 64, 128, 192), (2, 2, 2, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesConfig:
    """The shape of backbone and neck; part of a network's config.json."""

    classes: int = 1
    bands: int = 3
    """Channels of a chip."""
    backbone: str = RESNET
    """``resnet`` or ``efficientnet_lite0``."""
    stage_channels: tuple[int, ...] = _RESNET_CHANNELS
    """Of the resnet's stages, of stride 4, 8, 16, …"""
    stage_depths: tuple[int, ...] = _RESNET_DEPTHS
    """Residual blocks of the resnet's stages."""
    width: int = 64
    """Channels of the pyramid, and of what comes after it."""
    context: bool = False
    """The finest levels get context of the coarsest (after E-FPN-BS's CEM)."""
    foreground: bool = False
    """Masks amplify the foreground on the finest levels (after E-FPN-BS's FBSM)."""
    reconstruction: str = NO_RECONSTRUCTION
    """SR-TOD (arXiv 2405.11276): ``none``; ``learnable``, with a threshold that learns (ours); or ``official``, in the
    form of the paper's code, where it stays as it is."""
    reconstruction_threshold: float = 4 / 255
    """Where the threshold of the difference map begins; the paper's for VisDrone."""

    @property
    def oriented(self) -> bool:
        """Boxes have an angle."""
        return True

    def __post_init__(self) -> None:
        """Raises ValueError for what contradicts itself."""
        if self.backbone not in (RESNET, EFFICIENTNET_LITE0):
            raise ValueError(f"backbone must be {RESNET} or {EFFICIENTNET_LITE0}, not {self.backbone!r}")
        if self.backbone != RESNET and (self.stage_channels, self.stage_depths) != (_RESNET_CHANNELS, _RESNET_DEPTHS):
            raise ValueError(f"stage_channels and stage_depths are of the {RESNET}; {self.backbone} has its own")
        check_counts(self, "classes", "bands", "width", "stage_channels", "stage_depths")
        stages, depths = len(self.stage_channels), len(self.stage_depths)
        if not stages:
            raise ValueError("stage_channels names no stage")
        if stages != depths:
            raise ValueError(f"stage_channels are of {stages} stages, stage_depths of {depths}")
        for name, value in (("context", self.context), ("foreground", self.foreground)):
            if value not in (True, False):
                raise ValueError(f"{name} must be true or false, not {value!r}")
        if self.context and len(self.strides) <= HIGH_LEVELS:
            raise ValueError(f"context needs more than {HIGH_LEVELS} levels, the backbone has {len(self.strides)}")
        forms = (NO_RECONSTRUCTION, LEARNABLE, OFFICIAL)
        if self.reconstruction not in forms:
            raise ValueError(
                f"reconstruction must be {', '.join(forms[:-1])} or {forms[-1]}, not {self.reconstruction!r}"
            )
        if not 0 < self.reconstruction_threshold < 1:
            raise ValueError(f"reconstruction_threshold must lie between 0 and 1, not {self.reconstruction_threshold}")

    @property
    def parts(self) -> tuple[str, ...]:
        """What the network is made of, in words for its card: the backbone, the neck, and the feature modules."""
        modules = {
            "context enhancement (CEM, after E-FPN-BS)": self.context,
            "foreground selection (FBSM, after E-FPN-BS)": self.foreground,
            f"reconstruction and difference map (SR-TOD, {self.reconstruction} threshold)": self.reconstructs,
        }
        return (
            f"{self.backbone} backbone",
            f"feature pyramid of {self.width} channels at strides {', '.join(map(str, self.strides))}",
            *(name for name, there in modules.items() if there),
        )

    @property
    def reconstructs(self) -> bool:
        """Whether the network draws its chips again: then it has to be given their originals."""
        return self.reconstruction != NO_RECONSTRUCTION

    @property
    def backbone_channels(self) -> tuple[int, ...]:
        """Of the backbone's maps, finest first."""
        return self.stage_channels if self.backbone == RESNET else FEATURE_CHANNELS

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the pyramid levels, pixels."""
        return tuple(FINEST_STRIDE << level for level in range(len(self.backbone_channels)))

    def values(self) -> dict[str, Any]:
        """For config.json."""
        return asdict(self)


def check_counts(config: FeaturesConfig, *names: str) -> None:
    """Raise ValueError for a field that is no whole number of at least 1, or a tuple that holds such a number."""
    for name in names:
        value = getattr(config, name)
        for one in value if isinstance(value, tuple) else (value,):
            if not isinstance(one, int) or one < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, not {one!r}")


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What a head goes by."""

    levels: list[Tensor]
    """One (B, width, H / stride, W / stride) map a level, finest first."""
    foreground: tuple[Tensor, ...] | None = None
    """(B, 1, H / stride, W / stride) logits of the finest levels' masks, of networks that have masks."""
    reconstruction: Tensor | None = None
    """(B, bands, H, W) the chips as drawn again from the finest level, 0 to 1; of networks that reconstruct."""
    difference: Tensor | None = None
    """(B, 1, H, W) how far that is from the chips, 0 to 1, 0 in the padding."""


class FeatureNetwork(nn.Module):
    """A network without its head. A base class, not a part: weights keep the names that they have in older folders."""

    config: FeaturesConfig

    def __init__(self, config: FeaturesConfig) -> None:
        super().__init__()
        if config.backbone == EFFICIENTNET_LITE0:
            self.backbone: nn.Module = EfficientNetLite(config.bands)
        else:
            self.backbone = SmallResNet(config.bands, config.stage_channels, config.stage_depths)
        self.lateral = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, config.width, 1, bias=False), nn.BatchNorm2d(config.width))
            for channels in config.backbone_channels
        )
        levels = len(config.strides)
        self.pyramid = Pyramid(config.width, levels)
        self.context = ContextEnhancement(config.width, levels) if config.context else None
        self.foreground = ForegroundSelection(config.width, levels) if config.foreground else None
        self.reconstruction: ReconstructionHead | None = None
        self.enhancement: DifferenceEnhancement | None = None
        if config.reconstructs:
            learnable = config.reconstruction == LEARNABLE
            self.reconstruction = ReconstructionHead(config.width, config.bands)
            self.enhancement = DifferenceEnhancement(config.width, config.reconstruction_threshold, learnable=learnable)

    def features(self, pixels: Tensor, original: Original | None = None) -> Features:
        """(B, bands, H, W) normalised chips, H and W multiples of the largest stride → the pyramid.

        A network that reconstructs must be given the ``original`` of the chips.
        """
        maps = self.backbone(pixels)
        maps = [lateral(feature) for lateral, feature in zip(self.lateral, maps, strict=True)]
        levels, masks = self.pyramid(maps), None
        if self.context is not None:
            levels = self.context(levels)
        if self.foreground is not None:
            levels, masks = self.foreground(levels)
        return self._enhanced(Features(levels, foreground=masks), original)

    def _enhanced(self, found: Features, original: Original | None) -> Features:
        """With SR-TOD the finest level is enhanced where it could not be drawn again."""
        if self.reconstruction is None or self.enhancement is None:
            return found
        assert original is not None, "a network that reconstructs has to see what it is held against"
        finest, *others = found.levels
        drawn = self.reconstruction(finest)
        difference = difference_map(drawn, original)
        enhanced = self.enhancement(finest, difference, original.shown)
        return replace(found, levels=[enhanced, *others], reconstruction=drawn, difference=difference)


def token_grid(shapes: list[tuple[int, int]], strides: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """(T, 2) centres (x, y) and (T,) strides of the tokens, pixels, float32; levels one after the other, row by row."""
    centres, sizes = [], []
    for (rows, columns), stride in zip(shapes, strides, strict=True):
        y = (torch.arange(rows, dtype=torch.float32, device=device) + 0.5) * stride
        x = (torch.arange(columns, dtype=torch.float32, device=device) + 0.5) * stride
        centres.append(torch.stack([x.repeat(rows), y.repeat_interleave(columns)], -1))
        sizes.append(torch.full((rows * columns,), float(stride), dtype=torch.float32, device=device))
    return torch.cat(centres), torch.cat(sizes)


def initialise_convolutions(network: nn.Module) -> None:
    """Weights for training from nothing; the library's own initialisation expects a pretrained backbone."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, ForegroundSelection | ReconstructionHead):
            module.initialise()
