"""What a training starts from: nothing, or the weights of another detector."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.detectors.oriented_rtdetr.folder import load_network
from pipeline.detectors.oriented_rtdetr.network import OrientedRTDetr
from pipeline.training.families import Family
from pipeline.training.recipe import NetworkChoice


def first_network(family: Family, choice: NetworkChoice, classes: int) -> OrientedRTDetr:
    """A fresh network of ``classes`` classes and the chosen fields, with the weights of ``init`` where there is one.

    Where ``init`` knows another number of classes, or the choice asks for another part, what depends on that (scores,
    label embedding) stays fresh. Raises ModelError when ``init`` is no checkpoint of ours.
    """
    network: OrientedRTDetr
    if choice.init is None:
        network = family.build(family.network(**choice.fields, classes=classes))
        return network
    learnt = load_network(Path(choice.init))
    config = replace(learnt.config, **choice.fields, classes=classes)
    if config == learnt.config:
        return learnt
    network = family.build(config)
    fresh = network.state_dict()
    fitting = {name: t for name, t in learnt.state_dict().items() if name in fresh and t.shape == fresh[name].shape}
    network.load_state_dict(fresh | fitting)
    return network
