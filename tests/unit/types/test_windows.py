"""Windows are half-open rectangles of whole pixels, never empty."""

from __future__ import annotations

import pytest

from pipeline.types import Lattice, Window

ONE = Window(x=10, y=20, width=30, height=40)


def test_ends_are_outside() -> None:
    assert (ONE.x1, ONE.y1, ONE.pixels) == (40, 60, 1200)
    assert ONE.intersect(Window(x=40, y=20, width=5, height=5)) is None
    assert ONE.intersect(Window(x=10, y=60, width=5, height=5)) is None
    assert ONE.intersect(Window(x=39, y=59, width=5, height=5)) == Window(x=39, y=59, width=1, height=1)


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (-1, 5)])
def test_none_is_empty(width: int, height: int) -> None:
    with pytest.raises(ValueError, match="width and height >= 1"):
        Window(x=0, y=0, width=width, height=height)


def test_the_union_is_the_smallest_window_that_holds_both() -> None:
    other = Window(x=-5, y=50, width=10, height=30)
    both = ONE.union(other)
    assert both == other.union(ONE) == Window(x=-5, y=20, width=45, height=60)
    assert both.contains(ONE)
    assert both.contains(other)
    assert not ONE.contains(both)
    assert ONE.contains(ONE)


def test_a_lattice_starts_at_its_own_corner() -> None:
    lattice = Lattice(width=7, height=3, scale_x=2.0, scale_y=2.0, gsd_m=None)
    assert lattice.window == Window(x=0, y=0, width=7, height=3)
