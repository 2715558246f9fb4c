"""Objects copied from one place to another."""

from __future__ import annotations

import numpy as np
from numpy.random import default_rng

from pipeline.annotations.annotations import Annotations
from pipeline.geometry.obb import canonical_obb
from pipeline.training.data.augment import AugmentConfig
from pipeline.training.data.scenes import TrainingScene
from pipeline.training.data.stickers import find_stickers, paste
from tests.support.prepared import BOX, scene_with, white_rectangle


def test_pasted_objects_appear_where_their_boxes_say() -> None:
    sticker = find_stickers([scene_with(BOX)])[0]
    tile = np.full((128, 128, 3), 30, np.float32)
    truth = paste(tile, Annotations.empty(), sticker, AugmentConfig(), default_rng(4))
    measured, box = white_rectangle(tile), canonical_obb(truth.boxes)[0]
    np.testing.assert_allclose(measured[:4], box[:4], atol=3)


def test_objects_on_rough_ground_are_not_copied() -> None:
    scene = scene_with(BOX)
    noise = default_rng(0).integers(0, 255, scene.pixels.shape, np.uint8)
    assert find_stickers([TrainingScene("rough", noise, scene.truth)]) == []


def test_objects_of_one_band_are_copied_too() -> None:
    scene = scene_with(BOX)
    grey = TrainingScene("grey", scene.pixels[..., :1], scene.truth)
    (sticker,) = find_stickers([grey])
    tile = np.full((128, 128, 1), 30, np.float32)
    truth = paste(tile, Annotations.empty(), sticker, AugmentConfig(), default_rng(4))
    assert len(truth) == 1
    assert tile.max() > 100
