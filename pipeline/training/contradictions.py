"""Settings that count for nothing without another one: whoever gives them believes that something else is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.errors import ConfigError
from pipeline.names import quoted
from pipeline.training.sections import defaults

NEEDS = {
    "losses.eta": "losses.sample_refinement",
    "losses.offset_weight": "losses.sample_refinement",
    "losses.attention_weight": "losses.sample_refinement",
    "losses.beta": "losses.scale_aligned",
    "losses.theta": "losses.scale_aligned",
    "losses.gamma": "losses.better_class_loss",
    "losses.alpha": "losses.better_class_loss",
    "losses.foreground_weight": "network.foreground",
    "losses.reconstruction_weight": "network.reconstruction",
    "network.reconstruction_threshold": "network.reconstruction",
}
"""Setting → the part that it is of. A family that has neither is not asked."""
_OFF = (False, "none")


def check_together(network: Any, losses: Any) -> None:
    """Raise ConfigError for a setting other than its default whose part is off.

    ``network`` is the configuration of the network that is trained, ``losses`` are the settings of its losses.
    """
    sections = {"network": network, "losses": losses}
    plain = {name: defaults(type(one)) for name, one in sections.items()}
    for setting, part in NEEDS.items():
        section, key = setting.split(".")
        other, switch = part.split(".")
        value = getattr(sections[section], key, None)
        if key in plain[section] and value != plain[section][key] and getattr(sections[other], switch, False) in _OFF:
            shown = quoted(list(value) if isinstance(value, tuple) else value)
            raise ConfigError(
                f"{setting} is {shown}, but {part} is off: it would change nothing; switch that on, or leave it out"
            )


def check_tiles(network: Any, sizes_px: Sequence[int], tiles: int) -> None:
    """Raise ConfigError for tiles that the network cannot be trained on: ``tiles`` of them in a step, squares of one of
    these sides.

    ``network`` is its configuration, whose coarsest level has to divide them.
    """
    coarsest = network.strides[-1]
    for side in sizes_px:
        if side % coarsest:
            raise ConfigError(
                f"schedule.sizes_px: {side} is no multiple of {coarsest}, the network's coarsest stride: give other "
                "sides, or fewer stages"
            )
    if tiles == 1 and min(sizes_px) == coarsest:  # one value a channel
        raise ConfigError(
            f"schedule.tiles: one tile of {coarsest} px is too little to normalise a step by: use more, or larger ones"
        )
