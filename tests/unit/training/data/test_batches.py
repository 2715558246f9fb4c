"""Annotations in, tiles out: DOTA and COCO files, and tiles whose boxes stay on their objects."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.random import default_rng

from pipeline.annotations.annotations import Annotations
from pipeline.annotations.dota import read_dota
from pipeline.config import RasterConfig
from pipeline.detectors.oriented_rtdetr.folder import save_network
from pipeline.detectors.oriented_rtdetr.network import NetworkConfig, OrientedRTDetr
from pipeline.errors import ConfigError
from pipeline.geometry.obb import canonical_obb, obb_to_corners
from pipeline.training.data.augment import AugmentConfig, Pose, draw_pose, relight, warp_boxes, warp_pixels
from pipeline.training.data.batches import TileSampler, pull_in, to_target
from pipeline.training.data.harbours import prepare_harbour
from pipeline.training.data.prepare import prepare_scene, save_all, scenes_of_coco, scenes_of_dota, shrunk
from pipeline.training.data.scenes import TrainingScene, load_scenes
from pipeline.training.data.stickers import find_stickers, paste
from pipeline.training.start import first_network
from pipeline.types import Lattice

BOX = np.array([[120.0, 90, 40, 12, 0.5]])


def scene_with(boxes: np.ndarray, size: int = 240) -> TrainingScene:
    """White ships on dark water."""
    y, x = np.mgrid[:size, :size] + 0.5
    pixels = np.full((size, size, 3), 20, np.uint8)
    for cx, cy, w, h, angle in boxes:
        along = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        across = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        pixels[(np.abs(along) < w / 2) & (np.abs(across) < h / 2)] = 220
    count = len(boxes)
    return TrainingScene("made", pixels, Annotations(boxes, np.zeros(count, np.int64), np.zeros(count, np.bool_)))


def white_rectangle(tile: np.ndarray) -> np.ndarray:
    """Box of the white pixels from their moments: a uniform rectangle of side w has variance w² / 12."""
    rows, columns = np.nonzero(tile[..., 0] > 120)
    points = np.column_stack([columns, rows]) + 0.5
    values, vectors = np.linalg.eigh(np.cov(points.T))
    angle = np.arctan2(vectors[1, 1], vectors[0, 1])
    return canonical_obb(np.array([[*points.mean(0), *np.sqrt(12 * values[::-1]), angle]]))[0]


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
    config = AugmentConfig(scale_range=(1.0, 1.0), quarter_turns=True, paste_mean=0, light=0, object_share=1.0)
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


def test_dota_files(tmp_path: Path) -> None:
    path = tmp_path / "P0001.txt"
    path.write_text(
        "imagesource:GoogleEarth\ngsd:0.15\n10 10 50 10 50 20 10 20 ship 0\n0.5 0 4.5 0 4.5 8 .5 8 plane 1\n\n"
    )
    truth = read_dota(path, ("plane", "ship"))
    assert truth.class_ids.tolist() == [1, 0]
    assert truth.ignore.tolist() == [False, True]
    np.testing.assert_allclose(truth.boxes[0], [30, 15, 40, 10, 0], atol=1e-9)
    np.testing.assert_allclose(truth.boxes[1, :4], [2.5, 4, 8, 4])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1 2 3 4 5 6 7 ship", "line 1: expected 8 coordinates"),
        ("1 2 3 4 5 6 7 x ship 0", "not a number"),
        ("1 2 3 4 5 6 7 8 boat 0", "'boat' is not one of ship"),
    ],
)
def test_bad_dota_lines_are_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(line)
    with pytest.raises(ConfigError, match=said):
        read_dota(path, ("ship",))


def test_coco_and_dota_of_one_image_prepare_to_the_same_scene(tmp_path: Path) -> None:
    """A pixel scene (PNG) with one ship, described both ways, keeps its truth; without a GSD nothing is resampled."""
    from PIL import Image

    scene = scene_with(BOX)
    Image.fromarray(scene.pixels).save(tmp_path / "a.png")
    corners = obb_to_corners(BOX)[0].ravel().tolist()
    document = {
        "categories": [{"id": 1, "name": "ship"}],
        "images": [{"id": 1, "file_name": "a.png", "width": 240, "height": 240}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [corners], "bbox": [0, 0, 1, 1], "iscrowd": 0},
            {"id": 2, "image_id": 1, "category_id": 1, "rbox": [50, 60, 9, 5, 0.1], "segmentation": [], "ignore": 1},
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps(document))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text(" ".join(map(str, corners)) + " ship 0")
    coco = [prepare_scene(i, t, None, RasterConfig()) for i, t in scenes_of_coco(tmp_path / "a.json", tmp_path)]
    dota = [
        prepare_scene(i, t, None, RasterConfig()) for i, t in scenes_of_dota(tmp_path / "labels", tmp_path, ("ship",))
    ]
    assert coco[0].truth.ignore.tolist() == [False, True]
    np.testing.assert_allclose(coco[0].truth.boxes[0], BOX[0], atol=1e-9)
    np.testing.assert_allclose(dota[0].truth.boxes, BOX, atol=1e-9)
    np.testing.assert_array_equal(coco[0].pixels, scene.pixels)
    save_all(coco, tmp_path / "prepared")
    (loaded,) = load_scenes(tmp_path / "prepared")
    np.testing.assert_array_equal(loaded.pixels, scene.pixels)
    np.testing.assert_array_equal(loaded.truth.boxes, coco[0].truth.boxes)


def three_classes(path: Path, image: str) -> Path:
    """A COCO file of horizontal boxes: a van, a car, a region where nobody looked, and a car to be ignored."""
    names = ("car", "van", "bus", "dont_care")
    objects = [(2, [40, 60, 20, 10]), (1, [100, 90, 40, 12]), (4, [0, 0, 30, 30]), (1, [60, 10, 8, 8])]
    document = {
        "categories": [{"id": i, "name": name} for i, name in enumerate(names, start=1)],
        "images": [{"id": 1, "file_name": image, "width": 240, "height": 240}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": category, "bbox": box, "segmentation": [], "ignore": int(i == 4)}
            for i, (category, box) in enumerate(objects, start=1)
        ],
    }
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("classes", "class_ids", "ignore"),
    [
        (None, [1, 0, -1, 0], [False, False, True, True]),
        (("car",), [-1, 0, -1, 0], [True, False, True, True]),
        (("van", "car"), [0, 1, -1, 1], [False, False, True, True]),
    ],
)
def test_classes_that_are_not_learnt_become_ignore_regions(
    classes: tuple[str, ...] | None, class_ids: list[int], ignore: list[bool], tmp_path: Path
) -> None:
    """The network's class numbers follow the order asked for; a region for every class stays one."""
    ((_, truth),) = scenes_of_coco(three_classes(tmp_path / "a.json", "a.png"), tmp_path, classes)
    assert truth.class_ids.tolist() == class_ids
    assert truth.ignore.tolist() == ignore
    np.testing.assert_allclose(truth.boxes[1], [120, 96, 40, 12, 0])


