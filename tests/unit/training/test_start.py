"""What a training starts from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.detectors.oriented_rtdetr.folder import save_network
from pipeline.detectors.oriented_rtdetr.network import NetworkConfig, OrientedRTDetr
from pipeline.training.families import family_of
from pipeline.training.recipe import NetworkChoice
from pipeline.training.start import first_network

RTDETR = family_of("oriented_rtdetr")


@pytest.mark.parametrize("classes", [1, 3])
def test_a_training_starts_from_all_that_does_not_depend_on_the_classes(classes: int, tmp_path: Path) -> None:
    config = NetworkConfig(
        stage_channels=(16, 16, 16, 16), stage_depths=(1, 1, 1, 1), width=32, heads=2, decoder_layers=1
    )
    learnt = OrientedRTDetr(config)
    save_network(tmp_path, learnt)
    start = first_network(RTDETR, NetworkChoice(init=str(tmp_path)), classes)
    assert start.config.classes == classes
    kept = [
        name for name, tensor in start.state_dict().items()
        if tensor.shape == learnt.state_dict()[name].shape and tensor.is_floating_point()
    ]  # fmt: skip
    changed = set(start.state_dict()) - set(kept)
    of_classes = {name for name in changed if name.startswith(("proposals.score", "score_heads", "label_embedding"))}
    assert bool(of_classes) == (classes == 3)
    for name in kept:
        torch.testing.assert_close(start.state_dict()[name], learnt.state_dict()[name], rtol=1e-3, atol=1e-4)
    assert first_network(RTDETR, NetworkChoice(), 2).config.classes == 2
