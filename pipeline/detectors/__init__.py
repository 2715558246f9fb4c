"""Detectors: networks that look at chips. Importing it does not import torch."""

from __future__ import annotations

from pipeline.detectors.loading import load_detector, read_model_card

__all__ = ["load_detector", "read_model_card"]
