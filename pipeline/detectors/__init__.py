"""Detectors: networks that look at chips. Importing it does not import torch."""

from __future__ import annotations

from pipeline.detectors.loading import load_detector, read_model_card
from pipeline.detectors.weights import builtin_folder, hub_folder, resolve_weights

__all__ = ["load_detector", "read_model_card", "resolve_weights", "builtin_folder", "hub_folder"]
