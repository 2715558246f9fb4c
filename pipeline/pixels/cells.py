"""Mass on one regular grid of cells brought to another by the area that their cells share. numpy only.

Along each axis a cell hands its mass to the cells it overlaps, in proportion to the overlap: nothing is made and
nothing is lost but what lies outside the other grid. Two axes are two small matrices.
"""

from __future__ import annotations

import numpy as np

from pipeline.types import FloatArray


def shares(source_edges: FloatArray, target_edges: FloatArray) -> FloatArray:
    """(targets, sources): which share of each source cell lies in each target cell, along one axis.

    Edges are (n + 1,) ascending positions on one common axis. A column sums to 1 where the source cell lies inside
    the target grid, to less where it sticks out. ``shares(y) @ mass @ shares(x).T`` moves a map.
    """
    low = np.maximum(target_edges[:-1, None], source_edges[:-1])
    high = np.minimum(target_edges[1:, None], source_edges[1:])
    moved: FloatArray = np.maximum(high - low, 0) / np.diff(source_edges)
    return moved