def test_a_class_the_file_does_not_have_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no class lorry; it has car, van, bus"):
        list(scenes_of_coco(three_classes(tmp_path / "a.json", "a.png"), tmp_path, ("lorry", "car")))


def test_a_grey_jpeg_without_a_gsd_is_shrunk_like_detection_shrinks(tmp_path: Path) -> None:
    """One band thrice; half the side; the white rectangle lies where its shrunk box says."""
    from PIL import Image

    grey = scene_with(BOX).pixels[..., 0]
    Image.fromarray(grey).save(tmp_path / "a.jpg", quality=95)
    truth = Annotations(BOX, np.zeros(1, np.int64), np.zeros(1, np.bool_))
    half = prepare_scene(tmp_path / "a.jpg", truth, None, RasterConfig(), shrink=2)
    assert half.pixels.shape == (120, 120, 3)
    assert (half.pixels == half.pixels[..., :1]).all()
    np.testing.assert_allclose(half.truth.boxes[0], [60, 45, 20, 6, 0.5], atol=1e-9)
    measured = white_rectangle(half.pixels)
    np.testing.assert_allclose(measured[:4], half.truth.boxes[0, :4], atol=1)


def test_shrinking_a_lattice_keeps_its_ground() -> None:
    lattice = shrunk(Lattice(width=1001, height=640, scale_x=0.6, scale_y=0.8, gsd_m=6.0), 4)
    assert (lattice.width, lattice.height) == (251, 160)
    assert (lattice.scale_x, lattice.scale_y, lattice.gsd_m) == (2.4, 3.2, 24.0)
    assert shrunk(lattice, 1.0) == lattice
    with pytest.raises(ConfigError, match=r"at least 1, not 0\.5"):
        shrunk(lattice, 0.5)


@pytest.mark.parametrize("classes", [None, 1, 3])
def test_a_training_starts_from_all_that_does_not_depend_on_the_classes(classes: int | None, tmp_path: Path) -> None:
    config = NetworkConfig(
        stage_channels=(16, 16, 16, 16), stage_depths=(1, 1, 1, 1), width=32, heads=2, decoder_layers=1
    )
    learnt = OrientedRTDetr(config)
    save_network(tmp_path, learnt)
    start = first_network(tmp_path, classes)
    assert start.config.classes == (classes or 1)
    kept = [
        name for name, tensor in start.state_dict().items()
        if tensor.shape == learnt.state_dict()[name].shape and tensor.is_floating_point()
    ]  # fmt: skip
    changed = set(start.state_dict()) - set(kept)
    of_classes = {name for name in changed if name.startswith(("proposals.score", "score_heads", "label_embedding"))}
    assert bool(of_classes) == (classes == 3)
    for name in kept:
        torch.testing.assert_close(start.state_dict()[name], learnt.state_dict()[name], rtol=1e-3, atol=1e-4)
    assert first_network(None, None).config.classes == 1


def test_harbours_are_prepared_at_the_models_gsd_and_the_demo_seed_is_refused() -> None:
    harbour = prepare_harbour(3, 128, 6.0, RasterConfig())
    assert harbour.pixels.shape == (213, 213, 3)
    assert (harbour.truth.boxes[:, :2] < 214).all()
    with pytest.raises(ConfigError, match="seeds for training"):
        prepare_harbour(20_260_007, 128, 6.0, RasterConfig())


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no prepared scenes"):
        load_scenes(tmp_path)
