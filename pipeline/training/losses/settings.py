"""What a training's losses are made of, one frozen dataclass a family; the defaults are the plain training."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FCOSLosses:
    """The oriented FCOS's."""

    aligned_points: bool = False
    """APS (arXiv 2112.08902): the points that both tasks like learn an object, not those of its size's level."""
