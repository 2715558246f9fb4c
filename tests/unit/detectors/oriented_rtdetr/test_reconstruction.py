"""SR-TOD inside the oriented RT-DETR: what its detector answers, and what reaches the threshold in training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.detectors.checkpoint import CONFIG
from pipeline.detectors.modules.dgfe import LearnableFiltration, OfficialFiltration
from pipeline.detectors.modules.reconstruction import Original
from pipeline.detectors.oriented_rtdetr.detector import OrientedDetector
from pipeline.detectors.oriented_rtdetr.folder import load_network, save_network
from pipeline.detectors.oriented_rtdetr.network import OrientedRTDetr
from pipeline.errors import ModelError
from pipeline.training.data.batches import Batch, Target
from pipeline.training.losses.settings import RTDETRLosses
from pipeline.training.oriented_rtdetr import OrientedLearner
from pipeline.types import Chip, Window
from tests.support.oriented import CARD, SMALL, small_network

FORMS = ("learnable", "official")


def chip(height: int, width: int, seed: int = 0) -> Chip:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Chip(pixels=pixels, window=Window(x=0, y=0, width=width, height=height))


@pytest.mark.parametrize("form", FORMS)
def test_a_detectors_map_is_the_mean_difference_of_its_own_reconstruction(form: str) -> None:
    """Recomputed from the features before enhancement, with numpy; the chip is padded from 40 x 56 to 64 x 64."""
    shown = chip(40, 56)
    detector = OrientedDetector(small_network(reconstruction=form), CARD)
    network, drawn = detector._network, []
    assert network.reconstruction is not None
    handle = network.reconstruction.register_forward_hook(lambda _module, _inputs, output: drawn.append(output))
    (look,) = detector.detect([shown], score_threshold=0.0)
    handle.remove()
    picture = drawn[0][0, :, :40, :56].numpy().transpose(1, 2, 0)
    difference = np.abs(picture - shown.pixels / 255).mean(axis=2)
    assert look.difference is not None
    np.testing.assert_allclose(look.difference.values, difference.reshape(5, 8, 7, 8).mean((1, 3)), atol=1e-6)


def test_enhancement_changes_the_finest_level_alone() -> None:
    plain, guided = small_network(), small_network(reconstruction="learnable")
    guided.load_state_dict(plain.state_dict(), strict=False)
    pixels = torch.rand(1, 3, 64, 64)
    original = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = plain.features(pixels).levels
        after = guided.features(pixels, Original(original, torch.ones(1, 1, 64, 64, dtype=torch.bool)))
    assert not torch.equal(before[0], after.levels[0])
    for ours, theirs in zip(before[1:], after.levels[1:], strict=True):
        assert torch.equal(ours, theirs)


def test_nan_in_a_reconstruction_is_refused_in_one_sentence() -> None:
    """One weight of the last convolution: no score and no box would tell."""
    network = small_network(reconstruction="learnable")
    assert network.reconstruction is not None
    with torch.no_grad():
        network.reconstruction.picture.bias[0] = torch.nan
    with pytest.raises(ModelError, match="NaN or infinity") as caught:
        OrientedDetector(network, CARD).detect([chip(64, 64)], score_threshold=0.0)
    assert "\n" not in str(caught.value)


def targets(count: int, size: int) -> Target:
    random = np.random.default_rng(count)
    boxes = np.column_stack(
        [random.uniform(0, size, (count, 2)), random.uniform(8, 20, count), random.uniform(3, 8, count),
         random.uniform(-1.5, 1.5, count)]
    )  # fmt: skip
    return Target(torch.from_numpy(boxes).float(), torch.zeros(count, dtype=torch.int64), torch.zeros(0, 5))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("counts", [(0, 0), (1, 0), (500, 3)])
def test_training_has_finite_gradients_whatever_there_is_to_find(form: str, counts: tuple[int, int]) -> None:
    """A gradient of the detection's losses alone reaches our threshold, and never the official one."""
    torch.manual_seed(0)
    network = OrientedRTDetr(replace(SMALL, reconstruction=form)).train()
    size = 96
    pixels = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8)
    batch = Batch(pixels, (targets(counts[0], size), targets(counts[1], size)))
    losses = OrientedLearner(network, losses=RTDETRLosses(reconstruction_weight=0.0)).losses(
        batch, torch.Generator().manual_seed(0)
    )
    torch.stack(list(losses.values())).sum().backward()
    gradients = {name: value.grad for name, value in network.named_parameters() if value.grad is not None}
    assert all(bool(gradient.isfinite().all()) for gradient in gradients.values())
    assert network.enhancement is not None
    filtration = network.enhancement.filtration
    if isinstance(filtration, LearnableFiltration):
        assert filtration.shift.grad is not None
        assert float(filtration.shift.grad) != 0
    else:
        assert isinstance(filtration, OfficialFiltration)
        assert filtration.threshold.grad is None or float(filtration.threshold.grad) == 0


