"""Detectors of every kind that the probe knows, and the chips they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.detectors.cross_attention import Decoder
from pipeline.detectors.loading import load_detector
from pipeline.detectors.oriented_rtdetr.deformable_attention import decoder_of as oriented_decoder
from pipeline.detectors.oriented_rtdetr.detector import OrientedDetector
from pipeline.detectors.transformers_detr.attention import decoder_of as library_decoder
from pipeline.detectors.transformers_detr.model_types import MODEL_TYPES
from pipeline.types import Chip, Window
from tests.support.checkpoints import FAMILIES, save_checkpoint
from tests.support.oriented import CARD, small_network

KINDS = (*(one for one in FAMILIES if MODEL_TYPES[one].cross_attention), "rt_detr_v2 discrete", "oriented")
SIZES = ((50, 70), (70, 50), (33, 60))
"""Chips of unlike shapes: padded into one batch, or resized, or padded to whole strides."""


def make_detector(kind: str, folder: Path) -> Any:
    if kind == "oriented":
        return OrientedDetector(_stirred(small_network()), CARD)
    family, _, method = kind.partition(" ")
    return load_detector(save_checkpoint(family, folder, **({"decoder_method": method} if method else {})))


def _stirred(network: nn.Module) -> Any:
    """Queries that look elsewhere and weigh their samples differently: a fresh network's all look alike."""
    torch.manual_seed(3)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "sampling_offsets" in name or "attention_weights" in name:
                weight += 0.5 * torch.randn_like(weight)
    return network


def network_of(detector: Any) -> nn.Module:
    network: nn.Module = detector._network if isinstance(detector, OrientedDetector) else detector.network
    return network


def decoder_of(detector: Any) -> Decoder:
    """What the detector's family hands over to the probe."""
    if isinstance(detector, OrientedDetector):
        return oriented_decoder(network_of(detector))
    decoder = library_decoder(detector.network, MODEL_TYPES[detector.network.config.model_type])
    assert decoder is not None
    return decoder


def make_chips(sizes: Sequence[tuple[int, int]] = SIZES) -> list[Chip]:
    rng = np.random.default_rng(11)
    return [
        Chip(pixels=rng.integers(0, 256, (*size, 3), np.uint8), window=Window(x=0, y=0, width=size[1], height=size[0]))
        for size in sizes
    ]
