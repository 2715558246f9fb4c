"""Small random checkpoints of every family, saved by the transformers library itself. Seeded; a second each at most.

``save_checkpoint(family, folder)`` is what other tests need: a folder that ``load_detector`` accepts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn

CLASSES = ("boat", "quay", "crane")

_RESNET = {
    "embedding_size": 8, "hidden_sizes": [8, 12, 16, 20], "depths": [1, 1, 1, 1], "layer_type": "basic",
}  # fmt: skip
_SHARED = {"d_model": 32, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
           "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "num_queries": 24}  # fmt: skip
_HYBRID = {**_SHARED, "encoder_hidden_dim": 32, "encoder_in_channels": [12, 16, 20], "encoder_layers": 1,
           "decoder_in_channels": [32, 32, 32], "num_denoising": 0}  # fmt: skip

_GROUPS = {"d_model": 32, "decoder_layers": 2, "decoder_self_attention_heads": 4, "decoder_cross_attention_heads": 4,
           "decoder_ffn_dim": 48, "num_queries": 24, "group_detr": 2, "c2f_num_blocks": 1}  # fmt: skip
_YOLOS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
          "image_size": [96, 128], "num_detection_tokens": 24}  # fmt: skip

SQUARE = {"size": {"height": 96, "width": 128}, "do_normalize": False, "do_pad": False, "resample": 2,
          "image_processor_type": "RTDetrImageProcessor"}  # fmt: skip
SHORTEST = {"size": {"shortest_edge": 72, "longest_edge": 120}, "do_normalize": True, "do_pad": True, "resample": 2,
            "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}  # fmt: skip

WINDOWED = {**SHORTEST, "size": {"height": 96, "width": 96}}
_PREPROCESSORS = {
    **dict.fromkeys(("rt_detr", "rt_detr_v2", "d_fine", "deimv2"), SQUARE),
    **dict.fromkeys(("rf_detr", "lw_detr"), WINDOWED),
}

_CONFIGS = {
    "rt_detr": "RTDetrConfig",
    "rt_detr_v2": "RTDetrV2Config",
    "d_fine": "DFineConfig",
    "deformable_detr": "DeformableDetrConfig",
    "conditional_detr": "ConditionalDetrConfig",
    "detr": "DetrConfig",
    "deimv2": "Deimv2Config",
    "rf_detr": "RfDetrConfig",
    "lw_detr": "LwDetrConfig",
    "dab-detr": "DabDetrConfig",
    "yolos": "YolosConfig",
}
FAMILIES = tuple(_CONFIGS)


def make_network(family: str, **settings: Any) -> Any:
    """A network of the family with random weights; the same ones in every run."""
    torch.manual_seed(20261121)
    labels = {"id2label": dict(enumerate(CLASSES)), "label2id": {name: number for number, name in enumerate(CLASSES)}}
    config = getattr(transformers, _CONFIGS[family])(**{**_settings(family), **labels, **settings})
    network = getattr(transformers, _CONFIGS[family].replace("Config", "ForObjectDetection"))(config)
    return _spread(network).eval()


def save_checkpoint(family: str, folder: Path, *, max_shard_size: str = "1GB", **settings: Any) -> Path:
    """Save :func:`make_network` with its preprocessor file into ``folder``. Returns it."""
    transformers.logging.disable_progress_bar()
    make_network(family, **settings).save_pretrained(folder, max_shard_size=max_shard_size)
    (folder / "preprocessor_config.json").write_text(json.dumps(_PREPROCESSORS.get(family, SHORTEST)))
    return folder


def save_timm_checkpoint(family: str, folder: Path, *, bottleneck: bool, spelling: str) -> TimmResNet:
    """A checkpoint as the first DETRs were published: a backbone of timm under timm's names. Returns that backbone.

    ``spelling``: ``flat`` is the configuration as transformers 4 wrote it, ``nested`` as transformers 5 does.
    """
    widths = [16, 24, 32, 40] if bottleneck else [8, 12, 16, 20]
    resnet = {
        **_RESNET,
        "hidden_sizes": widths,
        "layer_type": "bottleneck" if bottleneck else "basic",
        "depths": [2, 1, 2, 1],
    }
    out = [2, 3, 4] if family == "deformable_detr" else [4]
    save_checkpoint(family, folder, backbone_config=transformers.ResNetConfig(**resnet, out_indices=out))
    backbone = TimmResNet(widths, depths=[2, 1, 2, 1], bottleneck=bottleneck).eval()
    others = {
        name: weight for name, weight in load_file(folder / "model.safetensors").items() if "backbone.conv" not in name
    }
    prefix = "model.backbone.conv_encoder.model."
    save_file({**others, **{prefix + name: weight for name, weight in backbone.state_dict().items()}},
              folder / "model.safetensors")  # fmt: skip
    config = json.loads((folder / "config.json").read_text())
    if spelling == "flat":
        kwargs = {"in_chans": 3, "out_indices": out if family == "deformable_detr" else [1, 2, 3, 4]}
        config |= {"backbone": "resnet50", "backbone_config": None, "use_timm_backbone": True, "dilation": False}
        config |= {"use_pretrained_backbone": True, "backbone_kwargs": kwargs}
    else:
        nested = {"model_type": "timm_backbone", "backbone": "resnet50.a1_in1k", "num_channels": 3, "out_indices": out}
        config["backbone_config"] = {**nested, "features_only": True, "use_pretrained_backbone": False}
    (folder / "config.json").write_text(json.dumps(config))
    return backbone


class TimmResNet(nn.Module):
    """A plain ResNet with random statistics, written from the paper, its weights named as timm names them."""

    def __init__(self, widths: list[int], *, depths: list[int], bottleneck: bool) -> None:
        super().__init__()
        torch.manual_seed(50)
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False), _random_norm(8)
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True), start=1):
            entering = 8 if stage == 1 else widths[stage - 2]
            blocks = [
                _Block(width if block else entering, width, 2 if stage > 1 and not block else 1, bottleneck)
                for block in range(depth)
            ]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """The features of the four stages."""
        x = nn.functional.max_pool2d(self.bn1(self.conv1(pixels)).relu(), 3, 2, 1)
        features = []
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
            features.append(x)
        return features


class _Block(nn.Module):
    def __init__(self, entering: int, leaving: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        inner = leaving // 4 if bottleneck else leaving
        self.chain = []
        shapes = ((entering, inner, 1, 1), (inner, inner, 3, stride), (inner, leaving, 1, 1))
        for number, (i, o, kernel, step) in enumerate(shapes if bottleneck else
                ((entering, inner, 3, stride), (inner, leaving, 3, 1)), start=1):  # fmt: skip
            self.add_module(f"conv{number}", nn.Conv2d(i, o, kernel, step, kernel // 2, bias=False))
            self.add_module(f"bn{number}", _random_norm(o))
            self.chain.append(number)
        if stride != 1 or entering != leaving:
            self.downsample = nn.Sequential(nn.Conv2d(entering, leaving, 1, stride, bias=False), _random_norm(leaving))
        else:
            self.downsample = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for number in self.chain:
            y = self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(y))
            y = y.relu() if number < len(self.chain) else y
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


def _random_norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.normal_(norm.bias, std=0.2)
    nn.init.normal_(norm.running_mean, std=0.2)
    nn.init.uniform_(norm.running_var, 0.5, 1.5)
    return norm


def _settings(family: str) -> dict[str, Any]:
    if family in ("rt_detr", "rt_detr_v2"):
        backbone = transformers.RTDetrResNetConfig(**_RESNET, out_indices=[2, 3, 4])
        return {**_HYBRID, "backbone_config": backbone}
    if family in ("d_fine", "deimv2"):
        backbone = transformers.HGNetV2Config(
            embedding_size=8, stem_channels=[3, 8, 8], hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1],
            stage_in_channels=[8, 8, 12, 16], stage_mid_channels=[8, 8, 8, 8], stage_out_channels=[8, 12, 16, 20],
            stage_num_blocks=[1, 1, 1, 1], stage_numb_of_layers=[2, 2, 2, 2], out_indices=[2, 3, 4],
        )  # fmt: skip
        return {**_HYBRID, "backbone_config": backbone}
    if family in ("rf_detr", "lw_detr"):
        return {**_GROUPS, **_windowed(family)}
    if family == "yolos":
        return _YOLOS
    if family == "dab-detr":
        backbone = transformers.ResNetConfig(**_RESNET, out_indices=[1, 2, 3, 4])
        shared = {key: value for key, value in _SHARED.items() if key != "d_model"}
        return {**shared, "hidden_size": 32, "encoder_layers": 2, "backbone_config": backbone}
    levels = [2, 3, 4] if family == "deformable_detr" else [4]
    backbone = transformers.ResNetConfig(**_RESNET, out_indices=levels)
    return {**_SHARED, "encoder_layers": 2, "backbone_config": backbone, "use_timm_backbone": False}


def _windowed(family: str) -> dict[str, Any]:
    """A vision transformer of 3 x 3 windows of 4 x 4 patches at 96 px, or of 2 x 2 windows of 3 x 3."""
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    if family == "rf_detr":
        backbone = transformers.RfDetrDinov2Config(
            **small, image_size=96, patch_size=8, num_windows=3, out_indices=[1, 2]
        )
        return {"backbone_config": backbone}
    backbone = transformers.LwDetrViTConfig(
        **small,
        image_size=96,
        patch_size=16,
        pretrain_image_size=96,
        num_windows=4,
        window_block_indices=[0],
        out_indices=[0, 1],
    )
    return {"backbone_config": backbone, "projector_scale_factors": [2.0, 1.0]}


def _spread(network: Any) -> Any:
    """Widen fresh weights: an untrained network answers everything alike, which hides mistakes in the order."""
    bounded = network.config.model_type not in ("rf_detr", "lw_detr")  # else boxes leave the picture, scores are all 1
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "class" in name or "score" in name:
                weight.normal_(std=0.5 if bounded else 0.3)
            if "bbox" in name and not bounded:
                weight += 0.03 * torch.randn_like(weight)
            elif "bbox" in name or ("decoder.layers" in name and weight.ndim == 2):
                weight += 0.3 * torch.randn_like(weight)
            if "detection_tokens" in name or ("query" in name and ".attention." not in name and "proj" not in name):
                weight += 2 * torch.randn_like(weight)
    return network
