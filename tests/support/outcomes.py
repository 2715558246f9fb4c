"""Outcomes of blocks on which nothing was found, with a secret in the reasons of those that failed."""

from __future__ import annotations

from typing import Any

from pipeline.types import BlockOutcome, Detections, Done, Failed, Frame

SECRET = "s3://key:secret@host/scene.tif?X-Amz-Signature=secret"


def outcome(failed: int, done: int = 0, **settings: Any) -> BlockOutcome:
    return BlockOutcome(
        block_id=7,
        done=tuple(Done(f"d{row}", Detections.empty(Frame.LATTICE)) for row in range(done)),
        failed=tuple(Failed(f"f{row}", "ModelError", f"NaN in {SECRET}", 2) for row in range(failed)),
        **settings,
    )
