"""Chip, lattice and scene; and what lies near an edge inside the scene."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.geometry.frames import (
    chip_to_lattice,
    lattice_to_chip,
    lattice_to_scene,
    near_inner_edge,
    scene_to_lattice,
)
from pipeline.types import Lattice, Window
from tests.support.boxes import boxes


def test_frames() -> None:
    """Chip → lattice adds the window's corner; lattice → scene scales from the shared origin corner."""
    window, lattice = (
        Window(x=300, y=40, width=64, height=64),
        Lattice(width=500, height=400, scale_x=0.5, scale_y=0.25, gsd_m=20.0),
    )
    on_lattice = chip_to_lattice(boxes((10, 20, 6, 4, 0.1)), window)
    assert on_lattice.tolist() == [[310, 60, 6, 4, 0.1]]
    assert lattice_to_chip(on_lattice, window).tolist() == [[10, 20, 6, 4, 0.1]]
    in_scene = lattice_to_scene(np.array([[310.0, 60.0]]), lattice)
    assert in_scene.tolist() == [[155, 15]]
    assert scene_to_lattice(in_scene, lattice).tolist() == [[310, 60]]


class TestNearInnerEdge:
    """A 100 × 100 window in the middle, or at a corner, of a 1000 × 1000 lattice."""

    bounds = Window(x=0, y=0, width=1000, height=1000)

    @pytest.mark.parametrize(
        ("x", "y", "expected"),
        [
            (450, 450, False),
            (406.9, 450, True),  # the left end is at 401.9
            (407.1, 450, False),
            (493.1, 450, True),
            (492.9, 450, False),
            (450, 403.9, True),
            (450, 496.1, True),
            (395, 450, True),  # reaches out of the window
        ],
    )
    def test_two_pixels_from_a_side(self, x: float, y: float, expected: bool) -> None:
        window = Window(x=400, y=400, width=100, height=100)
        assert near_inner_edge(boxes((x, y, 10, 4, 0)), window, self.bounds).tolist() == [expected]

    def test_a_turned_box_counts_with_its_corners(self) -> None:
        window = Window(x=400, y=400, width=100, height=100)
        turned = boxes((406.9, 450, 10, 4, math.pi / 2), (450, 406.9, 10, 4, math.pi / 2))
        assert near_inner_edge(turned, window, self.bounds).tolist() == [False, True]

    def test_the_sides_of_the_lattice_cut_nothing(self) -> None:
        corner = Window(x=0, y=900, width=100, height=100)
        rows = boxes((2, 950, 10, 4, 0), (50, 999, 10, 4, 0), (99, 950, 10, 4, 0), (50, 901, 10, 4, 0))
        assert near_inner_edge(rows, corner, self.bounds).tolist() == [False, False, True, True]
        assert not near_inner_edge(rows, self.bounds, self.bounds).any()

    def test_the_margin_can_be_chosen(self) -> None:
        window = Window(x=400, y=400, width=100, height=100)
        assert near_inner_edge(boxes((415, 450, 10, 4, 0)), window, self.bounds, margin_px=20.0).tolist() == [True]
