"""What a training starts from: nothing, or the weights of another detector."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.detectors.modules.efficientnet_lite import EfficientNetLite
from pipeline.detectors.modules.features import EFFICIENTNET_LITE0
from pipeline.detectors.oriented_rtdetr.folder import load_network
from pipeline.detectors.oriented_rtdetr.network import OrientedRTDetr
from pipeline.errors import ConfigError
from pipeline.training.families import Family
from pipeline.training.pretrained import load_backbone
from pipeline.training.recipe import NetworkChoice


def first_network(family: Family, choice: NetworkChoice, classes: int) -> OrientedRTDetr:
    """A fresh network of ``classes`` classes and the chosen fields, with the weights of ``init`` where there is one.

    Where ``init`` knows another number of classes, or the choice asks for another part, what depends on that (scores,
    label embedding) stays fresh. With ``pretrained`` the backbone is EfficientNet-Lite0, with the weights of that
    folder; its normalisation statistics stay as they are. Raises ModelError when ``init`` is no checkpoint of ours,
    ConfigError for both or for a ``pretrained`` that holds no backbone, or not that of the chosen fields.
    """
    if choice.init is not None and choice.pretrained is not None:
        raise ConfigError("--init brings its own backbone: leave --pretrained out")
    network: OrientedRTDetr
    if choice.pretrained is not None:
        fields = {"backbone": EFFICIENTNET_LITE0, **choice.fields}
        network = family.build(family.network(**fields, classes=classes))
        load_backbone(Path(choice.pretrained), network.backbone)
        return network
    if choice.init is None:
        network = family.build(family.network(**choice.fields, classes=classes))
        return network
    learnt = load_network(Path(choice.init))
    config = replace(learnt.config, **choice.fields, classes=classes)
    network = learnt
    if config != learnt.config:
        network = family.build(config)
        fresh = network.state_dict()
        fitting = {name: t for name, t in learnt.state_dict().items() if name in fresh and t.shape == fresh[name].shape}
        network.load_state_dict(fresh | fitting)
    if isinstance(network.backbone, EfficientNetLite):
        network.backbone.frozen_statistics = True
    return network
