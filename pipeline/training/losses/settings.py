"""What a recipe may say of the losses. Every default is the plain training."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RTDETRLosses:
    """Of the oriented RT-DETR."""
