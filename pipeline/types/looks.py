"""What a detector is shown, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.types.arrays import ByteArray, FloatArray
from pipeline.types.detections import Detections
from pipeline.types.windows import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """Pixels of one tile, as a detector sees them."""

    pixels: ByteArray
    """(H, W, C) uint8."""
    window: Window
    """Where the pixels lie on the lattice. Real networks ignore it; the oracle of ``synth`` needs it."""
    share: float = 1.0
    """How much of a whole look this is, by pixels as the network sees them: it gets that share of its queries too."""
    mirrored: tuple[bool, bool] = (False, False)
    """Whether the pixels run against the window along x, along y. Real networks ignore it, as they do the window."""


@dataclass(frozen=True, slots=True, eq=False)
class AttentionMap:
    """Where a decoder looked, over one chip: non-negative mass on a grid that spans the chip exactly."""

    mass: FloatArray
    """(rows, columns) float64; sums to the share of attention that fell inside the chip."""
    outside: float = 0.0
    """Share of attention that fell outside the chip and was discarded."""


@dataclass(frozen=True, slots=True, eq=False)
class DifferenceMap:
    """How badly a network could draw a chip again from its features, on a grid that spans the chip exactly."""

    values: FloatArray
    """(rows, columns) float64: the mean over each cell of |reconstruction - chip|, 0 to 1 being black to white."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What a detector answers for one chip."""

    detections: Detections
    """In frame CHIP."""
    attention: AttentionMap | None = None
    """None where it was not asked for, and of networks without cross-attention."""
    difference: DifferenceMap | None = None
    """Of every look of a network that reconstructs what it sees (it falls out of the pass); of others None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """A window that the second look takes."""

    window: Window
    """Lattice pixels, inside its tile."""
    row: int
    """Which of the block's tiles it belongs to, among those that were looked at."""
    entropy: float
    """Spatial attention entropy of the window; NaN without an attention map."""
