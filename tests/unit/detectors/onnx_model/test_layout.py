"""Which layout the shapes of the outputs are of; where that is open, the classes, the card and the metadata decide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.detectors.onnx_model.graph import Graph, Port
from pipeline.detectors.onnx_model.layout import Hints, find_answers
from pipeline.errors import ModelError

Shape = tuple[int | None, ...]


def graph(outputs: dict[str, Shape | None], *, beside: tuple[str, ...] = (), **metadata: str) -> Graph:
    def ports(shapes: dict[str, Any]) -> tuple[Port, ...]:
        return tuple(Port(name=name, dtype="float32", shape=shape) for name, shape in shapes.items())

    inputs = ports({"images": (1, 3, 640, 640), **dict.fromkeys(beside, (1, 2))})
    return Graph(path=Path("best.onnx"), data=b"", sha256="", inputs=inputs, outputs=ports(outputs), metadata=metadata)


ONE: list[tuple[Shape, dict[str, Any], str]] = [
    ((1, 84, 8400), {"classes": 80}, "yolo"),
    ((1, 20, 21504), {"classes": 15}, "yolo-obb"),
    ((1, 20, 21504), {"classes": 16}, "yolo"),
    ((None, 20, None), {"classes": 15}, "yolo-obb"),
    ((1, 25200, 85), {"classes": 80}, "yolov5"),
    ((None, None, 85), {"classes": 80}, "yolov5"),
    ((1, 300, 6), {"classes": 80}, "yolo26"),
    ((1, 300, 7), {"classes": 15}, "yolo26-obb"),
    ((1, 25200, 6), {"classes": 1, "area_px": 640 * 640}, "yolov5"),
    ((1, 25500, 7), {"classes": 2, "area_px": 640 * 640}, "yolov5"),
    ((1, 300, 6), {"classes": 1, "area_px": 640 * 640}, "yolo26"),
    ((1, 300, 6), {"classes": 1, "area_px": 640 * 640, "selects": False}, "yolo26"),
    ((1, 2000, 6), {"classes": 1, "area_px": 640 * 640, "selects": True}, "yolo26"),
    ((1, 252, 6), {"classes": 1, "area_px": 64 * 64}, "yolov5"),
    ((1, 25000, 6), {"classes": 1}, "yolov5"),
    ((None, None, 6), {"classes": 1, "selects": True}, "yolo26"),
    ((None, None, 7), {"classes": 2, "selects": False}, "yolov5"),
    ((None, None, 6), {"classes": 1, "layout": "yolov5"}, "yolov5"),
    ((1, 6, 8400), {"classes": 1}, "yolo-obb"),
    ((1, 6, 8400), {"classes": 2, "task": "obb"}, "yolo"),
    ((1, 300, 6), {"classes": 296}, "yolo26"),
    ((None, None, None), {"classes": 3, "layout": "yolo-obb"}, "yolo-obb"),
    ((None, None, None), {"classes": 3, "layout": "yolo26"}, "yolo26"),
    ((1, 84, 8400), {"classes": 80, "family": "yolo9"}, "yolo-bounds"),
    ((1, 84, 8400), {"classes": 80, "layout": "yolo-bounds"}, "yolo-bounds"),
    ((1, 84, 8400), {"classes": 80, "layout": "yolo", "family": "mine"}, "yolo"),
    ((1, 300, 84), {"classes": 80}, "ultralytics-rtdetr"),
    ((None, 300, 5), {"classes": 1, "area_px": 640 * 640}, "ultralytics-rtdetr"),
    ((1, 300, 6), {"classes": 2}, "yolo26"),
    ((1, 300, 6), {"classes": 2, "model": "Ultralytics RT-DETR-l model"}, "ultralytics-rtdetr"),
    ((1, 300, 6), {"classes": 2, "selects": False}, "ultralytics-rtdetr"),
    ((1, 300, 7), {"classes": 3, "task": "detect"}, "ultralytics-rtdetr"),
    ((1, 300, 7), {"classes": 3, "task": "obb"}, "yolo26-obb"),
    ((None, None, None), {"classes": 3, "layout": "ultralytics-rtdetr"}, "ultralytics-rtdetr"),
]


@pytest.mark.parametrize(("shape", "known", "name"), ONE)
def test_one_output(shape: Shape, known: dict[str, Any], name: str) -> None:
    found = find_answers(graph({"output0": shape}), Hints(**known))
    assert (found.layout.name, found.names) == (name, ("output0",))


SEVERAL: list[tuple[dict[str, Shape | None], tuple[str, ...], str, tuple[str, ...]]] = [
    ({"logits": (1, 300, 3), "pred_boxes": (1, 300, 4)}, (), "detr", ("logits", "pred_boxes")),
    ({"dets": (1, 300, 4), "labels": (1, 300, 3)}, (), "detr", ("labels", "dets")),
    ({"a": (None, None, 4), "b": (None, None, 3)}, (), "detr", ("b", "a")),
    ({"logits": (1, 9, 3), "pred_boxes": (1, 9, 4), "memory": (1, 99, 256)}, (), "detr", ("logits", "pred_boxes")),
    ({"labels": (1, 300), "boxes": (1, 300, 4), "scores": (1, 300)}, ("orig_target_sizes",), "detr-boxes",
     ("labels", "boxes", "scores")),
    ({"scores": None, "boxes": None, "labels": None}, ("orig_target_sizes",), "detr-boxes",
     ("labels", "boxes", "scores")),
]  # fmt: skip


@pytest.mark.parametrize(("outputs", "beside", "name", "names"), SEVERAL)
def test_several_outputs(outputs: Any, beside: tuple[str, ...], name: str, names: tuple[str, ...]) -> None:
    found = find_answers(graph(outputs, beside=beside), Hints(classes=3))
    assert (found.layout.name, found.names) == (name, names)


@pytest.mark.parametrize("known", [{"activation": "softmax"}, {"layout": "detr-softmax"}])
def test_the_last_class_is_no_object_where_it_is_said(known: dict[str, str]) -> None:
    outputs: dict[str, Shape | None] = {"logits": (1, 100, 4), "pred_boxes": (1, 100, 4)}
    found = find_answers(graph(outputs), Hints(classes=3, **known))
    assert (found.layout.name, found.names) == ("detr-softmax", ("logits", "pred_boxes"))


def test_with_four_classes_the_names_say_which_are_the_boxes() -> None:
    outputs: dict[str, Shape | None] = {"pred_boxes": (1, 300, 4), "logits": (1, 300, 4)}
    assert find_answers(graph(outputs), Hints(classes=4)).names == ("logits", "pred_boxes")


REFUSED: list[tuple[dict[str, Shape | None], dict[str, Any], str]] = [
    ({"output0": (1, 20, 8400)}, {"classes": 3}, "but of 16 classes or, turned or with objectness, 15: name them all"),
    ({"logits": (1, 300, 91), "boxes": (1, 300, 4)}, {"classes": 90}, r'"softmax"} if the last of 91 classes means'),
    ({"output0": (1, 8400, 84)}, {"classes": 80}, "80 classes that is known here: export one of yolo"),
    ({"output0": (1, 189, 84)}, {"classes": 80, "area_px": 96 * 96}, "80 classes that is known here: export one of"),
    ({"output0": (1, 84, 8400)}, {"classes": 80, "activation": "softmax"}, "whose scores need no activation"),
    ({"logits": (1, 9, 3), "boxes": (1, 9, 4)}, {"classes": 3, "activation": "tanh"}, "is softmax or sigmoid, not 'ta"),
    ({"logits": (1, 9, 3), "boxes": (1, 9, 4)}, {"classes": 3, "activation": "softmax"}, "one of its 3 classes means"),
    ({"logits": (1, 9, 4), "boxes": (1, 9, 4)}, {"classes": 3, "activation": "sigmoid"}, "but of 4 classes: name them"),
    ({"a": (None, None, 6)}, {"classes": 1}, r'may be of yolov5 or yolo26: say which in best\.card\.json, for example'),
    ({"output0": (1, 20, 8400)}, {"classes": 15, "layout": "yolov5"}, "says layout 'yolov5', but the outputs are"),
    ({"output0": (1, 20, 8400)}, {"classes": 15, "layout": "ssd"}, "says layout 'ssd'.*known are yolo"),
    ({"output0": (1, 116, 8400), "output1": (1, 32, 160, 160)}, {"classes": 80}, "masks and feature maps are not read"),
    ({"boxes": (None, 4), "scores": (None,), "labels": (None,)}, {"classes": 80}, "export one of yolo"),
    ({"output0": None}, {"classes": 80}, "export one of yolo"),
    ({"output": (1, 8400, 85)}, {"classes": 80, "family": "yolox"}, "model_family 'yolox'.* say layout, mean and std"),
    ({"output0": (None, None, None)}, {"classes": 80}, "export one of yolo"),
]  # fmt: skip


@pytest.mark.parametrize(("outputs", "known", "said"), REFUSED)
def test_what_fits_nothing_or_too_much_is_said(outputs: Any, known: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        find_answers(graph(outputs), Hints(**known))
    assert "\n" not in str(caught.value)
