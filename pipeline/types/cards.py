"""What a detector says about itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipeline.types.calibration import Calibration

RGB = ("red", "green", "blue")
"""What most models look at."""
NEAR_INFRARED = "nir"
"""The name of that band in cards and in scenes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What a detector says about itself; drives resampling, band choice, halo and thresholds."""

    name: str
    classes: tuple[str, ...]
    gsd_m: float | None
    """Ground sample distance it was trained at, metres; None when a foreign checkpoint does not say."""
    bands: tuple[str, ...]
    """Names of the channels it expects, e.g. ('red', 'green', 'blue')."""
    input_px: int
    """Side of the square network input, pixels."""
    sha256: str
    """Of the weights; identifies the model in run records."""
    oriented: bool = False
    score_threshold: float = 0.3
    """Score at or above which detections are reported by default."""
    longest_object_m: float | None = None
    """Length that the default halo must cover, metres."""
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    """Subtracted from pixels / 255."""
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    """Divides after the mean was subtracted."""
    licence: str | None = None
    training_data: str | None = None
    """Source, licence and attribution of what it was trained on."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """As measured on the held-out split; names say the split and the evaluator."""
    calibration: Calibration | None = None
    """What its scores are worth, as measured on scenes that it was not trained on; None where nobody did."""
    network: tuple[str, ...] | None = None
    """Its parts in words: backbone, neck, feature modules, head; None where the checkpoint is another's, or older."""
    settings_sha256: str | None = None
    """Of the files beside others' weights that say how the network is built and how pixels are shown to it: edited,
    they mean other detections. None where the card itself says it all. Never in a file: whoever loads it finds out."""
    runtime: str | None = None
    """What runs it, where that is not torch: name, version and device, and of an ONNX file the layout that it is read
    as. Never in a file: whoever loads it finds out."""
    described: str | None = None
    """What was found out about a file that others made, one sentence for people. Never in a file either."""
