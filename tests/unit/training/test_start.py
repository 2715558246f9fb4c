"""What a training starts from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.detectors.modules.features import FeaturesConfig
from pipeline.errors import ConfigError, ModelError
from pipeline.training.families import FAMILIES
from pipeline.training.start import chosen_family, first_network
from tests.support.checkpoints import save_checkpoint
from tests.support.fcos import SMALL_FCOS
from tests.support.oriented import SMALL


@pytest.mark.parametrize("classes", [None, 1, 3])
@pytest.mark.parametrize("config", [SMALL, SMALL_FCOS], ids=lambda config: type(config).__name__)
def test_a_training_starts_from_all_that_does_not_depend_on_the_classes(
    config: FeaturesConfig, classes: int | None, tmp_path: Path
) -> None:
    (family,) = (one for one in FAMILIES if isinstance(config, one.network))
    learnt = family.build(config)
    family.folder.save(tmp_path, learnt)
    assert chosen_family(None, tmp_path) == family == chosen_family(family.name, tmp_path)
    start = first_network(family, tmp_path, classes)
    assert start.config.classes == (classes or 1)
    kept = [
        name for name, tensor in start.state_dict().items()
        if tensor.shape == learnt.state_dict()[name].shape and tensor.is_floating_point()
    ]  # fmt: skip
    changed = set(start.state_dict()) - set(kept)
    of_classes = {name for name in changed if name.startswith(("proposals.score", "score", "label_embedding"))}
    assert bool(of_classes) == (classes == 3)
    for name in kept:
        torch.testing.assert_close(start.state_dict()[name], learnt.state_dict()[name], rtol=1e-3, atol=1e-4)
    assert first_network(family, None, None).config.classes == 1


def test_a_family_is_named_or_that_of_the_first_weights(tmp_path: Path) -> None:
    assert chosen_family(None, None).name == "oriented_rtdetr"
    assert chosen_family("oriented_fcos", None).name == "oriented_fcos"
    with pytest.raises(ConfigError, match="no family 'oriented_fcso' can be trained; did you mean oriented_fcos"):
        chosen_family("oriented_fcso", None)
    fcos = FAMILIES[1]
    fcos.folder.save(tmp_path / "fcos", fcos.build(SMALL_FCOS))
    with pytest.raises(ConfigError, match=r"--family oriented_rtdetr, but the weights in .* are of oriented_fcos"):
        chosen_family("oriented_rtdetr", tmp_path / "fcos")
    foreign = save_checkpoint("detr", tmp_path / "detr")
    with pytest.raises(ModelError, match="holds a 'detr', which cannot be trained here"):
        chosen_family(None, foreign)
