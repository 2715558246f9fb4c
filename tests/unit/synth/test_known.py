"""Synthetic scenes: the same pixels through any window, and truth that is where the pixels say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.geometry.obb import obb_to_corners
from pipeline.geometry.overlap import rotated_iou_pairs
from pipeline.synth.known import KnownScene, ObjectField
from pipeline.synth.sparse import SparseScene
from pipeline.types import Window
from tests.support.boxes import inside
from tests.support.harbours import HARBOUR

FIELD = ObjectField(seed=5, width=1000, height=800, classes=("a", "b"))


SPARSE = SparseScene(whole=ObjectField(seed=5, width=1500, height=800), seed=2, stored_share=0.5)


@pytest.mark.parametrize("scene", [HARBOUR, FIELD, SPARSE], ids=["harbour", "field", "sparse"])
def test_any_window_shows_the_same_pixels(scene: KnownScene) -> None:
    whole = scene.render(Window(x=0, y=0, width=scene.width, height=scene.height))
    for x, y, width, height in ((0, 0, 1, 1), (500, 490, 40, 60), (13, 77, 650, 30), (512, 512, 88, 88)):
        part = scene.render(Window(x=x, y=y, width=width, height=height))
        assert part.tobytes() == whole[y : y + height, x : x + width].tobytes()


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
