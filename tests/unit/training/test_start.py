"""What a training starts from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.detectors.modules.features import FeaturesConfig
from pipeline.errors import ConfigError, ModelError
from pipeline.training.families import FAMILIES, family_of
from pipeline.training.recipe import NetworkChoice
from pipeline.training.start import first_config, first_network
from tests.support.checkpoints import save_checkpoint
from tests.support.fcos import SMALL_FCOS
from tests.support.oriented import SMALL


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("config", [SMALL, SMALL_FCOS], ids=lambda config: type(config).__name__)
def test_a_training_starts_from_all_that_does_not_depend_on_the_classes(
    config: FeaturesConfig, classes: int, tmp_path: Path
) -> None:
    (family,) = (one for one in FAMILIES if isinstance(config, one.network))
    learnt = family.build(config)
    family.folder.save(tmp_path, learnt)
    start = first_network(family, NetworkChoice(init=str(tmp_path)), classes)
    assert start.config.classes == classes
    kept = [
        name for name, tensor in start.state_dict().items()
        if tensor.shape == learnt.state_dict()[name].shape and tensor.is_floating_point()
    ]  # fmt: skip
    changed = set(start.state_dict()) - set(kept)
    of_classes = {name for name in changed if name.startswith(("proposals.score", "score", "label_embedding"))}
    assert bool(of_classes) == (classes == 3)
    for name in kept:
        torch.testing.assert_close(start.state_dict()[name], learnt.state_dict()[name], rtol=1e-3, atol=1e-4)
    assert first_network(family, NetworkChoice(), 2).config.classes == 2


def test_weights_are_of_the_family_that_is_trained(tmp_path: Path) -> None:
    rtdetr, fcos, library = FAMILIES
    fcos.folder.save(tmp_path / "fcos", fcos.build(SMALL_FCOS))
    assert family_of("oriented_fcos") == fcos
    with pytest.raises(ConfigError, match=r"are of oriented_fcos, but oriented_rtdetr is to be trained: give --family"):
        first_config(rtdetr, NetworkChoice(init=str(tmp_path / "fcos")), 1)
    foreign = save_checkpoint("detr", tmp_path / "detr")
    with pytest.raises(ConfigError, match="are of transformers, but oriented_rtdetr is to be trained"):
        first_config(rtdetr, NetworkChoice(init=str(foreign)), 1)
    assert first_config(library, NetworkChoice(init=str(foreign)), 1).classes == 1
    (foreign / "config.json").write_text('{"model_type": "pp_doclayout_v2"}')
    with pytest.raises(ModelError, match="holds a 'pp_doclayout_v2', which cannot be trained here"):
        first_config(library, NetworkChoice(init=str(foreign)), 1)


@pytest.mark.parametrize("receptive_field", ["first", "last"])
def test_an_adapter_may_be_added_to_the_weights_of_a_plain_network(receptive_field: str, tmp_path: Path) -> None:
    (_, fcos, _) = FAMILIES
    learnt = fcos.build(SMALL_FCOS)
    fcos.folder.save(tmp_path, learnt)
    choice = NetworkChoice(family="oriented_fcos", init=str(tmp_path), fields={"receptive_field": receptive_field})
    start = first_network(fcos, choice, 1).state_dict()
    for name, tensor in learnt.state_dict().items():
        torch.testing.assert_close(start[name], tensor, rtol=1e-3, atol=1e-4)
