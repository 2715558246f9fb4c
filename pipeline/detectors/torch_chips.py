"""Chips into one of our own networks, and detections out of what it says: what its families share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pipeline.detectors.modules.features import FeaturesConfig
from pipeline.detectors.modules.reconstruction import Original
from pipeline.errors import ModelError
from pipeline.names import listed
from pipeline.types import Chip, Detections, Frame, ModelCard

Network = TypeVar("Network", bound=nn.Module)

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def batch_of(chips: Sequence[Chip], card: ModelCard, stride: int, device: torch.device) -> Tensor:
    """(B, C, H, W) normalised as ``card`` says, sides multiples of ``stride``; chips are padded below and to the right
    with black, which means "no data". Raises ModelError for a chip of another number of bands than the card's."""
    height = -(-max(chip.pixels.shape[0] for chip in chips) // stride) * stride
    width = -(-max(chip.pixels.shape[1] for chip in chips) // stride) * stride
    pixels = np.zeros((len(chips), height, width, len(card.mean)), np.uint8)
    for row, chip in zip(pixels, chips, strict=True):
        if chip.pixels.shape[2] != row.shape[2]:
            raise ModelError(
                f"model {card.name} takes {row.shape[2]} bands ({listed(card.bands)}), the chip has "
                f"{chip.pixels.shape[2]}; choose bands with --raster.bands"
            )
        row[: chip.pixels.shape[0], : chip.pixels.shape[1]] = chip.pixels
    return normalise(torch.from_numpy(pixels).to(device), card.mean, card.std)


def sizes_of(chips: Sequence[Chip]) -> list[tuple[int, int]]:
    """Rows and columns of each chip."""
    return [(chip.pixels.shape[0], chip.pixels.shape[1]) for chip in chips]


def original_of(pixels: Tensor, chips: Sequence[Chip], card: ModelCard, config: FeaturesConfig) -> Original | None:
    """What a network that reconstructs is given beside its batch; None for one that does not."""
    return Original.of(pixels, card.mean, card.std, sizes_of(chips)) if config.reconstructs else None


def normalise(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(B, H, W, C) uint8 → (B, C, H, W) float32, channels last in memory: (pixels / 255 - mean) / std.

    ``mean`` and ``std`` have one value a band.
    """
    middle, spread = (torch.tensor(values, device=pixels.device).view(1, -1, 1, 1) for values in (mean, std))
    return (pixels.permute(0, 3, 1, 2).float() / 255 - middle) / spread


def check_card(folder: Path, card: ModelCard, config: FeaturesConfig) -> None:
    """Raise ModelError unless the card in ``folder`` is of a network of that shape."""
    for what, named, built in (("classes", card.classes, config.classes), ("bands", card.bands, config.bands)):
        if len(named) != built:
            raise ModelError(f"{folder}: the card names {len(named)} {what}, the network has {built}")
    if card.network is not None and card.network != config.parts:
        other = [part for part in card.network if part not in config.parts] or list(card.network)
        raise ModelError(f"{folder}: the card speaks of another network than config.json: {listed(other)}")


def check_finite(card: ModelCard, *answers: np.ndarray[Any, Any]) -> None:
    """Raise ModelError unless every number that a network answered is one."""
    if not all(np.isfinite(answer).all() for answer in answers):
        raise ModelError(f"model {card.name}: the network answered NaN or infinity; its weights are damaged")


def detections_of(
    scores: np.ndarray[Any, Any], boxes: np.ndarray[Any, Any], chip: Chip, threshold: float
) -> Detections:
    """Detections of one chip from (N, classes) scores and (N, 5) canonical boxes.

    Those with their centre inside the chip, each of its best class, best first.
    """
    height, width = chip.pixels.shape[:2]
    class_ids, best = scores.argmax(1), scores.max(1)
    inside = (boxes[:, 0] >= 0) & (boxes[:, 1] >= 0) & (boxes[:, 0] < width) & (boxes[:, 1] < height)
    keep = np.flatnonzero(inside & (best >= threshold))
    keep = keep[np.argsort(-best[keep], kind="stable")]
    return Detections(
        boxes[keep].astype(np.float64), best[keep].astype(np.float64), class_ids[keep].astype(np.int64), Frame.CHIP
    )


def fold_normalisation(network: Network) -> Network:
    """Every convolution takes over the batch normalisation that follows it (``network`` must be in eval mode)."""
    pairs = (("convolution", "normalization"), ("conv", "norm"), ("0", "1"))
    for module in network.modules():
        for conv_name, norm_name in pairs:
            conv, norm = module._modules.get(conv_name), module._modules.get(norm_name)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
    return network
