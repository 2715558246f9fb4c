"""What is held out is held out: no pixel of it is ever in a training tile."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio import Affine

from jobs.train_detector import main
from pipeline.annotations.annotations import Annotations
from pipeline.errors import ConfigError
from pipeline.training.data.augment import AugmentConfig
from pipeline.training.data.batches import TileSampler
from pipeline.training.data.prepared import read_prepared
from pipeline.training.data.scenes import TrainingScene, load_scenes
from pipeline.training.data.splits import (
    BlockRule,
    Planned,
    blocks_of,
    held_blocks,
    held_out,
    held_scenes,
    same_ground,
    to_train_on,
)
from pipeline.types import Window
from tests.support.scenes import picture, write_geotiff

Said = pytest.CaptureFixture[str]


def truth_of(boxes: np.ndarray) -> Annotations:
    return Annotations(boxes, np.zeros(len(boxes), np.int64), np.zeros(len(boxes), np.bool_))


def plan(name: str, width: int, height: int, boxes: np.ndarray, ground: object = None) -> Planned:
    return Planned(name=name, width=width, height=height, centres=boxes[:, :2], ground=ground)


@settings(max_examples=25)
@given(
    width=st.integers(40, 300), height=st.integers(40, 300), side=st.integers(20, 120), buffer_px=st.integers(0, 40),
    seed=st.integers(0, 99), share=st.floats(0.05, 0.9),
)  # fmt: skip
def test_no_pixel_of_a_held_out_block_is_in_a_training_tile(
    width: int, height: int, side: int, buffer_px: int, seed: int, share: float
) -> None:
    """Held-out pixels are white and the others grey, light is not changed: no tile of any turn, scale or place has
    anything lighter than grey, or than twice that where an object was pasted onto it with 1.2 times its contrast. The
    two sides never show the same pixel."""
    random = np.random.default_rng(seed)
    boxes = np.column_stack([random.uniform(0, 1, (12, 2)) * (width, height), np.tile([20.0, 8.0], (12, 1)),
                             random.uniform(-1, 1, 12)])  # fmt: skip
    rule = BlockRule(side_px=side, buffer_px=buffer_px)
    if len(blocks_of(width, height, side)) < 2:
        return
    held, _ = held_blocks([plan("a", width, height, boxes)], rule, share, seed)
    pixels = np.full((height, width, 3), 40, np.uint8)
    for block in held["a"]:
        pixels[block.y : block.y1, block.x : block.x1] = 255
    scene = TrainingScene("a", pixels, truth_of(boxes))
    parts = held_out(scene, held["a"])
    assert sum(int((part.pixels == 255).all(-1).sum()) for part in parts) == int((pixels == 255).all(-1).sum())
    assert all(set(np.unique(part.pixels)) <= {0, 255} for part in parts)
    training = to_train_on(scene, held["a"], buffer_px)
    if training is None:
        return
    sampler = TileSampler([([training], 1.0)], AugmentConfig(paste=2.0, light=0.0))
    for _ in range(6):
        tile, truth = sampler.tile(96, random)
        assert tile.max() <= 100  # half of a white pixel would be more
        assert np.isfinite(truth.boxes).all()


def test_objects_are_on_one_side_or_cut(tmp_path: Path) -> None:
    """Two blocks of 100 px, the right one held out, a buffer of 10: whole left, in the buffer, across, whole right."""
    boxes = np.array([[40.0, 50, 20, 8, 0.3], [95, 20, 8, 4, 0.0], [100, 50, 40, 8, 0.0], [150, 50, 20, 8, 0.3],
                      [2, 50, 20, 8, 0.0]])  # fmt: skip
    scene = TrainingScene("a", np.full((100, 200, 3), 9, np.uint8), truth_of(boxes))
    held = [Window(x=100, y=0, width=100, height=100)]
    training = to_train_on(scene, held, 10)
    assert training is not None
    np.testing.assert_array_equal(training.truth.boxes, boxes[[0, 2, 4]])
    assert training.truth.ignore.tolist() == [False, True, False]  # the scene's own edge cuts nothing
    (part,) = held_out(scene, held)
    assert part.name == "a_held1"
    np.testing.assert_array_equal(part.truth.boxes, boxes[[2, 3]] - (100, 0, 0, 0, 0))
    assert part.truth.ignore.tolist() == [True, False]
    assert (training.pixels[:, 90:] == 0).all()
    assert (training.pixels[:, :90] == 9).all()


def test_an_ignore_region_of_the_whole_scene_takes_no_memory() -> None:
    region = Annotations(np.array([[2000.0, 2000, 4000, 4000, 0]]), np.array([-1]), np.ones(1, np.bool_))
    scene = TrainingScene("a", np.ones((4000, 4000, 1), np.uint8), region)
    tracemalloc.start()
    try:
        (part,) = held_out(scene, [Window(x=0, y=0, width=64, height=64)])
        assert tracemalloc.get_traced_memory()[1] < 1 << 26  # the scene's own mask is 2**24
    finally:
        tracemalloc.stop()
    assert part.truth.ignore.tolist() == [True]


def test_the_seed_decides_and_the_share_is_met() -> None:
    random = np.random.default_rng(0)
    boxes = np.column_stack([random.uniform(0, 1000, (200, 2)), np.tile([20.0, 8.0, 0.0], (200, 1))])
    scenes = [plan("a", 1000, 1000, boxes), plan("b", 1000, 1000, boxes[:40])]
    rule = BlockRule(side_px=125, buffer_px=16)
    held, blocks = held_blocks(scenes, rule, 0.25, 3)
    assert blocks == 128
    assert held == held_blocks(scenes, rule, 0.25, 3)[0]
    assert held != held_blocks(scenes, rule, 0.25, 4)[0]
    assert sum(one.pixels for one in [*held["a"], *held["b"]]) / 2e6 == pytest.approx(0.25, abs=0.08)


def ground(*bounds: float) -> object:
    return shapely.box(*bounds)


def test_scenes_of_the_same_ground_stay_together() -> None:
    """A chain of three that overlap, one that only touches them, one of which nothing says where it is."""
    places: Sequence[object] = (
        ground(0, 0, 10, 10), ground(8, 0, 18, 10), ground(17, 0, 27, 10), ground(27, 0, 37, 10), None,
    )  # fmt: skip
    scenes = [plan(str(at), 100, 100, np.zeros((2, 5)), one) for at, one in enumerate(places)]
    assert same_ground(scenes) == [[0, 1, 2], [3], [4]]
    for seed in range(9):
        held = held_scenes(scenes, 0.3, seed)
        assert held
        assert len(held & {"0", "1", "2"}) in (0, 3)
    with pytest.raises(ConfigError, match="the images 0 and 1 show the same ground"):
        held_blocks(scenes, BlockRule(side_px=50, buffer_px=0), 0.3, 0)
    with pytest.raises(ConfigError, match="there is only 1 of scenes that show ground of their own"):
        held_scenes(scenes[:3], 0.3, 0)


def images(root: Path, count: int) -> Path:
    """Images beside each other with a ship each, as DOTA txt."""
    for at in range(count):
        transform = Affine(10, 0, 500_000 + 2000 * at, 0, -10, 5_000_000)
        write_geotiff(root / f"scene{at}.tif", picture(160, 160, seed=at) // 2 + 40, transform=transform)
        (root / f"scene{at}.txt").write_text("20 20 40 20 40 30 20 30 ship 0\n110 110 130 110 130 120 110 120 ship 0")
    return root


def prepare(root: Path, *given: object) -> int:
    return main(["prepare", "--annotations", str(root), "--images", str(root), "--out", str(root / "o"),
                 *map(str, given)])  # fmt: skip


def test_prepare_holds_out_blocks_and_says_so(tmp_path: Path, capsys: Said) -> None:
    assert prepare(images(tmp_path, 2), "--split-blocks", 80, "--split-buffer", 8, "--hold-out-share", 0.25) == 0
    said = capsys.readouterr().out
    assert "2 of 8 blocks of 80 px are held out, 8 px around them are on neither side; " in said
    train, val = (load_scenes(tmp_path / "o" / one) for one in ("train", "val"))
    written = json.loads((tmp_path / "o" / "split.json").read_text())
    assert (written["block_px"], written["buffer_px"], written["seed"]) == (80, 8, 0)
    for scene in train:
        for x, y, width, height in written["held_out"][scene.name]:
            assert not scene.pixels[max(0, y - 8) : y + height + 8, max(0, x - 8) : x + width + 8].any()
    assert sum((one.pixels > 0).all(-1).sum() for one in val) == 2 * 80 * 80
    assert sum(len(one.truth) for one in (*train, *val)) == 4
    assert read_prepared(tmp_path / "o" / "val") == read_prepared(tmp_path / "o" / "train")
    assert not {one.name for one in train} & {one.name for one in val}


def test_prepare_holds_out_scenes_and_says_so(tmp_path: Path, capsys: Said) -> None:
    assert prepare(images(tmp_path, 4), "--hold-out-share", 0.5) == 0
    assert "2 of 4 scenes are held out: 4 objects to train on, 4 held out (seed 0)" in capsys.readouterr().out
    names = [sorted(scene.name for scene in load_scenes(tmp_path / "o" / one)) for one in ("train", "val")]
    assert sorted(names[0] + names[1]) == ["scene0", "scene1", "scene2", "scene3"]
    assert len(names[0]) == 2


def test_another_split_does_not_leave_what_it_holds_out_among_what_is_trained_on(tmp_path: Path, capsys: Said) -> None:
    """The same one may be made again; a folder that was filled without one is another."""
    images(tmp_path, 4)
    for seed, code in ((0, 0), (0, 0), (1, 2)):
        assert prepare(tmp_path, "--hold-out-share", 0.5, "--split-seed", seed) == code
    assert "holds scenes of another split" in capsys.readouterr().err
    assert len(load_scenes(tmp_path / "o" / "train")) == 2
    (tmp_path / "o" / "split.json").unlink()
    assert prepare(tmp_path, "--hold-out-share", 0.5) == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--split-buffer", 8), "--split-buffer is around the blocks of --split-blocks"),
        (("--hold-out-share", 1), "--hold-out-share lies between 0 and 1, not 1"),
        (("--split-blocks", 0), "--split-blocks is at least 1 pixel"),
        (("--split-blocks", 4000), "there is only 1 of blocks; give fewer pixels"),
    ],
)
def test_a_split_that_cannot_be_is_one_sentence(
    given: tuple[object, ...], said: str, tmp_path: Path, capsys: Said
) -> None:
    assert prepare(images(tmp_path, 1), *given) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
