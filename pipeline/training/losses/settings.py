"""What a training's losses are made of, one frozen dataclass a family; the defaults are the plain training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import ConfigError

VARIFOCAL_ALPHA, VARIFOCAL_GAMMA = 0.75, 2.0
"""Zhang et al., CVPR 2021."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RTDETRLosses:
    """The oriented RT-DETR's. The four switches are the parts of Better Sampling (arXiv 2407.06127), each for itself;
    Greek names are the paper's, and their defaults what it found best (tables 4 to 7).

    Raises ConfigError for a number out of its range, switched on or not.
    """

    sample_refinement: bool = False
    """SPR: points that attention samples far outside the reference box are drawn back, and may not outweigh the points
    inside it (eqs. 5, 6)."""
    eta: tuple[float, ...] = (1.5, 1.3, 1.2, 1.1, 1.05, 1.0)
    """How far a point may lie, in half sides of the reference box, first decoder layer to last; a decoder of another
    number of layers interpolates. At least 1."""
    offset_weight: float = 1.0
    """Of the loss on points outside, eq. 5; the paper's is 1 (eq. 22)."""
    attention_weight: float = 1.0
    """Of the loss on their attention, eq. 6; the paper's is 1 (eq. 22)."""
    scale_aligned: bool = False
    """ST: a found object's score is to be its overlap times how well its area fits (eqs. 12 to 14), not its overlap."""
    beta: float = 0.73
    """Share of the overlap in that product, in [0, 1]; the rest is the area's."""
    theta: float = 6.0
    """How fast a wrong area counts, >= 0."""
    sample_weights: bool = False
    """SR: found objects weigh by their difficulty, apart for class and box (eqs. 16 to 21)."""
    better_class_loss: bool = False
    """What nothing belongs to weighs ``alpha · p ** gamma`` (eq. 20), not 0.75 · p², as in Varifocal Loss."""
    gamma: float = 1.5
    alpha: float = 0.5
    foreground_weight: float = 0.5
    """Of the loss of the foreground masks, where the network has some (after E-FPN-BS), >= 0."""
    dynamic_balance: bool = False
    """Objects of all sizes teach alike: matched queries weigh by their size (after E-FPN-BS's DCLoss)."""
    reconstruction_weight: float = 1.0
    """Of the mean squared error of a network that reconstructs (SR-TOD, arXiv 2405.11276); the paper's is 1."""

    def __post_init__(self) -> None:
        if not isinstance(self.eta, Sequence) or not self.eta:
            raise ConfigError(f"eta must be numbers of at least 1, first decoder layer to last, not {self.eta!r}")
        for name, values, low, high in (
            ("eta", self.eta, 1.0, math.inf), ("beta", (self.beta,), 0.0, 1.0), ("theta", (self.theta,), 0.0, math.inf),
            ("gamma", (self.gamma,), 0.0, math.inf), ("alpha", (self.alpha,), 0.0, math.inf),
            ("offset_weight", (self.offset_weight,), 0.0, math.inf),
            ("attention_weight", (self.attention_weight,), 0.0, math.inf),
            ("foreground_weight", (self.foreground_weight,), 0.0, math.inf),
            ("reconstruction_weight", (self.reconstruction_weight,), 0.0, math.inf),
        ):  # fmt: skip
            for value in values:
                if not (isinstance(value, int | float) and low <= value <= high and math.isfinite(value)):
                    most = f" and at most {high:g}" if math.isfinite(high) else ""
                    raise ConfigError(f"{name} must be at least {low:g}{most}, not {value!r}")

    @property
    def negatives(self) -> tuple[float, float]:
        """Weight (alpha) and exponent (gamma) of the class loss where nothing is to be found."""
        return (self.alpha, self.gamma) if self.better_class_loss else (VARIFOCAL_ALPHA, VARIFOCAL_GAMMA)

    @property
    def look_inside(self) -> bool:
        """Whether the losses need to see what the decoder did inside, not only what it answered."""
        return self.sample_refinement or self.sample_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class FCOSLosses:
    """The oriented FCOS's. Raises ConfigError for a number out of its range."""

    aligned_points: bool = False
    """APS (arXiv 2112.08902): the points that both tasks like learn an object, not those of its size's level."""
    foreground_weight: float = 0.5
    """Of the loss of the foreground masks, where the network has some (after E-FPN-BS), >= 0."""
    reconstruction_weight: float = 1.0
    """Of the mean squared error of a network that reconstructs (SR-TOD, arXiv 2405.11276); the paper's is 1."""
    dynamic_balance: bool = False
    """Objects of all sizes teach alike: points that learn one weigh by its size (after E-FPN-BS's DCLoss)."""

    def __post_init__(self) -> None:
        for name in ("aligned_points", "dynamic_balance"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"losses: {name} must be true or false, not {getattr(self, name)!r}")
        for name in ("foreground_weight", "reconstruction_weight"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and 0 <= value < math.inf):
                raise ConfigError(f"losses: {name} must be at least 0, not {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryLosses:
    """The transformers library's own losses: their weights stand in the configuration of its networks."""
