"""Pictures that a person sees something on, and the area of interest in them."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.pictures.ground import visible, with_area

ALL = np.ones((40, 60), np.bool_)


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize("brightest", [1, 9, 40])
def test_a_picture_of_classes_is_not_black(brightest: int) -> None:
    classes = np.random.default_rng(0).integers(0, brightest + 1, ALL.shape)
    shown = visible(grey(classes), ALL)
    assert (shown.min(), shown.max()) == (0, 255)
    assert len(np.unique(shown)) == brightest + 1


@pytest.mark.parametrize(
    "values", [np.zeros(ALL.shape), np.full(ALL.shape, 7), np.arange(2400).reshape(ALL.shape) % 256]
)
def test_other_pictures_stay_as_they_are(values: np.ndarray) -> None:
    assert np.array_equal(visible(grey(values), ALL), grey(values))


def test_invalid_pixels_do_not_count() -> None:
    values, valid = np.full(ALL.shape, 1), ALL.copy()
    values[:20], valid[:5], values[:5] = 0, False, 200
    shown = visible(grey(values), valid)
    assert (shown[10].max(), shown[30].min()) == (0, 255)
    assert not visible(grey(values), np.zeros_like(valid)).max() < 200


def test_outside_the_area_is_dimmed_and_its_holes_are_outside() -> None:
    def square(low: float, high: float) -> np.ndarray:
        return np.array([[low, low], [high, low], [high, high], [low, high], [low, low]], np.float64)

    island = np.array([[45, 5], [55, 5], [55, 35], [45, 35], [45, 5]], np.float64)
    before = np.full((40, 60, 3), 200, np.uint8)
    drawn = with_area(before, [[square(5, 35), square(15, 25)], [island]])
    assert before.min() == 200
    for x, y, inside in ((10, 10, True), (20, 20, False), (2, 2, False), (50, 20, True), (40, 20, False)):
        assert (drawn[y, x] == 200).all() == inside, (x, y)
    assert with_area(before, []).max() < 100
