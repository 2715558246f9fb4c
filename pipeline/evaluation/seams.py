"""How far things lie from the borders of tiles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.annotations.annotations import Annotations, annotations_on_lattice
from pipeline.planning.tiles import plan_tiles
from pipeline.types import FloatArray, Lattice, Tile


def seams_of(objects: Annotations, lattice: Lattice, tile_px: int, halo_px: int) -> FloatArray:
    """(A,) :func:`seam_distance` of annotations in scene pixels, on a lattice that is tiled so."""
    centres = annotations_on_lattice(objects, lattice).boxes[:, :2]
    return seam_distance(centres, plan_tiles(lattice, tile_px, halo_px), lattice)


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
