"""The oriented RT-DETR as a :class:`~pipeline.detectors.protocol.Detector`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.detectors.attention import Placement, QueryWeights, watch
from pipeline.detectors.card import read_card
from pipeline.detectors.difference import difference_maps
from pipeline.detectors.oriented_rtdetr.deformable_attention import decoder_of
from pipeline.detectors.oriented_rtdetr.folder import load_network
from pipeline.detectors.oriented_rtdetr.network import OrientedRTDetr
from pipeline.detectors.torch_boxes import canonical
from pipeline.detectors.torch_chips import (
    PRECISIONS,
    batch_of,
    check_card,
    check_finite,
    detections_of,
    fold_normalisation,
    original_of,
    sizes_of,
)
from pipeline.types import Chip, Look, ModelCard


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

    @property
    def card(self) -> ModelCard:
        return self._card

    @torch.inference_mode()
    def detect(self, chips: Sequence[Chip], *, score_threshold: float, attention: bool = False) -> list[Look]:
        """See :meth:`pipeline.detectors.protocol.Detector.detect`."""
        if not chips:
            return []
        pixels = batch_of(chips, self._card, self._network.config.strides[-1], self._device)
        original = original_of(pixels, chips, self._card, self._network.config)
        autocast = torch.autocast(self._device.type, self._precision, enabled=self._precision != torch.float32)
        with watch(decoder_of(self._network) if attention else None) as record, autocast:
            output = self._network(pixels, share=max(chip.share for chip in chips), original=original)
        layers = output.layers
        # Every decoder layer judges the same queries; their mean ranks better than the last alone (see the card).
        scores = torch.stack([layer.logits for layer in layers]).sigmoid().mean(0).cpu().numpy()
        boxes = canonical(layers[-1].boxes.float()).cpu().numpy()
        check_finite(self._card, scores, boxes)
        placements = [_placement(chip, pixels) for chip in chips]
        of_query = scores.max(-1).astype(np.float64) if self.query_weights == "score" else None
        maps = record.maps(placements, of_query)
        differences = difference_maps(output.features.difference, sizes_of(chips))
        return [
            Look(detections_of(s, b, chip, score_threshold), seen, undrawn)
            for s, b, chip, seen, undrawn in zip(scores, boxes, chips, maps, differences, strict=True)
        ]


def _placement(chip: Chip, pixels: Tensor) -> Placement:
    """Where a chip lies in its padded (B, C, H, W) batch."""
    height, width = chip.pixels.shape[:2]
    return Placement(height=height, width=width, share_y=height / pixels.shape[2], share_x=width / pixels.shape[3])


def load(folder: Path, *, device: str, precision: str) -> OrientedDetector:
    """The oriented detector stored in ``folder``. Raises ModelError when anything in it does not fit."""
    network, card = load_network(folder), read_card(folder)
    check_card(folder, card, network.config)
    return OrientedDetector(network, card, device, precision)
