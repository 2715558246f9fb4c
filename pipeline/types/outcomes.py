"""What became of tiles and blocks."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.types.detections import Detections
from pipeline.types.looks import AttentionMap, Crop
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


@dataclass(frozen=True, slots=True, eq=False)
class BlockOutcome:
    """What became of every tile of one block, and what it cost."""

    block_id: int
    done: tuple[Done, ...]
    failed: tuple[Failed, ...]
    read_s: float = 0.0
    detect_s: float = 0.0
    peak_rss_bytes: int = 0
    notes: tuple[str, ...] = ()
    """Things the run record must mention, e.g. a batch halved after an out-of-memory error."""
    crops: tuple[Crop, ...] = ()
    """What the second look took."""
    tiles_refined: int = 0
    """Tiles with at least one crop."""
    network_px: int = 0
    """Pixels that went through the network, both looks together."""
    attention: tuple[tuple[Window, AttentionMap], ...] = ()
    """Where the global look at each tile looked, when the run exports it."""
    bytes_read: int = 0
    """Of pixels that the file was decoded to for this block."""
