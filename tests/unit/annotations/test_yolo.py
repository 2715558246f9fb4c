"""YOLO's labels: boxes, corners, outlines, and what is said of the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.annotations.yolo import label_file, read_data_file, read_yolo
from pipeline.errors import ConfigError
from pipeline.geometry.obb import obb_to_corners

BOX = np.array([[120.0, 90, 40, 12, 0.5]])
SIZE = (240, 160)


def label(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))
    return path


def test_a_box_corners_and_an_outline_come_to_pixels(tmp_path: Path) -> None:
    """Of an image that is not square: shares of each side are of that side."""
    corners = " ".join(map(str, (obb_to_corners(BOX)[0] / SIZE).ravel()))
    outline = "0.25 0.25 0.5 0.25 0.5 0.5 0.3 0.5 0.25 0.5"
    path = label(tmp_path / "a.txt", "1 0.5 0.5 0.1 0.2", f"0 {corners}", "", f"1 {outline}")
    truth = read_yolo(path, ("car", "ship"), SIZE)
    np.testing.assert_allclose(truth.boxes[0], [120, 80, 32, 24, -np.pi / 2], atol=1e-9)
    np.testing.assert_allclose(truth.boxes[1], BOX[0], atol=1e-9)
    np.testing.assert_allclose(truth.boxes[2], [90, 60, 60, 40, 0], atol=1e-9)
    assert truth.class_ids.tolist() == [1, 0, 1]
    assert not truth.ignore.any()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 0.5 0.5 0.1", "4 words are neither"),
        ("0 0.5 0.5 0.1 0.1 0.93", "6 words are neither"),
        ("0 0.5 0.5 0.1 x", "not a number"),
        ("0 0.5 0.5 0.1 nan", "not a number"),
        ("0 120 80 32 24", "no shares of the image's sides"),
        ("2 0.5 0.5 0.1 0.1", "class '2' has no name"),
        ("-1 0.5 0.5 0.1 0.1", "class '-1' has no name"),
        ("9" * 5000 + " 0.5 0.5 0.1 0.1", "has no name"),
        ("ship 0.5 0.5 0.1 0.1", "class 'ship' has no name"),
    ],
)
def test_a_line_that_is_no_object_is_named(line: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="line 2: ") as refused:
        read_yolo(label(tmp_path / "a.txt", "0 0.5 0.5 0.1 0.1", line), ("car", "ship"), SIZE)
    assert said in str(refused.value)


@pytest.mark.parametrize("names", ["[car, ship]", "{0: car, 1: ship}", "{1: ship, 0: car}"])
@pytest.mark.parametrize(
    ("said", "place"),
    [
        ("train: images/train", "images/train"),
        ("path: sub\ntrain: images", "sub/images"),
        ("train: ../images/train", "images/train"),
        ("path: /nowhere\ntrain: images/train", "images/train"),
    ],
)
def test_classes_and_images_of_a_data_file(names: str, said: str, place: str, tmp_path: Path) -> None:
    (tmp_path / place).mkdir(parents=True)
    path = label(tmp_path / "data.yaml", f"names: {names}", said)
    read = read_data_file(path, "train")
    assert read.classes == ("car", "ship")
    assert [one.resolve() for one in read.images] == [tmp_path / place]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("names: [a, a]\ntrain: x", "a class twice"),
        ("names: {1: a}\ntrain: x", "not from 0 on"),
        ("names: a\ntrain: x", "neither a list"),
        ("nc: 3\nnames: [a, b]\ntrain: x", "nc is 3, but names has 2"),
        ("names: [a]\nval: x", "no images for the split 'train'; it has val"),
        ("names: [a]\ntrain: x", "there is nothing at"),
        ("train: x", "has no 'names'"),
        ("[", "cannot be read"),
        ("names: " + "[" * 3000, "it nests more than 50 brackets"),
        ("- " * 3000, "cannot be read"),
        ("names: [a, [b]]\ntrain: x", "a class of 'names' is no text"),
        ("nc: [2]\nnames: [a, b]\ntrain: x", "nc is no number, but names has 2"),
        ("path: [x]\nnames: [a, b]\ntrain: x", "'path' is no text"),
    ],
)
def test_a_data_file_that_says_something_else_is_refused(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        read_data_file(label(tmp_path / "data.yaml", text), "train")
    assert said in str(refused.value)


@pytest.mark.parametrize("names", ["[yes, no, 1.0, ~]", "{0: yes, 1: no, 2: 1.0, 3: ~}"])
def test_names_are_what_is_written_whatever_yaml_takes_it_for(names: str, tmp_path: Path) -> None:
    """To YAML these are true, false, a number and nothing."""
    (tmp_path / "images").mkdir()
    path = label(tmp_path / "data.yaml", f"names: {names}", "nc: 4", "train: images")
    assert read_data_file(path, "train").classes == ("yes", "no", "1.0", "~")


def test_labels_lie_in_labels_for_the_last_images() -> None:
    assert label_file(Path("/images/set/images/train/a.jpg")) == Path("/images/set/labels/train/a.txt")
    assert label_file(Path("/set/train/a.jpg")) == Path("/set/train/a.txt")
