"""What a training's losses are made of, one frozen dataclass a family; the defaults are the plain training."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class RTDETRLosses:
    """The oriented RT-DETR's. Raises ConfigError for a number out of its range."""

    reconstruction_weight: float = 1.0
    """Of the mean squared error of a network that reconstructs (SR-TOD, arXiv 2405.11276), >= 0; the paper's is 1."""

    def __post_init__(self) -> None:
        value = self.reconstruction_weight
        if not (isinstance(value, int | float) and 0 <= value < math.inf):
            raise ConfigError(f"losses: reconstruction_weight must be at least 0, not {value!r}")
