"""Synthetic scenes: the same pixels through any window, and truth that is where the pixels say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.geometry.obb import obb_to_corners
from pipeline.geometry.overlap import rotated_iou_pairs
from pipeline.synth.harbour.harbour import CELL_PX, DEMO_SEED, MARGIN_M, Harbour, demo_harbour
from pipeline.synth.harbour.paint import paint
from pipeline.synth.known import KnownScene, ObjectField
from pipeline.synth.noise import noise_at, noise_grid, uniform
from pipeline.synth.sparse import SparseScene
from pipeline.types import BoolArray, FloatArray, Window

HARBOUR = Harbour(seed=20_000_008, width=700, height=600)
FIELD = ObjectField(seed=5, width=1000, height=800, classes=("a", "b"))
SPARSE = SparseScene(whole=ObjectField(seed=5, width=1500, height=800), seed=2, stored_share=0.5)


def inside(box: FloatArray, x: FloatArray, y: FloatArray, shrink: float = 1.0) -> BoolArray:
    cos, sin = math.cos(box[4]), math.sin(box[4])
    u, v = (x - box[0]) * cos + (y - box[1]) * sin, (y - box[1]) * cos - (x - box[0]) * sin
    return (np.abs(u) < box[2] / 2 * shrink) & (np.abs(v) < box[3] / 2 * shrink)


@pytest.mark.parametrize("scene", [HARBOUR, FIELD, SPARSE], ids=["harbour", "field", "sparse"])
def test_any_window_shows_the_same_pixels(scene: KnownScene) -> None:
    whole = scene.render(Window(x=0, y=0, width=scene.width, height=scene.height))
    for x, y, width, height in ((0, 0, 1, 1), (500, 490, 40, 60), (13, 77, 650, 30), (512, 512, 88, 88)):
        part = scene.render(Window(x=x, y=y, width=width, height=height))
        assert part.tobytes() == whole[y : y + height, x : x + width].tobytes()


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


@pytest.mark.parametrize("scene", [HARBOUR, FIELD, SPARSE], ids=["harbour", "field", "sparse"])
def test_windows_that_partition_a_scene_partition_its_objects(scene: KnownScene) -> None:
    whole = scene.objects_in(Window(x=0, y=0, width=scene.width, height=scene.height)).boxes
    assert len(whole) > 5
    parts = [
        scene.objects_in(Window(x=x, y=y, width=min(333, scene.width - x), height=min(250, scene.height - y))).boxes
        for y in range(0, scene.height, 250)
        for x in range(0, scene.width, 333)
    ]
    joined = np.concatenate(parts)
    assert joined[np.lexsort(joined.T)].tobytes() == whole[np.lexsort(whole.T)].tobytes()


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


def test_pixels_of_a_field_are_brightest_where_its_objects_are() -> None:
    pixels = FIELD.render(Window(x=0, y=0, width=1000, height=800))[..., 0].astype(float)
    y, x = np.mgrid[:800, :1000] + 0.5
    covered = np.zeros(pixels.shape, np.bool_)
    for box in FIELD.objects_in(Window(x=0, y=0, width=1000, height=800)).boxes:
        assert pixels[inside(box, x, y, 0.7)].min() > 140
        covered |= inside(box, x, y, 1.3)
    edge = 60  # objects whose centre is outside the scene reach in
    assert pixels[edge:-edge, edge:-edge][~covered[edge:-edge, edge:-edge]].max() < 140


@settings(max_examples=12)
@given(st.integers(0, 10**6), st.floats(10, 60), st.floats(5, 100))
def test_objects_of_a_field_never_touch(seed: int, longest: float, density: float) -> None:
    scene = ObjectField(seed=seed, width=900, height=700, longest_px=longest, shortest_px=8, density=density)
    boxes = scene.objects_in(Window(x=0, y=0, width=900, height=700)).boxes
    first, second = np.triu_indices(len(boxes), 1)
    assert not len(first) or rotated_iou_pairs(boxes[first], boxes[second]).max() == 0


def test_far_corner_of_a_hundred_gigapixels_is_as_near_as_the_first() -> None:
    huge = ObjectField(seed=1, width=316_228, height=316_228, density=30)
    window = Window(x=316_000, y=316_000, width=228, height=228)
    assert huge.render(window).shape == (228, 228, 3)
    corners = obb_to_corners(huge.objects_in(Window(x=315_000, y=315_000, width=1228, height=1228)).boxes)
    assert len(corners) > 20


def test_density_is_what_was_asked_for() -> None:
    scene = ObjectField(seed=9, width=4000, height=4000, density=100, longest_px=30)
    assert len(scene.objects_in(Window(x=0, y=0, width=4000, height=4000))) == pytest.approx(1600, rel=0.08)


@pytest.mark.parametrize(
    "wrong", [{"density": 500.0}, {"density": 0.0}, {"shortest_px": 50.0}, {"dtype": "float32"}], ids=str
)
def test_a_field_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        ObjectField(seed=1, width=100, height=100, **wrong)  # type: ignore[arg-type]


def test_the_demo_scene_is_none_that_was_trained_on() -> None:
    assert demo_harbour().seed == DEMO_SEED > 1_000_000
    assert len(demo_harbour().ships()) >= 20


def test_noise_of_points_is_noise_of_the_grid() -> None:
    xs, ys = np.linspace(-300, 900, 40), np.linspace(5, 777, 30)
    grid = noise_grid(3, xs, ys, 57.0)
    points = noise_at(3, *np.meshgrid(xs, ys), 57.0)
    np.testing.assert_allclose(grid, points, atol=1e-6)
    assert np.ptp(grid) > 1


def test_uniform_numbers_are_uniform_and_depend_on_every_key() -> None:
    numbers = uniform(7, np.arange(200)[:, None], np.arange(200)[None, :])
    assert abs(numbers.mean() - 0.5) < 0.01
    assert abs(numbers.std() - 12**-0.5) < 0.01
    assert len(np.unique(numbers)) == 40_000
    assert uniform(7, 1, 2) != uniform(7, 2, 1)
    assert uniform(8, 1, 2) != uniform(7, 1, 2)
