"""SR-TOD inside the oriented FCOS: what its detector answers, and what reaches the threshold in training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.detectors.modules.dgfe import LearnableFiltration, OfficialFiltration
from pipeline.detectors.oriented_fcos.detector import OrientedFCOSDetector
from pipeline.detectors.oriented_fcos.folder import load_network, save_network
from pipeline.detectors.oriented_fcos.network import OrientedFCOS
from pipeline.errors import ModelError
from pipeline.training.data.batches import Batch, Target
from pipeline.training.losses.settings import FCOSLosses
from pipeline.training.oriented_fcos import FCOSLearner
from pipeline.types import Chip, Window
from tests.support.fcos import SMALL_FCOS, small_fcos
from tests.support.oriented import CARD

DRAWING = replace(SMALL_FCOS, reconstruction="learnable")
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
CHIP = Chip(pixels=PIXELS, window=Window(x=0, y=0, width=56, height=40))


def test_a_detectors_map_is_the_mean_difference_of_its_own_reconstruction() -> None:
    """The chip is padded to 64 x 64; recomputed with numpy."""
    detector, drawn = OrientedFCOSDetector(small_fcos(DRAWING), CARD), []
    network = detector._network
    assert network.reconstruction is not None
    handle = network.reconstruction.register_forward_hook(lambda _module, _inputs, output: drawn.append(output))
    (look,) = detector.detect([CHIP], score_threshold=0.0)
    handle.remove()
    difference = np.abs(drawn[0][0, :, :40, :56].numpy().transpose(1, 2, 0) - PIXELS / 255).mean(axis=2)
    assert look.difference is not None
    np.testing.assert_allclose(look.difference.values, difference.reshape(5, 8, 7, 8).mean((1, 3)), atol=1e-6)


def test_nan_in_a_reconstruction_is_refused() -> None:
    network = small_fcos(DRAWING)
    assert network.reconstruction is not None
    with torch.no_grad():
        network.reconstruction.picture.bias[0] = torch.nan
    with pytest.raises(ModelError, match="NaN or infinity"):
        OrientedFCOSDetector(network, CARD).detect([CHIP], score_threshold=0.0)


@pytest.mark.parametrize("form", ["learnable", "official"])
@pytest.mark.parametrize("count", [0, 1, 500])
def test_training_has_finite_gradients_whatever_there_is_to_find(form: str, count: int) -> None:
    """A gradient of the detection's losses alone reaches our threshold, and never the official one."""
    torch.manual_seed(0)
    network = OrientedFCOS(replace(SMALL_FCOS, reconstruction=form)).train()
    random, size = np.random.default_rng(count), 96
    boxes = np.column_stack(
        [random.uniform(0, size, (count, 2)), random.uniform(8, 20, count), random.uniform(3, 8, count),
         random.uniform(-1.5, 1.5, count)]
    )  # fmt: skip
    target = Target(torch.from_numpy(boxes).float(), torch.zeros(count, dtype=torch.int64), torch.zeros(0, 5))
    batch = Batch(torch.randint(0, 256, (1, size, size, 3), dtype=torch.uint8), (target,))
    learner = FCOSLearner(network, losses=FCOSLosses(reconstruction_weight=0.0))
    torch.stack(list(learner.losses(batch, torch.Generator()).values())).sum().backward()
    gradients = [value.grad for value in network.parameters() if value.grad is not None]
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    assert network.enhancement is not None
    filtration = network.enhancement.filtration
    if isinstance(filtration, LearnableFiltration):
        assert filtration.shift.grad is not None
        assert float(filtration.shift.grad) != 0
    else:
        assert isinstance(filtration, OfficialFiltration)
        assert filtration.threshold.grad is None or float(filtration.threshold.grad) == 0


def test_the_reconstruction_loss_has_its_weight() -> None:
    target = Target(torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 5))
    batch = Batch(torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8), (target,))

    def loss(weight: float) -> float:
        learner = FCOSLearner(small_fcos(DRAWING), losses=FCOSLosses(reconstruction_weight=weight))
        return float(learner.losses(batch, torch.Generator())["reconstruction"].detach())

    assert 0 < loss(1.0) < 1
    assert loss(3.0) == pytest.approx(3 * loss(1.0))


def test_a_folder_keeps_the_module(tmp_path: Path) -> None:
    network = small_fcos(DRAWING)
    save_network(tmp_path, network)
    loaded = load_network(tmp_path)
    assert loaded.config == network.config
    assert loaded.enhancement is not None
