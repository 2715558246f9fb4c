"""The families of detectors that can be trained: what a recipe may say of each, and the learner that is made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.detectors.oriented_rtdetr.network import NetworkConfig, OrientedRTDetr
from pipeline.errors import ConfigError
from pipeline.names import listed, near_names, quoted
from pipeline.training.learner import Learner
from pipeline.training.losses.settings import RTDETRLosses
from pipeline.training.oriented_rtdetr import OrientedLearner


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family of detectors, for training."""

    name: str
    network: type
    """Of the network's configuration: a frozen dataclass with ``classes``; every default is the plain network."""
    losses: type
    """Of the losses' settings: a frozen dataclass whose defaults are the plain training."""
    learner: Callable[[Any, Sequence[float], Sequence[float], Any], Learner]
    """Network, mean and std of pixels / 255, losses' settings → what the loop asks."""
    build: Callable[[Any], Any]
    """Configuration → fresh network."""


FAMILIES = (
    Family(
        name="oriented_rtdetr",
        network=NetworkConfig,
        losses=RTDETRLosses,
        learner=OrientedLearner,
        build=OrientedRTDetr,
    ),
)


def family_of(name: str) -> Family:
    """The family of that name. Raises ConfigError with the nearest name."""
    names = [one.name for one in FAMILIES]
    for one in FAMILIES:
        if one.name == name:
            return one
    near = near_names(name, names)
    raise ConfigError(
        f"network.family {quoted(name)} is none; {f'did you mean {near[0]}?' if near else f'there is {listed(names)}'}"
    )
