"""The columns of detections: named once, and whatever goes through them goes through all."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace

import numpy as np
import pytest

from pipeline.types import STAGES, BoolArray, Detections, FloatArray, Frame, IntArray
from pipeline.types.detections import COLUMNS, FILLS


def filled(n: int, frame: Frame = Frame.LATTICE, seed: int = 0) -> Detections:
    """``n`` rows, every column with values of its own."""
    random = np.random.default_rng(seed)
    return Detections(
        boxes=random.normal(size=(n, 5)),
        scores=random.random(n),
        class_ids=random.integers(0, 9, n),
        frame=frame,
        edge=random.random(n) < 0.5,
        tile_index=random.integers(5, 90, n),
        stage=random.integers(0, len(STAGES), n),
        n_merged=random.integers(2, 7, n),
        entropy=random.random(n),
    )


def test_the_columns_are_the_fields_but_for_the_frame() -> None:
    assert COLUMNS == ("boxes", "scores", "class_ids", "edge", "tile_index", "stage", "n_merged", "entropy")
    assert {*COLUMNS, "frame"} == {one.name for one in fields(Detections)}


def test_what_is_left_out_is_filled_and_keeps_its_type() -> None:
    some = Detections(np.zeros((2, 5)), np.zeros(2), np.zeros(2, np.int64), Frame.CHIP)
    none = Detections.empty(Frame.CHIP)
    values = {name: getattr(some, name).tolist() for name in FILLS if name != "entropy"}
    assert values == {"edge": [False] * 2, "tile_index": [-1] * 2, "stage": [0] * 2, "n_merged": [1] * 2}
    assert np.isnan(some.entropy).all()
    kinds = {"edge": np.bool_, "tile_index": np.int64, "stage": np.int64, "n_merged": np.int64, "entropy": np.float64}
    for name, kind in kinds.items():
        assert getattr(some, name).dtype == kind
        assert getattr(none, name).dtype == kind
        assert len(getattr(none, name)) == 0


@pytest.mark.parametrize("name", COLUMNS)
def test_choosing_joining_and_travelling_take_every_column_along(name: str) -> None:
    one, other = filled(4), filled(3, seed=1)
    column: FloatArray | IntArray | BoolArray = getattr(one, name)
    for keep in (np.array([True, False, False, True]), np.array([2, 0]), slice(1, 3)):
        assert getattr(one[keep], name).tolist() == column[keep].tolist()
    joined = getattr(Detections.concat([one, other], Frame.LATTICE), name)
    assert joined.tolist() == [*column.tolist(), *getattr(other, name).tolist()]
    travelled = getattr(pickle.loads(pickle.dumps(one)), name)
    assert (travelled.dtype, travelled.tolist()) == (column.dtype, column.tolist())


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_another_length_or_shape_is_refused(name: str) -> None:
    d = filled(3)
    with pytest.raises(ValueError, match=f"{name} must be"):
        replace(d, **{name: np.zeros((3, 2))})
    if name != "boxes":
        with pytest.raises(ValueError, match=rf"{name} must be \(3,\)"):
            replace(d, **{name: getattr(d, name)[:2]})


def test_frames_are_not_mixed_and_stay_with_the_rows() -> None:
    scene = filled(2, Frame.SCENE)
    assert scene[:1].frame is Frame.SCENE
    assert pickle.loads(pickle.dumps(scene)).frame is Frame.SCENE
    assert Detections.concat([], Frame.CHIP).frame is Frame.CHIP
    with pytest.raises(ValueError, match="frame scene among those of frame lattice"):
        Detections.concat([filled(2), scene], Frame.LATTICE)


def test_nothing_travels_as_a_word_and_is_made_once() -> None:
    none = Detections.empty(Frame.LATTICE)
    assert Detections.empty(Frame.LATTICE) is none
    assert len(pickle.dumps(filled(3)[:0])) == len(pickle.dumps(none)) < 100
    assert pickle.loads(pickle.dumps(none)) is none
