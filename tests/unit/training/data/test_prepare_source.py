"""``prepare`` from the command line: what it is given, what it says, what it leaves out, the picture it makes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs.train_detector import main
from pipeline.annotations.yolo import first_line
from pipeline.geometry.obb import obb_to_corners
from pipeline.training.data.contact_sheet import examples
from pipeline.training.data.prepare_source import CONTACT_SHEET
from pipeline.training.data.prepared import read_prepared
from pipeline.training.data.scenes import load_scenes
from pipeline.training.data.tally import Shown
from tests.support.prepared import scene_with

BOXES = np.array([[120.0, 90, 40, 12, 0.5], [60, 180, 30, 8, -1.0]])
Said = pytest.CaptureFixture[str]


def yolo(root: Path) -> Path:
    """A data.yaml of YOLO-OBB with three images: of two ships and one outside, of nothing, and one without labels."""
    for name in ("images/train", "labels/train"):
        (root / name).mkdir(parents=True)
    scene = scene_with(BOXES)
    for name in ("a", "empty", "bare"):
        Image.fromarray(scene.pixels if name == "a" else scene.pixels * 0 + 40).save(root / f"images/train/{name}.png")
    outside = np.array([[-60.0, 90, 40, 12, 0.0], [90.0, 90, 40, 0, 0.0]])
    rows = [" ".join(map(str, corners.ravel() / 240)) for corners in obb_to_corners(np.concatenate([BOXES, outside]))]
    (root / "labels/train/a.txt").write_text("\n".join(f"{at % 2} {row}" for at, row in enumerate(rows)))
    (root / "labels/train/empty.txt").write_text("")
    (root / "labels/train/gone.txt").write_text("0 0.5 0.5 0.1 0.1")
    (root / "data.yaml").write_text("path: .\ntrain: images/train\nnames: {0: ship, 1: boat}\n")
    return root / "data.yaml"


def prepare(*given: object) -> int:
    return main(["prepare", *map(str, given)])


def test_a_yolo_data_set_is_prepared_and_all_of_it_is_said(tmp_path: Path, capsys: Said) -> None:
    assert prepare("--annotations", yolo(tmp_path), "--out", tmp_path / "out") == 0
    said = capsys.readouterr().out
    for line in (
        "YOLO-OBB labels (data.yaml, split train)",
        "1 images have no file of labels: they are taken to show no object",
        "1 files of labels have no image here and were left out, first gone.txt",
        "1 objects lie outside their image and were dropped",
        "1 objects have no area and were dropped",
        "3 images, 0.2 Mpx; 2 of them without an object; 2 objects, 0 ignore regions",
    ):
        assert line in said
    rows = {words[0]: words[1:] for line in said.splitlines() if len(words := line.split()) == 7}
    assert rows["ship"] == ["0", "0", "0", "1", "0", "1"]
    assert rows["boat"] == ["0", "0", "1", "0", "0", "1"]
    found = {scene.name: scene.truth for scene in load_scenes(tmp_path / "out")}
    assert {name: len(truth) for name, truth in found.items()} == {"a": 2, "bare": 0, "empty": 0}
    np.testing.assert_allclose(found["a"].boxes, BOXES, atol=1e-9)
    prepared = read_prepared(tmp_path / "out")
    assert prepared is not None
    assert prepared.classes == ("ship", "boat")


def test_the_contact_sheet_draws_every_box_around_an_example(tmp_path: Path) -> None:
    """The first example is the boat: its outline is in the class' colour where the scene is dark."""
    assert prepare("--annotations", yolo(tmp_path), "--out", tmp_path / "out") == 0
    sheet = np.asarray(Image.open(tmp_path / "out" / CONTACT_SHEET).convert("RGB")).astype(int)
    ship, boat = ((sheet - colour == 0).all(-1) for colour in ((230, 159, 0), (86, 180, 233)))
    assert ship.sum() > 150
    assert boat.sum() > 150


def test_examples_are_of_all_classes_and_of_all_scenes() -> None:
    """A class with a thousand objects in one scene leaves room for the one object of another."""
    shown = [
        Shown(name="many", width=9, height=9, boxes=np.ones((1000, 5)), class_ids=np.zeros(1000, np.int64), regions=0),
        Shown(name="few", width=9, height=9, boxes=np.ones((3, 5)), class_ids=np.array([0, 1, 0]), regions=0),
    ]
    chosen = examples(shown, 3)
    assert ("few", 1) in chosen
    assert {name for name, _ in chosen} == {"many", "few"}
    assert len(set(chosen)) == len(chosen) <= 30


