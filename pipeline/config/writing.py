"""Settings of what is written, and of what is kept between jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.config.checks import require


@dataclass(frozen=True, kw_only=True)
class OutputConfig:
    """What is written."""

    max_failed_tiles: int = 0
    """Publish a scene with at most this many failed tiles (as PARTIAL); beyond it, only the list of failures."""
    preview_px: Literal["auto"] | int = "auto"
    """Longer side of preview.png, pixels; 0 writes none. ``auto`` is 1600; of scenes whose own is below 2048, a quarter
    of it, but at least 256."""
    meta: tuple[str, ...] = ()
    """Facts to record about the scene, as key=value: acquired, sensor, attribution, or any other key."""

    def __post_init__(self) -> None:
        require(self.max_failed_tiles >= 0, "output.max_failed_tiles must not be negative")
        require(
            self.preview_px in ("auto", 0) or (not isinstance(self.preview_px, str) and 64 <= self.preview_px <= 8192),
            "output.preview_px must be auto, 0, or 64 to 8192",
        )
        require(all("=" in entry.strip("=") for entry in self.meta), "output.meta: write entries as key=value")

    def preview_side_px(self, longer_px: int) -> int:
        """Longer side of the preview of a scene whose own is ``longer_px``; 0 for none.

        Small scenes come by the thousand: of them a picture at full size weighs more than all the rest of the result.
        """
        if self.preview_px != "auto":
            return self.preview_px
        return PREVIEW_PX if longer_px >= SMALL_SCENE_PX else max(SMALL_PREVIEW_PX, longer_px // 4)


PREVIEW_PX, SMALL_PREVIEW_PX = 1600, 256
"""What ``auto`` is for a large scene, and at least for a small one."""
SMALL_SCENE_PX = 2048
"""A scene is small whose longer side is below this."""


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Things that are written on request."""

    attention: bool = False
    """Also write where the detector looked: attention.tif, a georeferenced heat map, one pixel per 8 lattice pixels."""
    difference: bool = False
    """Also write what the detector could not draw again: difference.tif, on the same grid. For detectors that
    reconstruct (SR-TOD)."""


@dataclass(frozen=True, kw_only=True)
class WorkConfig:
    """How work is kept, so that a job that was killed goes on where it was. Changes no result."""

    keep_score: float = 0.05
    """Detections from this score on are kept, so a later run may lower detector.score_threshold without a detector."""
    keep: Literal["never", "always"] | float = 30.0
    """How long parts stay once their scene is published: ``never``, ``always``, or days. Killed jobs always go on."""
    lease_s: float = 30.0
    """A job that gives no sign of life for this long has died: another may take its scene over. Seconds."""

    def __post_init__(self) -> None:
        require(0 <= self.keep_score <= 1, "work.keep_score must be in [0, 1]")
        require(isinstance(self.keep, str) or self.keep >= 0, "work.keep must be never, always, or days from 0 on")
        require(self.lease_s > 0, "work.lease_s must be positive")
