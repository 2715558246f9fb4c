"""What counts as a false alarm, and how places of several detectors come into one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.annotations.annotations import Annotations
from pipeline.errors import ConfigError
from pipeline.training.data.false_alarms import add_places, false_alarms, inside_any, read_places
from pipeline.types import Detections, Frame


def test_what_lies_on_an_object_or_in_an_ignored_region_is_none() -> None:
    truth = Annotations(
        np.array([[50.0, 50, 30, 8, 0.7], [100, 100, 40, 40, 0]]), np.zeros(2, np.int64), np.array([False, True])
    )
    boxes = np.array([[52.0, 52, 20, 20, 0], [110, 90, 9, 5, 0], [20, 80, 9, 5, 0], [58, 42, 9, 5, 0]])
    found = false_alarms(Detections(boxes, np.array([0.9, 0.8, 0.3, 0.5]), np.zeros(4, np.int64), Frame.LATTICE), truth)
    assert found.tolist() == [[58, 42, 0.5], [20, 80, 0.3]]


def test_inside_is_turned_with_the_box() -> None:
    box = np.array([[0.0, 0, 20, 4, np.pi / 4]])
    assert inside_any(np.array([[6.0, 6], [6, -6], [0, 3.5]]), box).tolist() == [True, False, False]
    assert inside_any(np.zeros((2, 2)), np.zeros((0, 5))).tolist() == [False, False]


def test_folds_fill_one_file_and_a_scene_mined_again_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "places.json"
    add_places(path, {"a": np.array([[1.0, 2, 0.5]]), "b": np.zeros((0, 3))}, {"detector": "f1", "scenes": ["a", "b"]})
    add_places(path, {"c": np.array([[3.0, 4, 0.25]])}, {"detector": "f2", "scenes": ["c"]})
    add_places(path, {"a": np.array([[9.0, 9, 0.75]])}, {"detector": "f3", "scenes": ["a"]})
    places = read_places(path)
    assert {name: rows.tolist() for name, rows in places.items()} == {
        "a": [[9, 9, 0.75]], "b": [], "c": [[3, 4, 0.25]]
    }  # fmt: skip
    assert '"f1"' in path.read_text()


SHORT, NOT_FINITE = (f'{{"places": {{"a": [[1, 2{more}]]}}, "sources": []}}' for more in ("", ", NaN"))


@pytest.mark.parametrize("text", ["", "[]", SHORT, NOT_FINITE])
def test_a_file_that_is_none_is_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ConfigError, match="mine"):
        read_places(tmp_path / "a.json")
