"""The oriented RT-DETR as a :class:`~pipeline.detectors.protocol.Detector`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.detectors.attention import Placement, QueryWeights
from pipeline.detectors.card import read_card
from pipeline.detectors.difference import difference_maps
from pipeline.detectors.network_detector import NetworkDetector
from pipeline.detectors.oriented_rtdetr.folder import load_network
from pipeline.detectors.oriented_rtdetr.network import OrientedRTDetr
from pipeline.detectors.oriented_rtdetr.running import runnable
from pipeline.detectors.protocol import queries_for
from pipeline.detectors.torch_chips import (
    batch_of,
    check_card,
    check_finite,
    detections_of,
    original_of,
    sizes_of,
)
from pipeline.types import Chip, Look, ModelCard


class OrientedDetector(NetworkDetector):
    """Oriented boxes from chips of any size. Same chips, same weights, same threads: same numbers."""

    query_weights: QueryWeights = "mean"

    def __init__(
        self, network: OrientedRTDetr, card: ModelCard, device: str = "cpu", precision: str = "float32"
    ) -> None:
        """``network`` is taken over and changed: convolutions swallow their batch normalisation."""
        super().__init__(runnable(network), card, device, precision)
        self._network = network

    @torch.inference_mode()
    def detect(self, chips: Sequence[Chip], *, score_threshold: float, attention: bool = False) -> list[Look]:
        """See :meth:`pipeline.detectors.protocol.Detector.detect`."""
        if not chips:
            return []
        pixels = batch_of(chips, self._card, self._network.config.strides[-1], self._device)
        original = original_of(pixels, chips, self._card, self._network.config)
        queries = queries_for(max(chip.share for chip in chips), self._network.config.queries)
        answer, record = self._pass(pixels, queries, original, attention)
        scores, boxes = answer.scores.cpu().numpy(), answer.boxes.cpu().numpy()
        check_finite(self._card, scores, boxes)
        placements = [_placement(chip, pixels) for chip in chips]
        of_query = scores.max(-1).astype(np.float64) if self.query_weights == "score" else None
        maps = record.maps(placements, of_query)
        differences = difference_maps(answer.difference, sizes_of(chips))
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
