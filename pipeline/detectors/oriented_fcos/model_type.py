"""The name of this family's checkpoints."""

from __future__ import annotations

MODEL_TYPE = "kestrel_oriented_fcos"
"""``model_type`` of ``config.json``."""
