"""What each layout writes becomes the boxes that it means, whichever way it writes them."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.detectors.onnx_model.decode import Part, Question, decode
from pipeline.detectors.onnx_model.detector import in_chip
from pipeline.detectors.onnx_model.layout import LAYOUTS
from pipeline.detectors.onnx_model.network_input import Placed
from pipeline.geometry.obb import obb_to_corners
from pipeline.types import Chip, FloatArray, Window
from tests.support.onnx_files import GUESTS, OBJECTNESS, TURNED

WIDTH, HEIGHT = 200, 100
QUESTION = Question(classes=3, width=WIDTH, height=HEIGHT, threshold=0.1)
CENTRE, SIDES = (90.0, 40.0), (30.0, 10.0)
SCORE = 0.75
SIZE = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT], np.float64)


def logit(share: FloatArray) -> FloatArray:
    return np.log(share / (1 - share))


def answers(layout: str, box: FloatArray) -> list[Part]:
    """One box (5,) of class 1 with SCORE, and one that nobody believes in, as a network of that layout writes them."""
    sides, turn = np.stack([box[:4], [50, 50, 9, 9]]), np.array([[box[4]], [0.0]])
    scores = np.array([[0.01, SCORE, 0.02], [0.01, 0.01, 0.01]])
    best, label = scores.max(1, keepdims=True), scores.argmax(1)[:, None]
    bounds = np.hstack([sides[:, :2] - sides[:, 2:] / 2, sides[:, :2] + sides[:, 2:] / 2])
    written: dict[str, list[Part]] = {
        "yolo": [np.hstack([sides, scores]).T],
        "yolo-bounds": [np.hstack([bounds, scores]).T],
        "yolo-obb": [np.hstack([sides, scores, turn]).T],
        "yolov5": [np.hstack([sides, np.full((2, 1), OBJECTNESS), scores / OBJECTNESS])],
        "yolo26": [np.hstack([bounds, best, label])],
        "yolo26-obb": [np.hstack([sides, best, label, turn])],
        "ultralytics-rtdetr": [np.hstack([sides / SIZE, scores])],
        "detr": [logit(scores), sides / SIZE],
        "detr-softmax": [np.log(np.hstack([scores, 1 - scores.sum(1, keepdims=True)])) + 3, sides / SIZE],
        "detr-boxes": [label[:, 0], bounds, best[:, 0]],
        "oriented-det": [np.hstack([sides, turn]), best[:, 0], label[:, 0] + 1, np.array(1)],
        "kestrel-rtdetr": [logit(scores), np.hstack([sides / SIZE, turn])],
        "kestrel-fcos": [scores, np.hstack([sides, turn])],
    }
    return [part.astype(np.float32) if part.dtype.kind == "f" else part for part in written[layout]]


def turned(angle: float) -> FloatArray:
    """(4, 2) corners of the box turned clockwise on screen, by the definition of a rotation."""
    offsets = np.array([[x * SIDES[0] / 2, y * SIDES[1] / 2] for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))])
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(CENTRE) + offsets @ np.array([[cos, sin], [-sin, cos]])


def found_corners(layout: str, box: FloatArray) -> FloatArray:
    """(4, 2) corners of the one detection of class 1 that comes of a written box, in a chip half as large."""
    decoded = decode(LAYOUTS[layout], answers(layout, box), QUESTION)
    placed = Placed(pixels=np.zeros((HEIGHT, WIDTH, 3), np.uint8), height=HEIGHT, width=WIDTH, scale=0.5)
    window = Window(x=0, y=0, width=WIDTH * 2, height=HEIGHT * 2)
    found = in_chip(decoded, placed, Chip(pixels=np.zeros((HEIGHT * 2, WIDTH * 2, 3), np.uint8), window=window))
    assert found.scores == pytest.approx([SCORE], abs=1e-6)
    assert found.class_ids.tolist() == [1]
    assert found.boxes[0, 2] >= found.boxes[0, 3]
    assert -np.pi / 2 <= found.boxes[0, 4] < np.pi / 2
    return np.asarray(obb_to_corners(found.boxes)[0])


def assert_same_corners(ours: FloatArray, meant: FloatArray) -> None:
    """In whichever order."""
    far = np.linalg.norm(ours[:, None] - meant[None], axis=2)
    assert far.min(axis=1).max() < 1e-3
    assert far.min(axis=0).max() < 1e-3


@pytest.mark.parametrize("layout", TURNED)
def test_a_box_at_every_angle_has_the_right_corners(layout: str) -> None:
    """Written with either side first, and with angles beyond half a turn, as heads from -45 to 135 degrees do."""
    for degrees in range(180):
        angle = np.radians(degrees)
        ways = [(*SIDES, angle), (*SIDES, angle - np.pi), (SIDES[1], SIDES[0], angle + np.pi / 2),
                (SIDES[1], SIDES[0], angle - np.pi / 2)]  # fmt: skip
        for way in ways:
            assert_same_corners(found_corners(layout, np.array([*CENTRE, *way])), turned(angle) * 2)


@pytest.mark.parametrize("layout", [one for one in GUESTS if one not in TURNED])
@pytest.mark.parametrize("upright", [False, True])
def test_a_horizontal_box_has_the_right_corners(layout: str, upright: bool) -> None:
    sides = SIDES[::-1] if upright else SIDES
    corners = found_corners(layout, np.array([*CENTRE, *sides, 0.0]))
    assert_same_corners(corners, turned(np.pi / 2 if upright else 0.0) * 2)


@pytest.mark.parametrize("layout", GUESTS)
def test_an_answer_of_another_shape_is_refused(layout: str) -> None:
    """One column more, or scores that are none: the file is not what it was taken for."""
    good = answers(layout, np.array([*CENTRE, *SIDES, 0.3]))
    which = 1 if layout.startswith(("detr", "kestrel")) else 0
    axis = 0 if layout in ("yolo", "yolo-bounds", "yolo-obb") else 1
    wider = [np.concatenate([part, part], axis=axis) if row == which else part for row, part in enumerate(good)]
    with pytest.raises(ValueError, match="promised"):
        decode(LAYOUTS[layout], wider, QUESTION)
    if layout in ("detr", "detr-softmax", "kestrel-rtdetr"):
        return  # a logit may be any number
    with pytest.raises(ValueError, match=r"no shares|none of the"):
        decode(LAYOUTS[layout], [part * 100 for part in good[:3]] + good[3:], QUESTION)


@pytest.mark.parametrize("layout", ["yolo26", "yolo26-obb", "detr-boxes", "oriented-det"])
def test_a_class_that_is_none_is_refused(layout: str) -> None:
    box = np.array([*CENTRE, *SIDES, 0.3])
    with pytest.raises(ValueError, match="none of the 1"):
        decode(LAYOUTS[layout], answers(layout, box), Question(classes=1, width=200, height=100, threshold=0.1))


def test_rows_from_the_count_on_are_padding() -> None:
    parts = answers("oriented-det", np.array([*CENTRE, *SIDES, 0.3]))
    parts[1][:] = 0.9
    assert len(decode(LAYOUTS["oriented-det"], parts, QUESTION).boxes) == 1
    with pytest.raises(ValueError, match="are said to be used"):
        decode(LAYOUTS["oriented-det"], [*parts[:3], np.array(3)], QUESTION)


def test_scores_are_not_taken_for_numbers_of_classes() -> None:
    """RT-DETR of Ultralytics with two classes has the shape of a YOLO26: cx, cy, w, h in shares and two scores."""
    answer = np.array([[0.5, 0.5, 0.1, 0.1, 0.9, 0.02], [0.2, 0.2, 0.1, 0.1, 0.01, 0.8]], np.float32)
    two = Question(classes=2, width=WIDTH, height=HEIGHT, threshold=0.1)
    with pytest.raises(ValueError, match="no whole numbers"):
        decode(LAYOUTS["yolo26"], [answer], two)
    boxes = decode(LAYOUTS["ultralytics-rtdetr"], [answer], two).boxes
    np.testing.assert_allclose(boxes[0], [100, 50, 20, 10, 0], atol=1e-4)
    pixels = np.array([[10, 10, 30, 30, 0.9, 1.0]], np.float32)
    with pytest.raises(ValueError, match="boxes of up to 30, which are no shares"):
        decode(LAYOUTS["ultralytics-rtdetr"], [pixels], two)


@pytest.mark.parametrize("layout", ["detr-boxes", "oriented-det"])
def test_outputs_without_axes_are_one_sentence(layout: str) -> None:
    parts = answers(layout, np.array([*CENTRE, *SIDES, 0.3]))
    with pytest.raises(ValueError, match="scores of shape"):
        decode(LAYOUTS[layout], [np.zeros(()) if part.ndim == 1 else part for part in parts], QUESTION)
