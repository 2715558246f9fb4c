"""The oriented FCOS as a :class:`~pipeline.detectors.protocol.Detector`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from pipeline.detectors.card import read_card
from pipeline.detectors.difference import difference_maps
from pipeline.detectors.distinct import distinct
from pipeline.detectors.network_detector import NetworkDetector
from pipeline.detectors.oriented_fcos.folder import load_network
from pipeline.detectors.oriented_fcos.network import OrientedFCOS
from pipeline.detectors.oriented_fcos.running import runnable
from pipeline.detectors.torch_chips import (
    batch_of,
    check_card,
    check_finite,
    detections_of,
    original_of,
    sizes_of,
)
from pipeline.types import Chip, Look, ModelCard


class OrientedFCOSDetector(NetworkDetector):
    """Oriented boxes from chips of any size. Same chips, same weights, same threads: same numbers."""

    def __init__(self, network: OrientedFCOS, card: ModelCard, device: str = "cpu", precision: str = "float32") -> None:
        """``network`` is taken over and changed: convolutions swallow the normalisation that only they have."""
        super().__init__(runnable(network), card, device, precision)
        self._network = network

    @torch.inference_mode()
    def detect(self, chips: Sequence[Chip], *, score_threshold: float, attention: bool = False) -> list[Look]:
        """See :meth:`pipeline.detectors.protocol.Detector.detect`. A dense network has no attention map to give."""
        if not chips:
            return []
        pixels = batch_of(chips, self._card, self._network.config.strides[-1], self._device)
        original = original_of(pixels, chips, self._card, self._network.config)
        answer, _ = self._pass(pixels, 0, original, attention=False)
        scores, boxes = answer.scores.cpu().numpy(), answer.boxes.cpu().numpy()
        check_finite(self._card, scores, boxes)
        differences = difference_maps(answer.difference, sizes_of(chips))
        return [
            Look(distinct(detections_of(s, b, chip, score_threshold)), None, undrawn)
            for s, b, chip, undrawn in zip(scores, boxes, chips, differences, strict=True)
        ]


def load(folder: Path, *, device: str, precision: str) -> OrientedFCOSDetector:
    """The oriented FCOS stored in ``folder``. Raises ModelError when anything in it does not fit."""
    network, card = load_network(folder), read_card(folder)
    check_card(folder, card, network.config)
    return OrientedFCOSDetector(network, card, device, precision)
