"""How far things lie from the borders of tiles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.types import FloatArray, Lattice, Tile


def seam_distance(centres: FloatArray, tiles: Sequence[Tile], lattice: Lattice) -> FloatArray:
    """(M,) distance of lattice points (M, 2) to the nearest inner border between two tiles' cores; inf where there is
    none."""
    cores = [tile.core for tile in tiles]
    across = {core.x for core in cores} | {core.x1 for core in cores}
    down = {core.y for core in cores} | {core.y1 for core in cores}
    x = np.array(sorted(across - {0, lattice.width}), np.float64)
    y = np.array(sorted(down - {0, lattice.height}), np.float64)
    nearest = [np.abs(centres[:, axis, None] - lines).min(axis=1, initial=np.inf) for axis, lines in ((0, x), (1, y))]
    distance: FloatArray = np.minimum(*nearest)
    return distance
