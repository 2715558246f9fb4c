"""The oriented RT-DETR as a :class:`~pipeline.detectors.protocol.Detector`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pipeline.detectors.attention import Placement, QueryWeights, watch
from pipeline.detectors.card import read_card
from pipeline.detectors.difference import difference_maps
from pipeline.detectors.modules.reconstruction import Original
from pipeline.detectors.oriented_rtdetr.deformable_attention import decoder_of
from pipeline.detectors.oriented_rtdetr.folder import load_network
from pipeline.detectors.oriented_rtdetr.network import OrientedRTDetr
from pipeline.detectors.oriented_rtdetr.torch_boxes import canonical
from pipeline.errors import ModelError
from pipeline.names import listed
from pipeline.types import Chip, Detections, Frame, Look, ModelCard

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class OrientedDetector:
    """Oriented boxes from chips of any size. Same chips, same weights, same threads: same numbers."""

    query_weights: QueryWeights = "mean"

    def __init__(
        self, network: OrientedRTDetr, card: ModelCard, device: str = "cpu", precision: str = "float32"
    ) -> None:
        """``network`` is taken over and changed: convolutions swallow their batch normalisation."""
        self._card = card
        self._device = torch.device(device)
        self._precision = PRECISIONS[precision]
        self._network = fold_normalisation(network.eval()).to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._mean = torch.tensor(card.mean, device=self._device).view(1, -1, 1, 1)
        self._std = torch.tensor(card.std, device=self._device).view(1, -1, 1, 1)

    @property
    def card(self) -> ModelCard:
        return self._card

    @torch.inference_mode()
    def detect(self, chips: Sequence[Chip], *, score_threshold: float, attention: bool = False) -> list[Look]:
        """See :meth:`pipeline.detectors.protocol.Detector.detect`."""
        if not chips:
            return []
        pixels = self.batch(chips)
        sizes = [(chip.pixels.shape[0], chip.pixels.shape[1]) for chip in chips]
        original = (
            Original.of(pixels, self._card.mean, self._card.std, sizes) if self._network.config.reconstructs else None
        )
        autocast = torch.autocast(self._device.type, self._precision, enabled=self._precision != torch.float32)
        with watch(decoder_of(self._network) if attention else None) as record, autocast:
            output = self._network(pixels, share=max(chip.share for chip in chips), original=original)
        layers = output.layers
        # Every decoder layer judges the same queries; their mean ranks better than the last alone (see the card).
        scores = torch.stack([layer.logits for layer in layers]).sigmoid().mean(0).cpu().numpy()
        boxes = canonical(layers[-1].boxes.float()).cpu().numpy()
        if not (np.isfinite(scores).all() and np.isfinite(boxes).all()):
            raise ModelError(f"model {self._card.name}: the network answered NaN or infinity; its weights are damaged")
        placements = [_placement(chip, pixels) for chip in chips]
        of_query = scores.max(-1).astype(np.float64) if self.query_weights == "score" else None
        maps = record.maps(placements, of_query)
        differences = difference_maps(output.features.difference, sizes)
        return [
            Look(detections_of(s, b, chip, score_threshold), seen, undrawn)
            for s, b, chip, seen, undrawn in zip(scores, boxes, chips, maps, differences, strict=True)
        ]

    def batch(self, chips: Sequence[Chip]) -> Tensor:
        """(B, C, H, W) normalised; chips are padded below and to the right with black, which means "no data"."""
        stride = self._network.config.strides[-1]
        height = -(-max(chip.pixels.shape[0] for chip in chips) // stride) * stride
        width = -(-max(chip.pixels.shape[1] for chip in chips) // stride) * stride
        pixels = np.zeros((len(chips), height, width, len(self._card.mean)), np.uint8)
        for row, chip in zip(pixels, chips, strict=True):
            if chip.pixels.shape[2] != row.shape[2]:
                raise ModelError(
                    f"model {self._card.name} takes {row.shape[2]} bands ({listed(self._card.bands)}), the chip has "
                    f"{chip.pixels.shape[2]}; choose bands with --raster.bands"
                )
            row[: chip.pixels.shape[0], : chip.pixels.shape[1]] = chip.pixels
        return normalise(torch.from_numpy(pixels).to(self._device), self._mean, self._std)


def _placement(chip: Chip, pixels: Tensor) -> Placement:
    """Where a chip lies in its padded (B, C, H, W) batch."""
    height, width = chip.pixels.shape[:2]
    return Placement(height=height, width=width, share_y=height / pixels.shape[2], share_x=width / pixels.shape[3])


def normalise(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(B, H, W, C) uint8 → (B, C, H, W) float32, channels last in memory: (pixels / 255 - mean) / std."""
    return (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std


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


def fold_normalisation(network: OrientedRTDetr) -> OrientedRTDetr:
    """Every convolution takes over the batch normalisation that follows it (``network`` must be in eval mode)."""
    pairs = (("convolution", "normalization"), ("conv", "norm"), ("0", "1"))
    for module in network.modules():
        for conv_name, norm_name in pairs:
            conv, norm = module._modules.get(conv_name), module._modules.get(norm_name)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
    return network


def load(folder: Path, *, device: str, precision: str) -> OrientedDetector:
    """The oriented detector stored in ``folder``. Raises ModelError when anything in it does not fit."""
    network, card = load_network(folder), read_card(folder)
    if len(card.classes) != network.config.classes:
        raise ModelError(
            f"{folder}: the card names {len(card.classes)} classes, the network has {network.config.classes}"
        )
    if len(card.bands) != network.config.bands:
        raise ModelError(f"{folder}: the card names {len(card.bands)} bands, the network has {network.config.bands}")
    return OrientedDetector(network, card, device, precision)
