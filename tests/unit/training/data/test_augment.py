"""Tiles whose boxes stay on their objects, however they are turned, scaled and mirrored."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.random import default_rng

from pipeline.geometry.obb import canonical_obb
from pipeline.training.data.augment import AugmentConfig, Pose, draw_pose, relight, warp_boxes, warp_pixels
from tests.support.prepared import BOX, scene_with, white_rectangle


@pytest.mark.parametrize("scales", [(0.75, 1.4), (0.4, 0.7)])
@pytest.mark.parametrize("seed", range(12))
def test_a_warped_box_lies_on_its_warped_pixels(seed: int, scales: tuple[float, float]) -> None:
    """Any rotation, scale and mirroring: the box of the white pixels, measured, is the box that was computed."""
    scene = scene_with(BOX)
    pose = draw_pose(np.array([118.0, 95.0]), AugmentConfig(scale_range=scales), default_rng(seed))
    measured = white_rectangle(warp_pixels(scene.pixels, pose, 128))
    computed = canonical_obb(warp_boxes(BOX, pose, 128))[0]
    np.testing.assert_allclose(measured[:4], computed[:4], atol=1.2)
    assert abs((measured[4] - computed[4] + np.pi / 2) % np.pi - np.pi / 2) < 0.05


def test_what_shrinks_much_is_averaged_not_skipped() -> None:
    """A board of single black and white pixels becomes grey, as it does in detection's resampling."""
    board = np.indices((200, 200)).sum(0)[..., None].repeat(3, 2) % 2 * 255
    tile = warp_pixels(board.astype(np.uint8), Pose(np.array([100.0, 100.0]), 0.0, 0.4, False), 64)
    assert np.ptp(tile[4:-4, 4:-4]) < 40


def test_quarter_turns_keep_upright_boxes_upright() -> None:
    upright = np.array([[100.0, 80, 40, 12, 0.0]])
    config = AugmentConfig(quarter_turns=True)
    poses = [draw_pose(np.array([100.0, 80.0]), config, default_rng(seed)) for seed in range(20)]
    angles = {round(float(warp_boxes(upright, pose, 64)[0, 4]) / (np.pi / 2), 6) % 2 for pose in poses}
    assert angles == {0.0, 1.0}


def test_the_identity_pose_copies_pixels() -> None:
    scene = scene_with(BOX)
    tile = warp_pixels(scene.pixels, Pose(np.array([100.0, 80.0]), 0.0, 1.0, False), 64)
    np.testing.assert_allclose(tile, scene.pixels[48:112, 68:132], atol=1e-2)


def test_what_lies_outside_the_scene_is_black_and_stays_black() -> None:
    tile = warp_pixels(scene_with(BOX).pixels, Pose(np.array([-500.0, 0.0]), 0.3, 1.0, False), 64)
    assert tile.max() == 0
    assert relight(tile, 1.0, default_rng(0)).max() == 0


@pytest.mark.parametrize("bands", [1, 2, 5])
def test_any_number_of_bands_is_lit_and_a_hole_stays_one(bands: int) -> None:
    tile = np.full((32, 32, bands), 90, np.float32)
    tile[:8] = 0
    lit = relight(tile, 1.0, default_rng(3))
    assert lit.shape == tile.shape
    assert lit[:8].max() == 0
    assert np.abs(lit[8:] - 90).mean() > 1
