"""Padding measured on drawn ships, and what becomes of a COCO file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.annotations.annotations import Annotations
from pipeline.training.data.review import Padding, changes, padded, padding_of, reviewed, ship_width
from pipeline.training.data.scenes import TrainingScene
from tests.support.prepared import scene_with

SHIPS = np.array([[40.0 + 60 * (i % 3), 40 + 70 * (i // 3), 30, 8, 0.4 * i] for i in range(9)])


def seen_as(boxes: np.ndarray, drawn: np.ndarray = SHIPS) -> TrainingScene:
    """White ships as ``drawn``, annotated as ``boxes``."""
    truth = Annotations(boxes, np.zeros(len(boxes), np.int64), np.zeros(len(boxes), np.bool_))
    return TrainingScene("made", scene_with(drawn).pixels, truth)


@pytest.mark.parametrize("padding", [1.0, 3.0, 5.0])
def test_the_padding_of_drawn_ships_is_measured(padding: float) -> None:
    found = padding_of(seen_as(padded(SHIPS, padding)))
    assert found.free_ships == 9
    assert found.median_px == pytest.approx(padding, abs=0.4)


def test_the_width_of_a_ship_of_known_width() -> None:
    grey = scene_with(np.array([[60.0, 60, 40, 10, 0.0]]), 120).pixels.mean(-1)
    assert ship_width(grey, np.array([60.0, 60, 44, 16, 0.0])) == pytest.approx(10, abs=0.3)


def test_a_ship_at_a_quay_is_not_measured_and_few_free_ones_say_nothing() -> None:
    quay = np.array([[100.0, 100, 60, 8, 0.0], [100, 120, 90, 30, 0.0]])
    scene = seen_as(quay[:1], quay)
    assert ship_width(scene.pixels.mean(-1), quay[0]) is None
    assert padding_of(scene) == Padding(free_ships=0, median_px=None)
    assert padding_of(seen_as(SHIPS[:4], SHIPS[:4])).median_px is None


def test_scenes_meet_at_the_median_and_unknown_ones_stay() -> None:
    known = {"a": 5.2, "b": 2.8, "c": 2.9, "d": None}
    grown = changes({name: Padding(free_ships=9, median_px=value) for name, value in known.items()})
    assert grown == {"a": -2.3, "b": 0.1, "c": 0.0, "d": 0.0}


def test_no_side_vanishes() -> None:
    assert padded(np.array([[0.0, 0, 9, 3, 0], [0, 0, 9, 1.5, 0]]), -4)[:, 3].tolist() == [2.0, 1.5]


def document() -> dict[str, Any]:
    return {
        "categories": [{"id": 1, "name": "ship"}],
        "images": [{"id": 4, "file_name": "port.tif"}, {"id": 5, "file_name": "bay.tif"}],
        "annotations": [
            {"id": 7, "image_id": 4, "category_id": 1, "rbox": [50, 40, 20, 6, 0.3], "segmentation": [], "iscrowd": 0},
            {"id": 8, "image_id": 4, "category_id": 1, "bbox": [0, 0, 9, 9], "segmentation": [], "iscrowd": 1},
            {"id": 9, "image_id": 5, "category_id": 1, "bbox": [5, 5, 10, 4], "segmentation": [], "iscrowd": 0},
        ],
    }


def test_boxes_grow_regions_come_and_the_rest_stays() -> None:
    before = document()
    after = reviewed(before, {"port": 2.0, "bay": 0.0}, {"port": [(10, 20, 30, 60, "a marina")]})
    first, ignored, other, region = after["annotations"]
    assert before == document(), "the original is not touched"
    np.testing.assert_allclose(first["rbox"], [50, 40, 22, 8, 0.3], atol=1e-3)
    assert (ignored, other) == (before["annotations"][1], before["annotations"][2])
    assert (region["image_id"], region["ignore"], region["what"], region["id"]) == (4, 1, "a marina", 10)
    assert sorted(map(tuple, np.reshape(region["segmentation"][0], (4, 2)).tolist())) == [
        (10, 20), (10, 60), (30, 20), (30, 60)
    ]  # fmt: skip
