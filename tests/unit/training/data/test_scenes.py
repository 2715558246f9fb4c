"""Prepared scenes in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ConfigError
from pipeline.training.data.scenes import load_scenes, save_scene
from tests.support.prepared import BOX, scene_with


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no prepared scenes"):
        load_scenes(tmp_path)


def test_a_scene_comes_back_as_it_was_and_the_same_scene_is_the_same_bytes(tmp_path: Path) -> None:
    scene = scene_with(BOX)
    save_scene(tmp_path / "a.npz", scene)
    (back,) = load_scenes(tmp_path)
    np.testing.assert_array_equal(back.pixels, scene.pixels)
    np.testing.assert_array_equal(back.truth.boxes, scene.truth.boxes)
    first = (tmp_path / "a.npz").read_bytes()
    assert len(first) < scene.pixels.nbytes / 20, "compressed"
    save_scene(tmp_path / "a.npz", scene)
    assert (tmp_path / "a.npz").read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"], "nothing is left beside it"
