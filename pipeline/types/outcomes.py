"""What became of tiles and blocks."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.types.detections import Detections
from pipeline.types.looks import AttentionMap, Crop, DifferenceMap
from pipeline.types.windows import Window


@dataclass(frozen=True, slots=True, eq=False)
class Done:
    """A tile was looked at. Zero detections means: looked, found nothing."""

    tile_id: str
    detections: Detections
    """In frame LATTICE."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A tile could not be looked at."""

    tile_id: str
    error: str
    """Class name of the error."""
    reason: str
    """One sentence."""
    attempts: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What work took. Costs add up: ``a + b`` is the cost of both."""

    read_s: float = 0.0
    """Seconds of reading, of every worker."""
    detect_s: float = 0.0
    """Seconds of looking, of every worker."""
    peak_rss_bytes: int = 0
    """Memory of the largest worker process: of two costs the larger one."""
    tiles_refined: int = 0
    """Tiles with at least one crop of the second look."""
    network_px: int = 0
    """Pixels that went through the network, both looks together."""
    bytes_read: int = 0
    """Of pixels that the file was decoded to."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            read_s=self.read_s + other.read_s,
            detect_s=self.detect_s + other.detect_s,
            peak_rss_bytes=max(self.peak_rss_bytes, other.peak_rss_bytes),
            tiles_refined=self.tiles_refined + other.tiles_refined,
            network_px=self.network_px + other.network_px,
            bytes_read=self.bytes_read + other.bytes_read,
        )


@dataclass(frozen=True, slots=True, eq=False)
class BlockOutcome:
    """What became of every tile of one block, and what it cost."""

    block_id: int
    done: tuple[Done, ...]
    failed: tuple[Failed, ...]
    cost: Cost = field(default_factory=Cost)
    notes: tuple[str, ...] = ()
    """Things the run record must mention, e.g. a batch halved after an out-of-memory error."""
    crops: tuple[Crop, ...] = ()
    """What the second look took."""
    attention: tuple[tuple[Window, AttentionMap], ...] = ()
    """Where the global look at each tile looked, when the run exports it."""
    difference: tuple[tuple[Window, DifferenceMap], ...] = ()
    """What the global look at each tile could not draw again, when the run exports it."""
