"""The picture: that boxes are where they should be, in the colour of their score, and nothing breaks at extremes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.pictures.colours import SCORE_COLOURS, score_colour
from pipeline.pictures.preview import BoxesShown, _distinct_best, _round_metres, draw_preview
from pipeline.types import ByteArray
from tests.support.outputs import box_corners

GROUND = 60


def draw(path: Path, boxes: list[tuple[float, ...]], scores: list[float], size: int = 400, **options) -> ByteArray:
    corners = box_corners(np.array(boxes, np.float64).reshape(-1, 5))
    settings = {"title": "scene", "metres_per_px": 10.0, **options}
    ground = np.full((size, size, 3), GROUND, np.uint8)
    draw_preview(ground, BoxesShown(corners, np.array(scores, np.float64)), path=path, **settings)
    return load(path)


def load(path: Path) -> ByteArray:
    with Image.open(path) as picture:
        return np.array(picture)


def scene_part(picture: ByteArray, size: int = 400) -> ByteArray:
    """The thumbnail inside the picture, found as the region that a picture without detections leaves grey."""
    rows, columns = np.nonzero((picture == GROUND).all(axis=2))
    top, left = rows.min(), columns.min()
    return picture[top : top + size, left : left + size]


def near(picture: ByteArray, colour: tuple[int, int, int], tolerance: int = 40) -> np.ndarray:
    return np.abs(picture.astype(int) - colour).max(axis=2) <= tolerance


def test_the_outline_lies_on_the_box_in_the_colour_of_its_score(tmp_path: Path) -> None:
    picture = scene_part(draw(tmp_path / "p.png", [(150, 250, 100, 40, 0.0)], [0.9]))
    coloured = near(picture, score_colour(0.9, 0.9))
    rows, columns = np.nonzero(coloured)
    assert (columns.min(), columns.max()) == (pytest.approx(100, abs=2), pytest.approx(200, abs=2))
    assert (rows.min(), rows.max()) == (pytest.approx(230, abs=2), pytest.approx(270, abs=2))
    assert coloured[230, 110:190].mean() > 0.9, "the edge is drawn"
    assert not coloured[240:260, 110:190].any(), "the object itself stays visible"


@pytest.mark.parametrize("ground", [0, 30, 130, 255])
def test_boxes_stand_out_on_any_ground(ground: int, tmp_path: Path) -> None:
    """Line and halo: on black water and white roofs alike something differs by more than a third of the scale."""
    corners = box_corners(np.array([(200.0, 200, 100, 40, 0.5)]))
    for score in (0.3, 0.6, 1.0):
        pixels = np.full((400, 400, 3), ground, np.uint8)
        boxes = BoxesShown(corners, np.array([score]))
        draw_preview(pixels, boxes, title="", metres_per_px=None, path=tmp_path / "p.png", score_threshold=0.3)
        picture = load(tmp_path / "p.png")[100:350, 60:400].astype(int)
        assert (np.abs(picture - ground).max(axis=2) > 85).sum() > 200


def test_tiny_objects_get_a_ring(tmp_path: Path) -> None:
    picture = scene_part(draw(tmp_path / "p.png", [(200, 200, 4, 2, 0.0)], [0.9]))
    rows, _ = np.nonzero(near(picture[:, :212], score_colour(0.9, 0.9)))
    assert rows.max() - rows.min() == pytest.approx(16, abs=2), "a ring of 8 pixels radius around a box of 4"


def test_numbers_of_the_best_stand_beside_insets(tmp_path: Path) -> None:
    without = draw(tmp_path / "a.png", [], [])
    with_insets = draw(tmp_path / "b.png", [(100, 100, 40, 15, 0.2), (300, 300, 40, 15, 0.2)], [0.9, 0.5])
    assert with_insets.shape[1] > without.shape[1] + 120


@pytest.mark.parametrize(("width", "height"), [(1, 1), (64, 64), (1600, 40), (40, 1600)])
@pytest.mark.parametrize("n", [0, 7])
def test_odd_shapes_are_drawn(width: int, height: int, n: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    boxes = np.column_stack([rng.uniform(0, width, n), rng.uniform(0, height, n), np.full((n, 2), 5.0), np.zeros(n)])
    pixels = np.full((height, width, 3), GROUND, np.uint8)
    shown = BoxesShown(box_corners(boxes), rng.random(n))
    draw_preview(pixels, shown, title="t" * 500, metres_per_px=0.3, path=tmp_path / "p.png")
    picture = load(tmp_path / "p.png")
    assert picture.shape[0] >= height
    assert picture.shape[1] >= width


def test_the_same_result_is_the_same_picture(tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw(tmp_path / name, [(100, 100, 40, 15, 0.2)], [0.7])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_colours_run_evenly_and_get_lighter_with_the_score() -> None:
    """Lightness alone orders the scores, for eyes and printers without colour."""
    colours = np.array([score_colour(score, 0.3) for score in np.linspace(0.3, 1, 50)], float)
    lightness = colours @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(lightness) > 0).all()
    assert score_colour(0.3, 0.3) == tuple(bytes.fromhex(SCORE_COLOURS[0][1:]))
    assert score_colour(1.0, 0.3) == tuple(bytes.fromhex(SCORE_COLOURS[-1][1:]))


@given(st.floats(1e-3, 1e7))
def test_scale_bars_are_round_and_fit(limit: float) -> None:
    metres = _round_metres(limit)
    assert limit / 2.5 * (1 - 1e-9) <= metres <= limit * (1 + 1e-9)
    assert f"{metres:.0e}"[0] in "125"


def test_insets_show_the_best_and_no_object_twice() -> None:
    boxes = np.array([(100, 100, 20, 8, 0), (104, 102, 20, 8, 0), (300, 300, 20, 8, 0), (10, 390, 20, 8, 0)], float)
    assert _distinct_best(box_corners(boxes), np.array([0.8, 0.9, 0.5, 0.6]), 6) == [1, 3, 2]
