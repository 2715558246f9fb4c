"""The name of our own checkpoints."""

from __future__ import annotations

MODEL_TYPE = "kestrel_oriented_rtdetr"
"""``model_type`` of ``config.json``."""
