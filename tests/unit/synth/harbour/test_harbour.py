"""Harbours: no seams, one for a seed, ships as ships are."""

from __future__ import annotations

import numpy as np

from pipeline.geometry.overlap import rotated_iou_pairs
from pipeline.synth.harbour.harbour import CELL_PX, DEMO_SEED, MARGIN_M, Harbour, demo_harbour
from pipeline.synth.harbour.paint import paint
from pipeline.types import Window
from tests.support.boxes import inside
from tests.support.harbours import HARBOUR


def test_cells_of_a_harbour_leave_no_seams() -> None:
    """Cells are drawn one by one; another cutting into cells gives the same picture but for rounding."""
    across = paint(HARBOUR.place, CELL_PX - 250, 30, 500, HARBOUR.gsd_m).astype(int)
    cells = HARBOUR.render(Window(x=CELL_PX - 250, y=30, width=500, height=500)).astype(int)
    assert np.ptp(across) > 10_000  # land and sea
    assert np.mean(np.abs(across - cells).max(axis=2) > 20) < 1e-3


def test_a_harbour_is_a_function_of_its_seed() -> None:
    window = Window(x=0, y=0, width=64, height=64)
    again = Harbour(seed=HARBOUR.seed, width=700, height=600)
    other = Harbour(seed=HARBOUR.seed + 1, width=700, height=600)
    assert again.render(window).tobytes() == HARBOUR.render(window).tobytes()
    assert other.render(window).tobytes() != HARBOUR.render(window).tobytes()


def test_ships_are_as_long_and_wide_as_ships_are_and_do_not_hide_each_other() -> None:
    lengths, count = [], 0
    for seed in range(20_000_100, 20_000_106):
        boxes = Harbour(seed=seed, width=512, height=512).ships().boxes
        hull = boxes[:, 2:4] * 10.0 - 2 * MARGIN_M
        assert (hull[:, 0] >= 49.9).all()
        assert (hull[:, 0] <= 400.1).all()
        assert (hull[:, 1] >= 9.9).all()
        assert (hull[:, 1] <= 60.1).all()
        first, second = np.triu_indices(len(boxes), 1)
        assert (rotated_iou_pairs(boxes[first], boxes[second]) < 0.3).all()  # else a merge would have to drop one
        lengths += hull[:, 0].tolist()
        count += len(boxes)
    assert count >= 6 * 4
    assert np.ptp(lengths) > 150


def test_ships_stand_out_from_their_water() -> None:
    """On average over the ships of a scene, the pixels of the hull differ from those around the box."""
    pixels = HARBOUR.render(Window(x=0, y=0, width=700, height=600)).mean(axis=2)
    y, x = np.mgrid[:600, :700] + 0.5
    contrast = []
    for box in HARBOUR.ships().boxes:
        core = inside(box, x, y, 0.35)
        ring = inside(box, x, y, 1.3) & ~inside(box, x, y, 1.0)
        if core.any() and ring.any():
            contrast.append(np.median(pixels[core]) / np.percentile(pixels[ring], 20))
    assert np.median(contrast) > 2


def test_the_demo_scene_is_none_that_was_trained_on() -> None:
    assert demo_harbour().seed == DEMO_SEED > 1_000_000
    assert len(demo_harbour().ships()) >= 20
