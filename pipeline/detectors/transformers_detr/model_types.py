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
class ModelType:
    """What the detector has to know of one of the library's networks."""

    library: str
    """What the names of its classes begin with: ``<library>Config``, ``<library>ForObjectDetection``."""
    defaults: Mapping[str, Any]
    """What the library's processor does where ``preprocessor_config.json`` says nothing."""
    cross_attention: Literal["deformable", "dense"]
    """How its decoder looks at the picture."""
    picks_queries: bool = False
    """Its queries are the encoder's best proposals, any number of them."""
    from_timm: bool = False
    """Its configuration falls back to a backbone of timm; the others have backbones of their own."""
    sigmoid: bool = True
    """Trained with a focal loss unless its configuration says otherwise; else softmax with "no object" last."""

    @property
    def config_class(self) -> str:
        return f"{self.library}Config"

    @property
    def network_class(self) -> str:
        return f"{self.library}ForObjectDetection"


MODEL_TYPES: dict[str, ModelType] = {
    "rt_detr": ModelType(library="RTDetr", defaults=_SQUARE, cross_attention="deformable", picks_queries=True),
    "rt_detr_v2": ModelType(library="RTDetrV2", defaults=_SQUARE, cross_attention="deformable", picks_queries=True),
    "d_fine": ModelType(library="DFine", defaults=_SQUARE, cross_attention="deformable", picks_queries=True),
    "deformable_detr": ModelType(
        library="DeformableDetr", defaults=_SHORTEST, cross_attention="deformable", from_timm=True
    ),
    "conditional_detr": ModelType(
        library="ConditionalDetr", defaults=_SHORTEST, cross_attention="dense", from_timm=True
    ),
    "detr": ModelType(library="Detr", defaults=_SHORTEST, cross_attention="dense", from_timm=True, sigmoid=False),
}
"""By ``model_type`` of ``config.json``."""
