"""How much of a scene is looked at for what is to be known of all of it."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.types import Scene


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of a scene is looked at for a look at all of it. No settings: results must not depend on them."""

    sample_px: int = 4_000_000
    """Most pixels looked at to measure a stretch."""
    row_bytes: int = 32_000_000
    """Of a row of file blocks held at once for a picture: half of GDAL's cache as it is unless one is asked for."""
    cover_px: int = 16_000_000
    """Pixels of a row of blocks looked at together for the coverage: a header may promise any width."""
    full_pass_px: int = 1_000_000_000
    """A scene without overviews that has more pixels is never decoded as a whole by the driver: not before the run
    starts, and not for a picture of it."""

    def exceeded_by(self, scene: Scene) -> bool:
        """Whether the scene is too large to be decoded as a whole at full resolution."""
        return scene.width * scene.height > self.full_pass_px


LIMITS = Limits()


def overview_for(scene: Scene, limits: Limits) -> int | None:
    """The overview, counted from 0, that a scene is sampled from; None for its own pixels."""
    if not scene.overviews or scene.width * scene.height <= limits.sample_px:
        return None  # a scene that is small enough is looked at as it is
    sizes = [-(-scene.width // factor) * -(-scene.height // factor) for factor in scene.overviews]
    return next((level for level, size in enumerate(sizes) if size <= limits.sample_px), len(sizes) - 1)
