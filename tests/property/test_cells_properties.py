"""Moving mass between grids: nothing made, nothing lost but what sticks out, and the way in between does not matter."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.pixels.cells import shares
from pipeline.types import FloatArray


def grids(low: float = -50, high: float = 50) -> st.SearchStrategy[FloatArray]:
    """Edges of 1 to 12 cells of uneven size."""
    widths = st.lists(st.floats(0.01, 9), min_size=1, max_size=12)
    return st.builds(lambda start, sides: start + np.cumsum([0.0, *sides]), st.floats(low, high), widths)


@given(grids(), grids())
def test_a_cell_hands_on_what_overlaps(source: FloatArray, target: FloatArray) -> None:
    """Each cell's moved mass is its length inside the target's span, as a share of its length."""
    moved = shares(source, target).sum(0)
    inside = np.clip(source, target[0], target[-1])
    np.testing.assert_allclose(moved, np.diff(inside) / np.diff(source), atol=1e-9)


@given(grids(), st.lists(st.floats(0, 1), max_size=9), st.data())
def test_by_way_of_finer_cells_is_the_same(source: FloatArray, cuts: list[float], data: st.DataObject) -> None:
    """Splitting cells first, evenly as their mass is spread, changes nothing."""
    target = data.draw(grids())
    finer = np.unique(np.concatenate([source, source[0] + np.array(cuts) * (source[-1] - source[0])]))
    finer = np.delete(finer, np.flatnonzero(np.diff(finer) < 1e-6) + 1)
    if not np.isin(source, finer).all():
        return
    np.testing.assert_allclose(shares(finer, target) @ shares(source, finer), shares(source, target), atol=1e-6)


def test_known_shares() -> None:
    """Three cells of 2 into two of 3."""
    np.testing.assert_array_equal(shares(np.array([0.0, 2, 4, 6]), np.array([0.0, 3, 6])), [[1, 0.5, 0], [0, 0.5, 1]])
