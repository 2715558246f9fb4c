"""The folder of a network of our own: ``config.json``, ``model.safetensors`` and ``card.json``.

Weights are 16-bit, running statistics 32-bit. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.overrides import TorchFunctionMode

from pipeline.detectors.checkpoint import CONFIG, WEIGHTS, check_numbers, check_sizes, read_json
from pipeline.detectors.modules.features import FeatureNetwork, FeaturesConfig
from pipeline.errors import ModelError, one_sentence
from pipeline.names import brief, listed
from pipeline.types import ModelCard

Config = TypeVar("Config", bound=FeaturesConfig)
Network = TypeVar("Network", bound=FeatureNetwork)


class Undrawn(TorchFunctionMode):
    """Inside, no normal numbers are drawn: for tensors without memory that would import torch's compiler, for a second
    of nothing."""

    def __torch_function__(
        self, function: Any, _types: Any, given: tuple[Any, ...] = (), named: dict[str, Any] | None = None
    ) -> Any:
        if getattr(function, "__name__", "") == "normal_":
            return given[0] if given else (named or {})["tensor"]
        return function(*given, **(named or {}))


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFolder(Generic[Config, Network]):
    """How the networks of one family are written and read."""

    model_type: str
    config: type[Config]
    """Its fields are the keys of ``config.json`` besides ``model_type``."""
    network: Callable[[Config], Network]

    @property
    def model_types(self) -> tuple[str, ...]:
        """Of the checkpoints that hold one."""
        return (self.model_type,)

    def export(self, folder: Path, network: Network, _card: ModelCard) -> None:
        """:meth:`save`: what a card says of such a network stands in the card alone."""
        self.save(folder, network)

    def settings(self, config: FeaturesConfig) -> dict[str, Any]:
        """What ``config.json`` holds of a network of that shape."""
        return {"model_type": self.model_type, **config.values()}

    def save(self, folder: Path, network: Network) -> None:
        """Write ``config.json`` and ``model.safetensors`` (16-bit where float32 is not needed) to ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).write_text(json.dumps(self.settings(network.config), indent=2) + "\n")
        statistics = ("running_mean", "running_var")
        tensors = {
            name: tensor.detach().cpu().half().contiguous()
            if tensor.is_floating_point() and not name.endswith(statistics)
            else tensor.detach().cpu().contiguous()
            for name, tensor in network.state_dict().items()
            if not name.endswith("num_batches_tracked")
        }
        save_file(tensors, folder / WEIGHTS)
        (folder / WEIGHTS).chmod(0o644)  # the library makes it private

    def load(self, folder: Path) -> Network:
        """The network stored in ``folder``, float32, in eval mode. Raises ModelError when the files do not fit."""
        config = self.read_config(folder)
        try:
            tensors = load_file(folder / WEIGHTS)
            with (
                torch.device("meta"),
                Undrawn(),
            ):  # a config may promise any size: no memory is taken before the weights agree
                shapes = self.network(config).state_dict()
        except (OSError, SafetensorError) as error:
            raise ModelError(f"cannot read the weights {folder / WEIGHTS}: {error}") from error
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise ModelError(
                f"{folder / CONFIG} describes no network that can be built: {one_sentence(error)}"
            ) from error
        wanted = {name: t.shape for name, t in shapes.items() if not name.endswith("num_batches_tracked")}
        found = {name: tensor.shape for name, tensor in tensors.items()}
        if wanted != found:
            unlike = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
            raise ModelError(
                f"{folder / WEIGHTS} does not fit the network of {CONFIG}: {len(unlike)} tensors are missing, "
                f"unknown or of another shape, the first is {brief(unlike[0])}"
            )
        check_numbers(folder, tensors)
        network = self.network(config)
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, strict=False)
        return network.eval()

    def read_config(self, folder: Path) -> Config:
        """The network's shape from ``config.json``. Raises ModelError when it is missing or not of this family."""
        path = folder / CONFIG
        try:
            values = read_json(path)
            check_sizes(values, path)
            if values.pop("model_type") != self.model_type:
                raise ModelError(f"{path} is not of model type {self.model_type}")
            known = {field.name for field in fields(self.config)}
            if unknown := sorted(values.keys() - known):
                raise ModelError(f"{path} has settings this version does not know: {listed(unknown)}")
            checked: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
            return self.config(**checked)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ModelError(f"{path} is not a configuration of the oriented detector: {error}") from error
