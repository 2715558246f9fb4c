"""What a training starts from: nothing, or the weights of another detector."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.detectors.modules.efficientnet_lite import EfficientNetLite
from pipeline.detectors.modules.features import EFFICIENTNET_LITE0
from pipeline.detectors.oriented_rtdetr.folder import load_network
from pipeline.detectors.oriented_rtdetr.network import NetworkConfig, OrientedRTDetr
from pipeline.errors import ConfigError
from pipeline.training.pretrained import load_backbone


def first_network(init: Path | None, classes: int | None, pretrained: Path | None = None) -> OrientedRTDetr:
    """A fresh network of ``classes`` classes (None: those of ``init``, else one), with the weights of ``init``.

    Where ``init`` knows another number of classes, what depends on that number (scores, label embedding) stays fresh.
    With ``pretrained`` the backbone is EfficientNet-Lite0, with the weights of that folder; its normalisation
    statistics stay as they are. Raises ModelError when ``init`` is no checkpoint of ours, ConfigError for both or for a
    ``pretrained`` that holds no backbone.
    """
    if init is not None and pretrained is not None:
        raise ConfigError("--init brings its own backbone: leave --pretrained out")
    if pretrained is not None:
        network = OrientedRTDetr(NetworkConfig(classes=classes or 1, backbone=EFFICIENTNET_LITE0))
        load_backbone(pretrained, network.backbone)
        return network
    if init is None:
        return OrientedRTDetr(NetworkConfig(classes=classes or 1))
    learnt = load_network(init)
    network = learnt
    if classes not in (None, learnt.config.classes):
        network = OrientedRTDetr(replace(learnt.config, classes=classes))
        fresh = network.state_dict()
        fitting = {name: t for name, t in learnt.state_dict().items() if t.shape == fresh[name].shape}
        network.load_state_dict(fresh | fitting)
    if isinstance(network.backbone, EfficientNetLite):
        network.backbone.frozen_statistics = True
    return network
