"""What a training starts from: nothing, or the weights of another detector."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from pipeline.detectors.modules.efficientnet_lite import EfficientNetLite
from pipeline.detectors.weights import HUB_NAME, hub_folder
from pipeline.errors import ConfigError
from pipeline.training.families import Family, family_in
from pipeline.training.pretrained import load_backbone
from pipeline.training.recipe import NetworkChoice
from pipeline.training.sections import make


def first_config(family: Family, choice: NetworkChoice, classes: int, bands: int = 3) -> Any:
    """The configuration of :func:`first_network`: what was chosen, and else that of ``init``, or the family's defaults.

    Raises ConfigError for ``init`` and ``pretrained`` both, for other ``bands`` than the scenes', and for what does not
    go together; ModelError when ``init`` is no checkpoint of ours.
    """
    if choice.fields.get("bands", bands) != bands:
        raise ConfigError(
            f"network.bands is {choice.fields['bands']}, but the prepared scenes have {bands}: leave it out"
        )
    if choice.init is None:
        return make(family.network, {**choice.fields, "classes": classes, "bands": bands}, "network")
    if choice.pretrained is not None:
        raise ConfigError("--init brings its own backbone: leave --pretrained out")
    known = init_config(family, init_folder(choice.init))
    if known.bands != bands:
        raise ConfigError(
            f"--init {choice.init} looks at {known.bands} band(s), the scenes have {bands}: leave --init out, or "
            "prepare the scenes with its bands"
        )
    own = {name: getattr(known, name) for name in known.__dataclass_fields__}
    return make(type(known), {**own, **choice.fields, "classes": classes}, "network")


@cache
def init_folder(init: str) -> Path:
    """The folder of ``--init``: a local one, or that of a model of the hub. Raises ModelError."""
    if not Path(init).exists() and HUB_NAME.fullmatch(init):
        return hub_folder(init)
    return Path(init)


def init_config(family: Family, init: Path) -> Any:
    """The configuration of the weights in ``init``. Raises ConfigError when they are of another family, ModelError when
    they are no checkpoint of ours."""
    other = family_in(init)
    if other != family:
        raise ConfigError(
            f"the weights in {init} are of {other.name}, but {family.name} is to be trained: give --family "
            f"{other.name} (network.family), or leave --init out"
        )
    return family.folder.read_config(init)


def first_network(family: Family, choice: NetworkChoice, classes: int, bands: int = 3) -> Any:
    """A fresh network of ``classes`` classes and the chosen fields, with the weights of ``init`` where there is one.

    Where ``init`` knows another number of classes, or the choice asks for another part, what depends on that (scores,
    label embedding) stays fresh. With ``pretrained`` the backbone has the weights of that folder. Its normalisation
    statistics stay as they are. Raises as :func:`first_config`, and ConfigError for a ``pretrained`` that holds no
    backbone.
    """
    config = first_config(family, choice, classes, bands)
    if choice.init is None:
        network = family.build(config)
        if choice.pretrained is not None:
            load_backbone(Path(choice.pretrained), network.backbone)
        return network
    network = learnt = family.folder.load(init_folder(choice.init))
    if config != learnt.config:
        network = family.build(config)
        fresh = network.state_dict()
        fitting = {n: t for n, t in learnt.state_dict().items() if n in fresh and t.shape == fresh[n].shape}
        network.load_state_dict(fresh | fitting)
    if isinstance(getattr(network, "backbone", None), EfficientNetLite):
        network.backbone.frozen_statistics = True
    return network
