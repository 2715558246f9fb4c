"""What a training starts from: nothing, or the weights of another detector."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.detectors.modules.efficientnet_lite import EfficientNetLite
from pipeline.detectors.modules.features import EFFICIENTNET_LITE0, FeatureNetwork
from pipeline.errors import ConfigError
from pipeline.training.families import FAMILIES, Family, family_in, family_of
from pipeline.training.pretrained import load_backbone


def chosen_family(name: str | None, init: Path | None) -> Family:
    """The family of that name; without one that of the weights in ``init``, else the first there is.

    Raises ConfigError for a name that is none or is another one than that of ``init``, ModelError when ``init`` is no
    checkpoint of ours.
    """
    if init is None:
        return FAMILIES[0] if name is None else family_of(name)
    family = family_in(init)
    if name not in (None, family.name):
        asked = family_of(str(name)).name
        raise ConfigError(f"--family {asked}, but the weights in {init} are of {family.name}: leave one of them out")
    return family


def first_network(
    family: Family, init: Path | None, classes: int | None, pretrained: Path | None = None
) -> FeatureNetwork:
    """A fresh network of ``classes`` classes (None: those of ``init``, else one), with the weights of ``init``.

    Where ``init`` knows another number of classes, what depends on that number (scores, label embedding) stays fresh.
    With ``pretrained`` the backbone is EfficientNet-Lite0, with the weights of that folder; its normalisation
    statistics stay as they are. Raises ModelError when ``init`` is no checkpoint of the family, ConfigError for both or
    for a ``pretrained`` that holds no backbone.
    """
    if init is not None and pretrained is not None:
        raise ConfigError("--init brings its own backbone: leave --pretrained out")
    if pretrained is not None:
        network = family.build(family.network(classes=classes or 1, backbone=EFFICIENTNET_LITE0))
        load_backbone(pretrained, network.backbone)
        return network
    if init is None:
        return family.build(family.network(classes=classes or 1))
    learnt: FeatureNetwork = family.folder.load(init)
    network = learnt
    if classes not in (None, learnt.config.classes):
        network = family.build(replace(learnt.config, classes=classes))
        fresh = network.state_dict()
        fitting = {name: t for name, t in learnt.state_dict().items() if t.shape == fresh[name].shape}
        network.load_state_dict(fresh | fitting)
    if isinstance(network.backbone, EfficientNetLite):
        network.backbone.frozen_statistics = True
    return network
