"""The model types of the transformers library that are loaded, and in what they differ: the one list of them. No torch.

A new one of the same make is one more entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
_COMMON = {**_IMAGENET, "do_resize": True, "resample": 2, "do_rescale": True, "rescale_factor": 1 / 255}
_SHORTEST = {**_COMMON, "size": {"shortest_edge": 800, "longest_edge": 1333}, "do_normalize": True, "do_pad": True}
_SQUARE = {**_COMMON, "size": {"height": 640, "width": 640}, "do_normalize": False, "do_pad": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossAttention:
    """How a decoder's cross-attention is found in the network, and read."""

    module: str
    """What the paths of its modules, one a decoder layer, end with."""
    read: Literal["deformable", "sampled", "detr", "conditional", "dab"]
    """Which reader of ``attention.py`` knows what goes in and out of them."""
    last_features: str | None = None
    """End of the path of what brings the last feature map to the encoder, of dense attention: it knows its shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Attention within windows of the picture, which all have to be of one size."""

    patch_px: int
    """Side of a patch, where the backbone's ``patch_size`` does not say it."""
    count: int
    """Of windows, where its ``num_windows`` does not say it."""
    along_a_side: bool
    """Whether it counts those along a side, not all of them."""


_DEFORMABLE = CrossAttention(module="encoder_attn", read="deformable")
_SAMPLED = CrossAttention(module="cross_attn.attn", read="sampled")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelType:
    """What the detector has to know of one of the library's networks."""

    library: str
    """What the names of its classes begin with: ``<library>Config``, ``<library>ForObjectDetection``."""
    processor: str
    """What the name of its image processor begins with, which stands in ``preprocessor_config.json``."""
    defaults: Mapping[str, Any]
    """What the library's processor does where ``preprocessor_config.json`` says nothing."""
    cross_attention: CrossAttention | None
    """How its decoder looks at the picture; None: it has none to ask."""
    picks_queries: bool = False
    """Its queries are the encoder's best proposals, any number of them."""
    from_timm: bool = False
    """Its configuration falls back to a backbone of timm; the others have backbones of their own."""
    sigmoid: bool = True
    """Trained with a focal loss unless its configuration says otherwise; else softmax with "no object" last."""
    takes_mask: bool = True
    """It is told which pixels are padding. Without, padding is picture to it: only chips of one size share a pass."""
    resizes_plainly: bool = False
    """Its processor resizes after rescaling, from four neighbours however much smaller the picture gets."""
    windows: Windows | None = None
    """What sides of its input have to be whole multiples of; None: none of its backbone's."""
    whole_px: int = 1
    """Sides that keep their shape are cut down to multiples of it."""

    @property
    def processor_class(self) -> str:
        return f"{self.processor}ImageProcessor"

    @property
    def config_class(self) -> str:
        return f"{self.library}Config"

    @property
    def network_class(self) -> str:
        return f"{self.library}ForObjectDetection"


MODEL_TYPES: dict[str, ModelType] = {
    "rt_detr": ModelType(
        library="RTDetr", processor="RTDetr", defaults=_SQUARE, cross_attention=_DEFORMABLE, picks_queries=True
    ),
    "rt_detr_v2": ModelType(
        library="RTDetrV2", processor="RTDetr", defaults=_SQUARE, cross_attention=_DEFORMABLE, picks_queries=True
    ),
    "d_fine": ModelType(
        library="DFine", processor="RTDetr", defaults=_SQUARE, cross_attention=_DEFORMABLE, picks_queries=True
    ),
    "deimv2": ModelType(
        library="Deimv2", processor="RTDetr", defaults=_SQUARE, cross_attention=_DEFORMABLE, picks_queries=True
    ),
    "rf_detr": ModelType(
        library="RfDetr",
        processor="RfDetr",
        defaults=_SHORTEST,
        cross_attention=_SAMPLED,
        picks_queries=True,
        resizes_plainly=True,
        windows=Windows(patch_px=14, count=4, along_a_side=True),
    ),
    "lw_detr": ModelType(
        library="LwDetr",
        processor="DeformableDetr",
        defaults=_SHORTEST,
        cross_attention=_SAMPLED,
        picks_queries=True,
        windows=Windows(patch_px=16, count=16, along_a_side=False),
    ),
    "deformable_detr": ModelType(
        library="DeformableDetr",
        processor="DeformableDetr",
        defaults=_SHORTEST,
        cross_attention=_DEFORMABLE,
        from_timm=True,
    ),
    "conditional_detr": ModelType(
        library="ConditionalDetr",
        processor="ConditionalDetr",
        defaults=_SHORTEST,
        from_timm=True,
        cross_attention=CrossAttention(module="encoder_attn", read="conditional", last_features="input_projection"),
    ),
    "dab-detr": ModelType(
        library="DabDetr",
        processor="ConditionalDetr",
        defaults=_SHORTEST,
        from_timm=True,
        cross_attention=CrossAttention(module="cross_attn.cross_attn", read="dab", last_features="input_projection"),
    ),
    "detr": ModelType(
        library="Detr",
        processor="Detr",
        defaults=_SHORTEST,
        from_timm=True,
        sigmoid=False,
        cross_attention=CrossAttention(module="encoder_attn", read="detr", last_features="input_projection"),
    ),
    "yolos": ModelType(
        library="Yolos",
        processor="Yolos",
        defaults=_SHORTEST,
        cross_attention=None,
        sigmoid=False,
        takes_mask=False,
        whole_px=16,
    ),
}
"""By ``model_type`` of ``config.json``."""
