"""What a foreign checkpoint's files say about its input, over the library's defaults where they say nothing."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Any

from pipeline.detectors.card import CARD
from pipeline.detectors.checkpoint import CONFIG, read_json
from pipeline.detectors.transformers_detr.model_types import MODEL_TYPES
from pipeline.errors import ModelError
from pipeline.names import quoted

SIDE_STEP_PX = 32
"""The largest stride of the model types whose backbones have no windows."""
PREPROCESSOR = "preprocessor_config.json"
MOST_BANDS = 1024


def stated_settings(folder: Path, kind: str) -> dict[str, Any]:
    """The defaults of the model type ``kind``, overlaid by the file, overlaid by the card."""
    overlay = card_overlay(folder)
    stated: dict[str, Any] = {}
    if (folder / PREPROCESSOR).is_file() or not {"input_px", "mean", "std"} <= set(overlay):
        stated = read_json(folder / PREPROCESSOR)
    settings = {**MODEL_TYPES[kind].defaults, **{key: value for key, value in stated.items() if value is not None}}
    padding = (stated.get(key) for key in ("do_pad", "pad_and_return_pixel_mask"))
    settings["do_pad"] = next((value for value in padding if value is not None), MODEL_TYPES[kind].defaults["do_pad"])
    if "input_px" in overlay:
        settings |= {"do_resize": True, "size": {"height": overlay["input_px"], "width": overlay["input_px"]}}
    for key, name in (("mean", "image_mean"), ("std", "image_std")):
        if key in overlay:
            settings |= {name: overlay[key], "do_normalize": True, "do_rescale": True, "rescale_factor": 1 / 255}
    return settings


def side_step_px(config: Mapping[str, Any], kind: str) -> int:
    """What the sides of a network's input are multiples of, by its ``config.json``. Raises ModelError."""
    windows = MODEL_TYPES[kind].windows
    if windows is None:
        return SIDE_STEP_PX
    backbone = config.get("backbone_config")
    known = {key: value for key, value in backbone.items() if value is not None} if isinstance(backbone, dict) else {}
    patch, count = known.get("patch_size", windows.patch_px), known.get("num_windows", windows.count)
    if not all(isinstance(one, int) and 1 <= one <= MOST_BANDS for one in (patch, count)):
        raise ModelError(f"{CONFIG}: patch_size and num_windows of the backbone must be whole numbers above 0")
    return int(patch * (count if windows.along_a_side else isqrt(count)))


def card_overlay(folder: Path) -> dict[str, Any]:
    """The keys of a ``card.json`` beside a foreign checkpoint that say something; none where there is no card."""
    card = read_json(folder / CARD) if (folder / CARD).is_file() else {}
    return {key: value for key, value in card.items() if value is not None}


def band_names(folder: Path) -> list[str]:
    """Names of the network's channels; the backbone's count is the one that matters."""
    config = read_json(folder / CONFIG)
    backbone = config.get("backbone_config")
    stated = [part.get("num_channels") for part in (backbone, config) if isinstance(part, dict)]
    count = next((number for number in stated if number is not None), 3)
    if not isinstance(count, int) or not 1 <= count <= MOST_BANDS:
        raise ModelError(
            f"{folder / CONFIG}: num_channels must be a whole number from 1 to {MOST_BANDS}, got {quoted(count)}"
        )
    return ["red", "green", "blue"] if count == 3 else [f"band_{number + 1}" for number in range(count)]
