"""Which parameters of a network decay, and how fast each learns."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

BACKBONE = re.compile(r"(inner\.model\.)?backbone\.")
"""Where parameters of a backbone are: in our networks, and in those of the transformers library."""


def parameter_groups(network: nn.Module, decay: float, backbone_rate: float) -> list[dict[str, Any]]:
    """Groups for an optimiser: matrices and kernels decay, biases and normalisation do not. ``share`` is a group's
    share of the learning rate.

    A backbone that learns as fast as all else is in no groups of its own, so that the optimisers of older runs go on.
    """
    named = [(name, one) for name, one in network.named_parameters() if one.requires_grad]
    apart = [one for name, one in named if backbone_rate != 1 and BACKBONE.match(name)]
    others = [one for name, one in named if backbone_rate == 1 or not BACKBONE.match(name)]
    shares = [(1.0, others)] + ([(backbone_rate, apart)] if apart else [])
    return [
        {"params": [one for one in own if (one.ndim > 1) == wide], "weight_decay": weight_decay, "share": share}
        for share, own in shares
        for wide, weight_decay in ((True, decay), (False, 0.0))
    ]
