"""What a training starts from: nothing, or the weights of another detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.detectors.modules.efficientnet_lite import EfficientNetLite
from pipeline.detectors.modules.features import EFFICIENTNET_LITE0
from pipeline.detectors.oriented_rtdetr.folder import load_network, read_config
from pipeline.detectors.oriented_rtdetr.network import OrientedRTDetr
from pipeline.errors import ConfigError
from pipeline.training.families import Family
from pipeline.training.pretrained import load_backbone
from pipeline.training.recipe import NetworkChoice
from pipeline.training.sections import make


def first_config(family: Family, choice: NetworkChoice, classes: int) -> Any:
    """The configuration of :func:`first_network`: what was chosen, and else that of ``init``, or the family's defaults.

    With ``pretrained`` the backbone is EfficientNet-Lite0. Raises ConfigError for ``init`` and ``pretrained`` both and
    for what does not go together, ModelError when ``init`` is no checkpoint of ours.
    """
    if choice.init is None:
        backbone = {} if choice.pretrained is None else {"backbone": EFFICIENTNET_LITE0}
        return make(family.network, {**backbone, **choice.fields, "classes": classes}, "network")
    if choice.pretrained is not None:
        raise ConfigError("--init brings its own backbone: leave --pretrained out")
    known = read_config(Path(choice.init))
    own = {name: getattr(known, name) for name in known.__dataclass_fields__}
    return make(type(known), {**own, **choice.fields, "classes": classes}, "network")


def first_network(family: Family, choice: NetworkChoice, classes: int) -> OrientedRTDetr:
    """A fresh network of ``classes`` classes and the chosen fields, with the weights of ``init`` where there is one.

    Where ``init`` knows another number of classes, or the choice asks for another part, what depends on that (scores,
    label embedding) stays fresh. With ``pretrained`` the backbone has the weights of that folder. Its normalisation
    statistics stay as they are. Raises as :func:`first_config`, and ConfigError for a ``pretrained`` that holds no
    backbone.
    """
    config = first_config(family, choice, classes)
    network: OrientedRTDetr
    if choice.init is None:
        network = family.build(config)
        if choice.pretrained is not None:
            load_backbone(Path(choice.pretrained), network.backbone)
        return network
    learnt = load_network(Path(choice.init))
    network = learnt
    if config != learnt.config:
        network = family.build(config)
        fresh = network.state_dict()
        fitting = {n: t for n, t in learnt.state_dict().items() if n in fresh and t.shape == fresh[n].shape}
        network.load_state_dict(fresh | fitting)
    if isinstance(network.backbone, EfficientNetLite):
        network.backbone.frozen_statistics = True
    return network
