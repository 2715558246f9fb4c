"""Checkpoints whose backbone is timm's ResNet, rewritten for the transformers library's own ResNet.

The first DETR checkpoints (e.g. ``facebook/detr-resnet-50``) name timm as the home of their backbone. Both
libraries build the same network (He et al. 2016, arXiv:1512.03385, with the stride in the 3 x 3 convolution of a
bottleneck); only the names of the weights differ, and are mapped here one to one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.detectors.transformers_detr.model_types import MODEL_TYPES
from pipeline.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor


_PLAIN_RESNET = re.compile(r"resnet\d+(\.\w+)?")
"""Names of timm's plain ResNets; ``resnet50d``, ``resnext…``, ``wide_resnet…`` are other networks."""

_BACKBONE_KEY = re.compile(r"(?P<prefix>.*\bbackbone\.(?:conv_encoder\.)?model\.)(?P<name>(?:conv1|bn1|layer\d)\..*)")
_BLOCK_KEY = re.compile(
    r"layer(?P<stage>\d)\.(?P<block>\d+)\.(?P<part>conv|bn|downsample\.)(?P<number>\d)\.(?P<leaf>\w+)"
)


def replace_timm_backbone(
    folder: Path, config: Mapping[str, Any], tensors: dict[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """``config`` and ``tensors`` without timm: a ResNet config in place of timm's name, and renamed weights.

    Both come back as they are when the checkpoint does not need timm. Raises ModelError when it needs a backbone
    other than a plain ResNet.
    """
    timm = _timm_settings(config)
    if timm is None:
        return dict(config), tensors
    name = str(timm.get("backbone") or "resnet50")
    dilated = bool(config.get("dilation")) or timm.get("output_stride") not in (None, 32)
    backbone = {match["name"]: tensor for key, tensor in tensors.items() if (match := _BACKBONE_KEY.fullmatch(key))}
    if not _PLAIN_RESNET.fullmatch(name) or dilated or "layer1.0.conv1.weight" not in backbone:
        raise ModelError(
            f"{folder}: the backbone is timm's {name}{' with dilation' if dilated else ''}, and only its plain "
            "ResNets can be loaded without timm: use a checkpoint with a backbone of the transformers library"
        )
    rewritten = {key: value for key, value in config.items() if key not in _TIMM_KEYS}
    rewritten |= {"backbone_config": _resnet_config(backbone, _out_indices(config, timm)), "use_timm_backbone": False}
    return rewritten, {_rename(key): tensor for key, tensor in tensors.items()}


_TIMM_KEYS = (
    "backbone",
    "backbone_config",
    "backbone_kwargs",
    "use_pretrained_backbone",
    "use_timm_backbone",
    "dilation",
)


def _timm_settings(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the configuration says about a timm backbone, in either of the library's two spellings; None without one."""
    kind = MODEL_TYPES.get(str(config.get("model_type")))
    if kind is None or not kind.from_timm:
        return None
    backbone = config.get("backbone_config")
    if isinstance(backbone, dict):
        return dict(backbone) if backbone.get("model_type") == "timm_backbone" else None
    if config.get("use_timm_backbone", True):
        kwargs = config.get("backbone_kwargs")
        return {**(kwargs if isinstance(kwargs, dict) else {}), "backbone": config.get("backbone")}
    return None


def _out_indices(config: Mapping[str, Any], timm: Mapping[str, Any]) -> list[int]:
    """Stages whose features are used; timm and the library number them alike (0 is the stem)."""
    if timm.get("out_indices"):
        return [int(index) for index in timm["out_indices"]]
    if config["model_type"] == "deformable_detr":
        levels = config.get("num_feature_levels")
        return [2, 3, 4] if levels is None or levels > 1 else [4]
    return [1, 2, 3, 4]


def _resnet_config(backbone: Mapping[str, Tensor], out_indices: list[int]) -> dict[str, Any]:
    """Widths, depths and kind of block, read off the shapes of the weights under their timm names."""
    bottleneck = "layer1.0.conv3.weight" in backbone
    last = "conv3" if bottleneck else "conv2"
    stages = sorted({int(name[5]) for name in backbone if name.startswith("layer")})
    blocks = {
        stage: {int(name.split(".")[1]) for name in backbone if name.startswith(f"layer{stage}.")} for stage in stages
    }
    return {
        "model_type": "resnet",
        "num_channels": int(backbone["conv1.weight"].shape[1]),
        "embedding_size": int(backbone["conv1.weight"].shape[0]),
        "hidden_sizes": [int(backbone[f"layer{stage}.0.{last}.weight"].shape[0]) for stage in stages],
        "depths": [len(blocks[stage]) for stage in stages],
        "layer_type": "bottleneck" if bottleneck else "basic",
        "hidden_act": "relu",
        "out_indices": out_indices,
    }


def _rename(key: str) -> str:
    """A weight's name in the library's ResNet; names outside a timm backbone stay."""
    found = _BACKBONE_KEY.fullmatch(key)
    if not found:
        return key
    prefix, name = found["prefix"], found["name"]
    if name.startswith(("conv1.", "bn1.")):
        module = "convolution" if name.startswith("conv1.") else "normalization"
        return f"{prefix}embedder.embedder.{module}.{name.split('.', 1)[1]}"
    block = _BLOCK_KEY.fullmatch(name)
    if not block:
        return key
    number, leaf = int(block["number"]), block["leaf"]
    if block["part"] == "downsample.":
        inner = f"shortcut.{'normalization' if number else 'convolution'}"
    else:
        inner = f"layer.{number - 1}.{'convolution' if block['part'] == 'conv' else 'normalization'}"
    return f"{prefix}encoder.stages.{int(block['stage']) - 1}.layers.{block['block']}.{inner}.{leaf}"
