"""A small oriented RT-DETR with random weights, and its card."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from pipeline.detectors.modules.reconstruction import Original
from pipeline.detectors.oriented_rtdetr.network import NetworkConfig, OrientedRTDetr
from pipeline.types import ModelCard

SMALL = NetworkConfig(
    stage_channels=(16, 16, 16, 16), stage_depths=(1, 1, 1, 1), width=32, heads=2, decoder_layers=2, queries=20
)
CARD = ModelCard(
    name="small",
    classes=("ship",),
    gsd_m=6.0,
    bands=("red", "green", "blue"),
    input_px=64,
    sha256="0" * 64,
    oriented=True,
)


def small_network(seed: int = 0, **shape: Any) -> OrientedRTDetr:
    """A network whose normalisation has seen data, so that folding it away changes something; ``shape`` is of its
    config. One that reconstructs draws something of its own."""
    torch.manual_seed(seed)
    network = OrientedRTDetr(replace(SMALL, **shape)).train()
    for _ in range(5):
        pixels = torch.rand(2, 3, 64, 64)
        network(pixels, original=Original.of(pixels, CARD.mean, CARD.std))
    if network.reconstruction is not None:
        torch.nn.init.normal_(network.reconstruction.picture.weight, std=0.3)
    return network.eval()