def test_the_reconstruction_loss_has_its_weight_and_reaches_the_backbone() -> None:
    def losses(weight: float) -> tuple[float, OrientedRTDetr]:
        torch.manual_seed(0)
        network = OrientedRTDetr(replace(SMALL, reconstruction="learnable")).train()
        torch.manual_seed(1)
        pixels = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
        learner = OrientedLearner(network, losses=RTDETRLosses(reconstruction_weight=weight))
        loss = learner.losses(Batch(pixels, (targets(1, 64),)), torch.Generator().manual_seed(0))["reconstruction"]
        loss.backward()
        return float(loss.detach()), network

    (one, network), (three, _) = losses(1.0), losses(3.0)
    assert three == pytest.approx(3 * one)
    assert 0 < one < 1
    first = next(network.backbone.parameters())
    assert first.grad is not None
    assert (first.grad != 0).any()


def test_without_the_module_there_is_no_such_loss_and_no_such_weight() -> None:
    network = OrientedRTDetr(SMALL)
    batch = Batch(torch.zeros(1, 64, 64, 3, dtype=torch.uint8), (targets(1, 64),))
    assert "reconstruction" not in OrientedLearner(network).losses(batch, torch.Generator().manual_seed(0))
    assert not [name for name in network.state_dict() if name.startswith(("reconstruction", "enhancement"))]


@pytest.mark.parametrize("form", FORMS)
def test_a_folder_keeps_the_form_and_the_threshold_that_was_learnt(form: str, tmp_path: Path) -> None:
    network = small_network(reconstruction=form, reconstruction_threshold=0.05)
    assert network.enhancement is not None
    with torch.no_grad():
        for value in network.enhancement.filtration.parameters():
            value += 0.0123
    save_network(tmp_path, network)
    loaded = load_network(tmp_path)
    assert loaded.config == network.config
    ours, theirs = loaded.enhancement, network.enhancement
    assert ours is not None
    assert theirs is not None
    for name, value in theirs.filtration.state_dict().items():
        torch.testing.assert_close(ours.filtration.state_dict()[name], value, rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"reconstruction": "perfect"}, "reconstruction must be none, learnable or official, not 'perfect'"),
        ({"reconstruction_threshold": 0.0}, "reconstruction_threshold must lie between 0 and 1, not 0.0"),
        ({"reconstruction_threshold": float("nan")}, "reconstruction_threshold must lie between 0 and 1, not nan"),
        ({"reconstruction": "none"}, "does not fit the network"),
        ({"reconstruction": "official"}, "does not fit the network"),
    ],
    ids=str,
)
def test_a_config_that_contradicts_itself_or_its_weights_is_refused(
    said: dict[str, object], complaint: str, tmp_path: Path
) -> None:
    save_network(tmp_path, small_network(reconstruction="learnable"))
    config = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps(config | said))
    with pytest.raises(ModelError, match=complaint) as caught:
        load_network(tmp_path)
    assert "\n" not in str(caught.value)
