"""A small oriented RT-DETR with random weights, and its card."""

from __future__ import annotations

import torch

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


def small_network(seed: int = 0) -> OrientedRTDetr:
    """A network whose normalisation has seen data, so that folding it away changes something."""
    torch.manual_seed(seed)
    network = OrientedRTDetr(SMALL).train()
    for _ in range(5):
        network(torch.rand(2, 3, 64, 64))
    return network.eval()
