"""From scenes to tiles and their targets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.random import default_rng

from pipeline.annotations.annotations import Annotations
from pipeline.training.data.augment import AugmentConfig
from pipeline.training.data.batches import TileSampler, pull_in, to_target
from tests.support.prepared import BOX, scene_with


def test_batches_are_functions_of_the_seed() -> None:
    sampler = TileSampler([([scene_with(BOX)], 1.0)], AugmentConfig())
    first, second, other = (sampler.batch(2, 64, default_rng([0, step])) for step in (5, 5, 6))
    assert first.pixels.equal(second.pixels)
    assert first.targets[0].boxes.equal(second.targets[0].boxes)
    assert not first.pixels.equal(other.pixels)


def test_tiles_of_small_scenes_are_not_mostly_black() -> None:
    """Objects in the corners of a scene hardly larger than a tile: the tile hangs over by little."""
    assert pull_in(np.array([5.0, 90.0]), (100, 200, 3), 30.0).tolist() == [30, 70]
    assert pull_in(np.array([5.0, 90.0]), (100, 200, 3), 80.0).tolist() == [80, 50]
    corners = np.array([[12.0, 12, 16, 8, 0], [228, 12, 16, 8, 0], [12, 228, 16, 8, 0]])
    config = AugmentConfig(scale_range=(1.0, 1.0), quarter_turns=True, paste=0, light=0, object_share=1.0)
    sampler = TileSampler([([scene_with(corners)], 1.0)], config)
    tiles = [sampler.tile(192, default_rng(seed)) for seed in range(12)]
    assert min((pixels.max(-1) > 0).mean() for pixels, _ in tiles) > 0.7
    assert all(len(truth) for _, truth in tiles)


def test_ignored_and_cut_objects_count_nowhere() -> None:
    boxes = np.array([[30.0, 30, 20, 8, 0], [60, 30, 20, 8, 0], [-3, 30, 20, 8, 0], [40, 40, 6, 1, 0]])
    truth = Annotations(boxes, np.zeros(4, np.int64), np.array([False, True, False, False]))
    target = to_target(truth, 64)
    assert target.boxes[:, 0].tolist() == [30]
    assert sorted(target.ignored[:, 0].tolist()) == [-3, 40, 60]


def test_tiles_are_drawn_around_objects_not_around_regions_that_are_ignored() -> None:
    boxes = np.array([[40.0, 40, 16, 8, 0], [200, 200, 30, 30, 0]])
    truth = Annotations(boxes, np.zeros(2, np.int64), np.array([False, True]))
    scene = replace(scene_with(boxes), truth=truth)
    config = AugmentConfig(scale_range=(1.0, 1.0), paste=0, light=0, object_share=1.0)
    sampler = TileSampler([([scene], 1.0)], config)
    kept = [sampler.tile(64, default_rng(seed))[1] for seed in range(12)]
    assert all((~one.ignore).any() for one in kept)


def test_false_alarms_draw_tiles_by_their_scores_and_are_no_objects() -> None:
    scene = scene_with(np.array([[40.0, 40, 16, 8, 0]]))
    scene.pixels[188:192, 188:192] = 220
    config = AugmentConfig(scale_range=(1.0, 1.0), paste=0, light=0, object_share=0.0, false_alarm_share=1.0)
    places = {"made": np.array([[190.0, 190, 0.9], [60, 190, 1e-9]]), "other": np.array([[1.0, 1, 0.5]])}
    sampler = TileSampler([([scene], 1.0)], config, places)
    tiles = [sampler.tile(64, default_rng(seed)) for seed in range(20)]
    assert all(pixels.max() > 150 for pixels, _ in tiles), "what was taken for a ship is in every tile"
    assert all(len(truth) == 0 for _, truth in tiles)


def test_without_false_alarms_nothing_is_drawn_differently() -> None:
    scene = scene_with(BOX)
    plain = TileSampler([([scene], 1.0)], AugmentConfig()).batch(2, 64, default_rng(1))
    elsewhere = {"other": np.array([[1.0, 1, 0.5]])}
    same = TileSampler([([scene], 1.0)], AugmentConfig(), elsewhere).batch(2, 64, default_rng(1))
    assert plain.pixels.equal(same.pixels)