@pytest.mark.parametrize(
    ("files", "given", "said"),
    [
        ({}, (), "holds no annotations: give a COCO json"),
        ({"a.txt": "0 0.5 0.5 0.1 0.1"}, ("--images", "IMAGES"), "YOLO labels without names of classes"),
        ({"a.txt": "1 2 3 4 5 6 7 8 ship 0"}, (), "does not say where its images are: give --images"),
        ({"a.txt": "1 2 3 4 5 6 7 8 ship 0"}, ("--images", "nowhere"), "no folder of images at nowhere"),
        ({"data.yaml": "names: [a]\ntrain: ."}, ("--split", "val"), "no images for the split 'val'; it has train"),
        (
            {"b.txt": "0 0.5 0.5 0.1 0.1"},
            ("--images", "IMAGES", "--classes", "ship"),
            "the 1 images has labels",
        ),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    files: dict[str, str], given: tuple[str, ...], said: str, tmp_path: Path, capsys: Said
) -> None:
    for folder in ("labels", "images"):
        (tmp_path / folder).mkdir()
    Image.fromarray(scene_with(BOXES).pixels).save(tmp_path / "images" / "a.png")
    for name, text in files.items():
        (tmp_path / "labels" / name).write_text(text)
    flags = [str(tmp_path / "images") if one == "IMAGES" else one for one in given]
    assert prepare("--annotations", tmp_path / "labels", "--out", tmp_path / "out", *flags) == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_yolo_labels_beside_a_file_of_classes_need_no_data_file(tmp_path: Path) -> None:
    data = yolo(tmp_path)
    data.unlink()
    (tmp_path / "labels/train/classes.txt").write_text("ship\nboat\n")
    given = ("--annotations", tmp_path / "labels/train", "--images", tmp_path / "images/train", "--out", tmp_path / "o")
    assert prepare(*given) == 0
    assert sum(len(scene.truth) for scene in load_scenes(tmp_path / "o")) == 2


def test_classes_that_are_asked_for_do_not_rename_those_of_the_file_of_classes(tmp_path: Path) -> None:
    """Asked for in another order, and one of two: by name, not by place."""
    yolo(tmp_path).unlink()
    (tmp_path / "labels/train/classes.txt").write_text("\ufeffship\nboat\n\n", encoding="utf-8")
    given = ("--annotations", tmp_path / "labels/train", "--images", tmp_path / "images/train")
    for asked, class_ids, ignore in (("boat,ship", [1, 0], [False, False]), ("boat", [-1, 0], [True, False])):
        assert prepare(*given, "--out", tmp_path / asked, "--classes", asked) == 0
        truth = load_scenes(tmp_path / asked)[0].truth
        assert (truth.class_ids.tolist(), truth.ignore.tolist()) == (class_ids, ignore)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"ship\n\nboat", "line 2 names no class"),
        (b"ship\nship", "has a class twice"),
        (b"\xff\xfe", "cannot be read as a text"),
    ],
)
def test_a_file_of_classes_whose_numbers_are_not_known_is_refused(
    text: bytes, said: str, tmp_path: Path, capsys: Said
) -> None:
    yolo(tmp_path).unlink()
    (tmp_path / "labels/train/classes.txt").write_bytes(text)
    given = ("--annotations", tmp_path / "labels/train", "--images", tmp_path / "images/train", "--out", tmp_path / "o")
    assert prepare(*given) == 2
    assert said in capsys.readouterr().err


def test_many_images_without_objects_do_not_make_yolo_labels_those_of_dota(tmp_path: Path) -> None:
    """Nine words a line are a line of DOTA, too: of class 0.4, at the wrong place."""
    for number in range(60):
        (tmp_path / f"a{number:02}.txt").write_text("")
    (tmp_path / "b.txt").write_text("0 0.1 0.1 0.4 0.1 0.4 0.4 0.1 0.4")
    assert first_line(tmp_path) == "0 0.1 0.1 0.4 0.1 0.4 0.4 0.1 0.4"


def test_one_image_is_enough_whatever_the_annotations_are(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    Image.fromarray(scene_with(BOXES).pixels).save(tmp_path / "a.png")
    (ring,) = obb_to_corners(BOXES[:1])
    (tmp_path / "labels" / "a.txt").write_text(f"{' '.join(map(str, ring.ravel()))} ship 0")
    rows = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [100, 80, 40, 20]}]
    images, categories = [{"id": 1, "file_name": "train/a.png"}], [{"id": 1, "name": "ship"}]
    document = {"images": images, "categories": categories, "annotations": rows}
    (tmp_path / "coco.json").write_text(json.dumps(document))
    for at, given in enumerate((tmp_path / "labels", tmp_path / "coco.json")):
        out = tmp_path / f"out{at}"
        assert prepare("--annotations", given, "--images", tmp_path / "a.png", "--out", out) == 0
        assert [len(scene.truth) for scene in load_scenes(out)] == [1]


def test_an_object_in_a_hole_is_dropped_and_a_region_there_is_not(tmp_path: Path, capsys: Said) -> None:
    pixels = scene_with(BOXES).pixels
    mask = np.full((240, 240), 255, np.uint8)
    mask[60:120, 90:150] = 0
    Image.fromarray(np.dstack([pixels, mask])).save(tmp_path / "a.png")
    corners = [" ".join(map(str, one.ravel())) for one in obb_to_corners(BOXES)]
    (tmp_path / "a.txt").write_text(f"{corners[0]} ship 0\n{corners[0]} ship 1\n{corners[1]} ship 0")
    assert prepare("--annotations", tmp_path, "--images", tmp_path, "--out", tmp_path / "out") == 0
    assert "1 objects have their centre where the image shows nothing and were dropped" in capsys.readouterr().out
    (scene,) = load_scenes(tmp_path / "out")
    assert scene.truth.ignore.tolist() == [True, False]
