"""Networks of the transformers library that are trained here, and the folders they are read from and written to.

What is written the library reads itself (``from_pretrained`` and its image processor), and this program too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import transformers
from torch import nn

from pipeline.detectors.checkpoint import CONFIG, WEIGHTS, check_sizes, model_type, read_json, read_state_dict
from pipeline.detectors.transformers_detr.card import foreign_card
from pipeline.detectors.transformers_detr.detector import load_network, quiet
from pipeline.detectors.transformers_detr.model_types import MODEL_TYPES
from pipeline.detectors.transformers_detr.nulls import without_nulls
from pipeline.detectors.transformers_detr.preprocessing import square_settings
from pipeline.detectors.transformers_detr.settings import PREPROCESSOR, side_step_px
from pipeline.detectors.transformers_detr.timm_resnet import replace_timm_backbone
from pipeline.errors import ModelError, one_sentence
from pipeline.types import ModelCard

_OURS = "kestrel"
"""Key of ``config.json`` in the folder of a run, which the library does not read: how pixels are normalised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryConfig:
    """The shape of one of the library's networks, and how pixels are shown to it."""

    classes: int = 1
    bands: int = 3
    settings: Mapping[str, Any] = field(default_factory=dict)
    """``config.json``, of whatever number of classes."""
    mean: tuple[float, ...] = ()
    """Of pixels / 255, one value a band."""
    std: tuple[float, ...] = ()
    input_px: int = 512
    """Side of the square it looks at, pixels: its boxes are shares of that, so what it learnt at one size it knows at
    that size."""

    @property
    def oriented(self) -> bool:
        """Boxes are horizontal."""
        return False

    @property
    def strides(self) -> tuple[int, ...]:
        """What sides of tiles are multiples of."""
        return (side_step_px(self.settings, self.kind),)

    @property
    def parts(self) -> tuple[str, ...]:
        """What the network is, in words for its card."""
        return (f"{self.kind} of the transformers library",)

    @property
    def kind(self) -> str:
        """``model_type`` of the library."""
        return str(self.settings["model_type"])

    def values(self) -> dict[str, Any]:
        """``config.json`` of this number of classes."""
        names = self.settings.get("id2label")
        if isinstance(names, dict) and len(names) == self.classes:
            return dict(self.settings)
        kept = {key: value for key, value in self.settings.items() if key not in ("id2label", "label2id")}
        return {**kept, "num_labels": self.classes}


class LibraryNetwork(nn.Module):
    """One of the library's networks, with the configuration that training asks for."""

    def __init__(self, config: LibraryConfig, inner: Any = None) -> None:
        """``inner`` is a network that is there already; without it a fresh one is made. Raises ModelError."""
        super().__init__()
        self.config = config
        self.inner = _fresh(config) if inner is None else inner

    def forward(self, **inputs: Any) -> Any:
        """What the library's network answers."""
        return self.inner(**inputs)


class LibraryFolder:
    """How the library's networks are written and read: what the training of a family needs."""

    model_types = tuple(MODEL_TYPES)
    config = LibraryConfig

    def network(self, config: LibraryConfig) -> LibraryNetwork:
        """A fresh network. Raises ModelError for a configuration that describes none."""
        return LibraryNetwork(config)

    def settings(self, config: LibraryConfig) -> dict[str, Any]:
        """What ``config.json`` in the folder of a run holds."""
        return {
            **config.values(),
            _OURS: {"mean": list(config.mean), "std": list(config.std), "input_px": config.input_px},
        }

    def read_config(self, folder: Path) -> LibraryConfig:
        """The shape of the network in ``folder``, a checkpoint or part of a run. Raises ModelError."""
        stated = read_json(folder / CONFIG)
        check_sizes(stated, folder / CONFIG)
        ours = stated.pop(_OURS, None)
        if ours is None:
            card = foreign_card(folder, model_type(folder))
            stated, _ = replace_timm_backbone(folder, stated, read_state_dict(folder))
            return LibraryConfig(
                classes=len(card.classes),
                bands=len(card.bands),
                settings=stated,
                mean=card.mean,
                std=card.std,
                input_px=card.input_px,
            )
        mean, std = (tuple(float(value) for value in ours[key]) for key in ("mean", "std"))
        names = stated.get("id2label")
        classes = len(names) if isinstance(names, dict) else int(stated["num_labels"])
        return LibraryConfig(
            settings=stated, classes=classes, bands=len(mean), mean=mean, std=std, input_px=int(ours["input_px"])
        )

    def load(self, folder: Path) -> LibraryNetwork:
        """The network of the checkpoint in ``folder``, float32, in eval mode. Raises ModelError."""
        return LibraryNetwork(self.read_config(folder), load_network(folder, model_type(folder))).eval()

    def export(self, folder: Path, network: LibraryNetwork, card: ModelCard) -> None:
        """Write weights, configuration with the card's classes and a ``preprocessor_config.json`` with its size and
        normalisation to ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        library = network.inner
        library.config.id2label = dict(enumerate(card.classes))
        library.config.label2id = {name: number for number, name in enumerate(card.classes)}
        with quiet():
            library.save_pretrained(folder)
        (folder / WEIGHTS).chmod(0o644)
        kind = MODEL_TYPES[network.config.kind]
        settings = {**square_settings(card.input_px, card.mean, card.std), "do_pad": kind.defaults["do_pad"]}
        content = {"image_processor_type": kind.processor_class, **settings}
        (folder / PREPROCESSOR).write_text(json.dumps(content, indent=2) + "\n")


FOLDER = LibraryFolder()


def _fresh(config: LibraryConfig) -> Any:
    kind = MODEL_TYPES[config.kind]
    config_class = getattr(transformers, kind.config_class)
    try:
        described = config_class.from_dict(without_nulls(config.values(), config_class))
        return getattr(transformers, kind.network_class)(described)
    except (ArithmeticError, AttributeError, ImportError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"{CONFIG} describes no {config.kind} that can be built: {one_sentence(error)}") from error
