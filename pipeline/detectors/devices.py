"""Which processor this process may use."""

from __future__ import annotations

import torch


def best_device() -> str:
    """``cuda`` where this process may use a GPU (Ray hides the others), else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"
