"""What a training starts from: nothing, or the weights of another detector."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.detectors.oriented_rtdetr.folder import load_network
from pipeline.detectors.oriented_rtdetr.network import NetworkConfig, OrientedRTDetr


def first_network(init: Path | None, classes: int | None) -> OrientedRTDetr:
    """A fresh network of ``classes`` classes (None: those of ``init``, else one), with the weights of ``init``.

    Where ``init`` knows another number of classes, what depends on that number (scores, label embedding) stays fresh.
    Raises ModelError when ``init`` is no checkpoint of ours.
    """
    if init is None:
        return OrientedRTDetr(NetworkConfig(classes=classes or 1))
    learnt = load_network(init)
    if classes in (None, learnt.config.classes):
        return learnt
    network = OrientedRTDetr(replace(learnt.config, classes=classes))
    fresh = network.state_dict()
    fitting = {name: t for name, t in learnt.state_dict().items() if t.shape == fresh[name].shape}
    network.load_state_dict(fresh | fitting)
    return network
