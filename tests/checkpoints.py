"""Small random checkpoints of every family, saved by the transformers library itself. Seeded; a second each at most.

``save_checkpoint(family, folder)`` is what other tests need: a folder that ``load_detector`` accepts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

CLASSES = ("boat", "quay", "crane")

_RESNET = {
    "embedding_size": 8, "hidden_sizes": [8, 12, 16, 20], "depths": [1, 1, 1, 1], "layer_type": "basic",
}  # fmt: skip
_SHARED = {"d_model": 32, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
           "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "num_queries": 24}  # fmt: skip
_HYBRID = {**_SHARED, "encoder_hidden_dim": 32, "encoder_in_channels": [12, 16, 20], "encoder_layers": 1,
           "decoder_in_channels": [32, 32, 32], "num_denoising": 0}  # fmt: skip

SQUARE = {"size": {"height": 96, "width": 128}, "do_normalize": False, "do_pad": False, "resample": 2,
          "image_processor_type": "RTDetrImageProcessor"}  # fmt: skip
SHORTEST = {"size": {"shortest_edge": 72, "longest_edge": 120}, "do_normalize": True, "do_pad": True, "resample": 2,
            "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}  # fmt: skip

FAMILIES = ("rt_detr", "rt_detr_v2", "d_fine", "deformable_detr", "conditional_detr", "detr")


def make_network(family: str, **settings: Any) -> Any:
    """A network of the family with random weights; the same ones in every run."""
    torch.manual_seed(20261121)
    names = dict(enumerate(CLASSES))
    labels = {"id2label": names, "label2id": {name: number for number, name in names.items()}}
    config = getattr(transformers, _CONFIGS[family])(**{**_settings(family), **labels, **settings})
    network = getattr(transformers, _CONFIGS[family].replace("Config", "ForObjectDetection"))(config)
    return _spread(network).eval()


def save_checkpoint(family: str, folder: Path, **settings: Any) -> Path:
    """Save :func:`make_network` with its preprocessor file into ``folder``. Returns it."""
    make_network(family, **settings).save_pretrained(folder)
    preprocessor = SQUARE if family in ("rt_detr", "rt_detr_v2", "d_fine") else SHORTEST
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


_CONFIGS = {
    "rt_detr": "RTDetrConfig",
    "rt_detr_v2": "RTDetrV2Config",
    "d_fine": "DFineConfig",
    "deformable_detr": "DeformableDetrConfig",
    "conditional_detr": "ConditionalDetrConfig",
    "detr": "DetrConfig",
}


def _settings(family: str) -> dict[str, Any]:
    if family in ("rt_detr", "rt_detr_v2"):
        backbone = transformers.RTDetrResNetConfig(**_RESNET, out_indices=[2, 3, 4])
        return {**_HYBRID, "backbone_config": backbone}
    if family == "d_fine":
        backbone = transformers.HGNetV2Config(
            embedding_size=8, stem_channels=[3, 8, 8], hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1],
            stage_in_channels=[8, 8, 12, 16], stage_mid_channels=[8, 8, 8, 8], stage_out_channels=[8, 12, 16, 20],
            stage_num_blocks=[1, 1, 1, 1], stage_numb_of_layers=[2, 2, 2, 2], out_indices=[2, 3, 4],
        )  # fmt: skip
        return {**_HYBRID, "backbone_config": backbone}
    levels = [2, 3, 4] if family == "deformable_detr" else [4]
    backbone = transformers.ResNetConfig(**_RESNET, out_indices=levels)
    return {**_SHARED, "encoder_layers": 2, "backbone_config": backbone, "use_timm_backbone": False}


def _spread(network: nn.Module) -> nn.Module:
    """Widen freshly initialised heads, whose answers would all be alike and hide mistakes in the order of things."""
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "class" in name or "score" in name or "bbox" in name:
                weight += 0.3 * torch.randn_like(weight)
    return network
