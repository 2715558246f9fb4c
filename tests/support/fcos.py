"""A small oriented FCOS with random weights; its card is that of ``tests/support/oriented.py``."""

from __future__ import annotations

import torch

from pipeline.detectors.modules.reconstruction import Original
from pipeline.detectors.oriented_fcos.network import FCOSConfig, OrientedFCOS
from tests.support.oriented import CARD

SMALL_FCOS = FCOSConfig(stage_channels=(16, 16, 16, 16), stage_depths=(1, 1, 1, 1), width=32, tower_layers=2)


def small_fcos(config: FCOSConfig = SMALL_FCOS, seed: int = 0) -> OrientedFCOS:
    """A network whose normalisation has seen data, and whose points do not all say the same.

    Its boxes are small and hardly overlap: which of two that score alike stays would be a matter of rounding. One that
    reconstructs draws something of its own.
    """
    torch.manual_seed(seed)
    network = OrientedFCOS(config).train()
    with torch.no_grad():
        for last in (network.score, network.box, network.quality):
            last.weight.normal_(std=0.1)
        network.box.bias[2:4] = -2.0
    for _ in range(5):
        pixels = torch.rand(2, 3, 64, 64)
        network(pixels, Original.of(pixels, CARD.mean, CARD.std))
    if network.reconstruction is not None:
        torch.nn.init.normal_(network.reconstruction.picture.weight, std=0.3)
    return network.eval()
