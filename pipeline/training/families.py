"""The families of detectors that can be trained: how networks are made, written and read, and what trains them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.detectors.checkpoint import model_type
from pipeline.detectors.network_folder import NetworkFolder
from pipeline.detectors.oriented_fcos.folder import FOLDER as FCOS_FOLDER
from pipeline.detectors.oriented_fcos.running import runnable as runnable_fcos
from pipeline.detectors.oriented_rtdetr.folder import FOLDER as RTDETR_FOLDER
from pipeline.detectors.oriented_rtdetr.running import runnable as runnable_rtdetr
from pipeline.detectors.passes import Runnable
from pipeline.detectors.transformers_detr.folder import FOLDER as LIBRARY_FOLDER
from pipeline.detectors.transformers_detr.folder import LibraryFolder
from pipeline.errors import ConfigError, ModelError
from pipeline.names import listed, near_names, quoted
from pipeline.training.learner import Learner
from pipeline.training.losses.settings import FCOSLosses, LibraryLosses, RTDETRLosses
from pipeline.training.oriented_fcos import FCOSLearner
from pipeline.training.oriented_rtdetr import OrientedLearner
from pipeline.training.transformers_detr import LibraryLearner


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family of detectors, for training."""

    name: str
    folder: NetworkFolder[Any, Any] | LibraryFolder
    """How its networks are written and read; it knows their configuration and their class."""
    losses: type
    """Of the losses' settings: a frozen dataclass whose defaults are the plain training."""
    learner: Callable[[Any, Sequence[float] | None, Sequence[float] | None, Any], Learner]
    """Network, mean and std of pixels / 255 (None: as its backbone expects), losses' settings → what the loop asks."""
    runnable: Callable[[Any], Runnable] | None = None
    """A network, which is taken over → how a detector runs it; None where it is another's, and not traced here."""

    from_init: tuple[str, ...] = ()
    """Fields of its configuration that only a checkpoint says: without one there is nothing to start from."""

    @property
    def oriented(self) -> bool:
        """Whether its boxes have an angle."""
        return bool(self.network().oriented)

    @property
    def network(self) -> type:
        """Of the network's configuration: a frozen dataclass with ``classes``; every default is the plain network."""
        return self.folder.config

    def build(self, config: Any) -> Any:
        """A fresh network of that configuration, which is its ``config``."""
        return self.folder.network(config)


FAMILIES = (
    Family(
        name="oriented_rtdetr", folder=RTDETR_FOLDER, losses=RTDETRLosses, learner=OrientedLearner,
        runnable=runnable_rtdetr,
    ),
    Family(name="oriented_fcos", folder=FCOS_FOLDER, losses=FCOSLosses, learner=FCOSLearner, runnable=runnable_fcos),
    Family(
        name="transformers", folder=LIBRARY_FOLDER, losses=LibraryLosses, learner=LibraryLearner,
        from_init=("settings", "mean", "std", "input_px"),
    ),
)  # fmt: skip
"""The first is what is trained where nothing says another."""


def family_of(name: str) -> Family:
    """The family of that name. Raises ConfigError with the nearest name."""
    names = [one.name for one in FAMILIES]
    for one in FAMILIES:
        if one.name == name:
            return one
    near = near_names(name, names)
    hint = f"did you mean {near[0]}?" if near else f"there is {listed(names)}"
    raise ConfigError(f"network.family {quoted(name)} is none; {hint}")


def family_in(folder: Path) -> Family:
    """The family of the network whose ``config.json`` is in ``folder``. Raises ModelError where it is none of ours."""
    kind = model_type(folder)
    for one in FAMILIES:
        if kind in one.folder.model_types:
            return one
    kinds = [kind for one in FAMILIES for kind in one.folder.model_types]
    raise ModelError(f"{folder} holds a {quoted(kind)}, which cannot be trained here: what can is {listed(kinds)}")
