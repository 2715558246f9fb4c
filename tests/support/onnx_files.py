"""Real ONNX files whose answers are known: networks that find bright cells, one for every layout.

The network means each cell of 8 x 8 px, each band a class of its own: that is the score. Every cell says a box
of SIDES around its middle, turned by the angle that the file was made with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CELL = 8
SIDES = (24.0, 12.0)
CLASSES = ["car", "van", "bus"]
OBJECTNESS = 0.8
NAMES = {"names": str(dict(enumerate(CLASSES))), "stride": "8", "license": "CC0-1.0 (none)"}
CARD = {"classes": CLASSES, "mean": [0.0] * 3, "std": [1.0] * 3}
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


class Network:
    """Collects the nodes of a graph."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.stored: list[Any] = []

    def value(self, array: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def do(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        out = name or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out

    def part(self, array: str, start: int, end: int, axis: int) -> str:
        return self.do("Slice", array, *(self.value([one], np.int64) for one in (start, end, axis)))

    def times(self, array: str, number: Any) -> str:
        return self.do("Mul", array, self.value(number))

    def plus(self, array: str, number: Any) -> str:
        return self.do("Add", array, self.value(number))

    def rows(self, *planes: str) -> str:
        """Planes (B, k, h, w) put together as (B, k, h · w)."""
        joined = self.do("Concat", *planes, axis=1)
        return self.do("Reshape", joined, self.value([0, 0, -1], np.int64))


def write_onnx(
    path: Path, layout: str, *, angle: float = 0.5, size: int | None = 64, batch: int | None = None,
    dtype: int = FLOAT, metadata: Mapping[str, str] | None = None,
) -> Path:  # fmt: skip
    """A file of that layout. ``size`` and ``batch`` None are dynamic; None for ``metadata`` is Ultralytics'."""
    net = Network()
    ours = layout.startswith("kestrel")
    pixels = helper.make_tensor_value_info(
        "pixels" if ours else "images", dtype, [batch or "batch", 3, size or "height", size or "width"]
    )
    inputs = [pixels]
    picture = pixels.name if dtype == FLOAT else net.do("Cast", pixels.name, to=FLOAT)
    if ours or dtype == TensorProto.UINT8:
        picture = net.times(picture, 1 / 255)
    scores = net.part(net.do("AveragePool", picture, kernel_shape=[CELL] * 2, strides=[CELL] * 2), 0, len(CLASSES), 1)
    ones = net.plus(net.times(net.part(scores, 0, 1, 1), 0.0), 1.0)
    x, y = (net.plus(net.times(net.do("CumSum", ones, net.value(a, np.int64)), CELL), -CELL / 2) for a in (3, 2))
    w, h, turn = (net.times(ones, number) for number in (*SIDES, angle))
    if layout == "detr-boxes":
        inputs.append(helper.make_tensor_value_info("orig_target_sizes", INT64, [batch or "batch", 2]))
    planes = {"x": x, "y": y, "w": w, "h": h, "turn": turn, "scores": scores, "ones": ones}
    outputs = _TAILS[layout](net, planes, size)
    count = (size // CELL) ** 2 if size else "cells"
    declared = [
        helper.make_tensor_value_info(name, kind, [{"B": batch or "batch", "N": count}.get(s, s) for s in shape])
        for name, kind, shape in outputs
    ]
    graph = helper.make_graph(net.nodes, "bright cells", inputs, declared, net.stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, dict(NAMES if metadata is None else metadata))
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())
    return path


def write_guest(folder: Path, layout: str, **options: Any) -> Path:
    """The same with all that its own exporter gives beside it, and a card for what none of them says."""
    path = folder / f"{layout}.onnx"
    if layout.startswith("kestrel"):
        card = {"name": "cells", "classes": CLASSES, "gsd_m": None, "bands": ["red", "green", "blue"], "input_px": 64,
                "sha256": "0" * 64, "oriented": True, **{key: CARD[key] for key in ("mean", "std")}}  # fmt: skip
        return write_onnx(path, layout, metadata={"kestrel": json.dumps(card)}, **options)
    if layout == "oriented-det":
        meta = {"class_names": CLASSES, "normalize_mean": [0.0] * 3, "normalize_std": [1.0] * 3, "score_threshold": 0.2}
        path.with_suffix(".export_meta.json").write_text(json.dumps(meta))
        return write_onnx(path, layout, metadata={}, **{**options, "batch": 1})
    if layout.startswith("detr"):
        softmax = {"activation": "softmax"} if layout == "detr-softmax" else {}
        path.with_suffix(".card.json").write_text(json.dumps({**CARD, **softmax}))
        return write_onnx(path, layout, metadata={}, **options)
    if layout == "ultralytics-rtdetr":  # of three classes it has the shape of a YOLO26-OBB
        said = {"description": "Ultralytics rtdetr-l model", "task": "detect"}
        return write_onnx(path, layout, metadata={**NAMES, **said}, **options)
    if layout == "yolo-bounds":  # LibreYOLO's exporter declares no shapes
        names = json.dumps({str(number): name for number, name in enumerate(CLASSES)})
        return write_onnx(path, layout, metadata={**NAMES, "model_family": "yolo9", "names": names}, **options)
    return write_onnx(path, layout, **options)


def expected_sides(layout: str, angle: float) -> tuple[float, float, float]:
    """Width, height and angle of the box that a bright cell gets: of horizontal layouts the angle is 0."""
    return (*SIDES, angle if layout in TURNED else 0.0)


def _yolo(net: Network, p: Mapping[str, str], size: int | None) -> list[tuple[str, int, Sequence[Any]]]:
    net.do("Identity", net.rows(p["x"], p["y"], p["w"], p["h"], p["scores"]), name="output0")
    return [("output0", FLOAT, ["B", 4 + len(CLASSES), "N"])]


def _yolo_bounds(net: Network, p: Mapping[str, str], size: int | None) -> list[tuple[str, int, Sequence[Any]]]:
    net.do("Identity", net.rows(*_bounds(net, p), p["scores"]), name="output")
    return [("output", FLOAT, ["B", None, None])]


def _yolo_obb(net: Network, p: Mapping[str, str], size: int | None) -> list[tuple[str, int, Sequence[Any]]]:
    net.do("Identity", net.rows(p["x"], p["y"], p["w"], p["h"], p["scores"], p["turn"]), name="output0")
    return [("output0", FLOAT, ["B", 5 + len(CLASSES), "N"])]


def _yolov5(net: Network, p: Mapping[str, str], size: int | None) -> list[tuple[str, int, Sequence[Any]]]:
    rows = net.rows(p["x"], p["y"], p["w"], p["h"], net.times(p["ones"], OBJECTNESS), p["scores"])
    net.do("Transpose", rows, perm=[0, 2, 1], name="output")
    return [("output", FLOAT, ["B", "N", 5 + len(CLASSES)])]


def _best(net: Network, p: Mapping[str, str]) -> tuple[str, str]:
    """Best score and its class, planes (B, 1, h, w)."""
    label = net.do("ArgMax", p["scores"], axis=1, keepdims=1)
    return net.do("ReduceMax", p["scores"], axes=[1], keepdims=1), label


def _bounds(net: Network, p: Mapping[str, str]) -> list[str]:
    half = {side: net.times(p[side], 0.5) for side in ("w", "h")}
    return [net.do(kind, p[middle], half[side]) for kind in ("Sub", "Add") for middle, side in (("x", "w"), ("y", "h"))]


def _yolo26(net: Network, p: Mapping[str, str], size: int | None) -> list[tuple[str, int, Sequence[Any]]]:
    score, label = _best(net, p)
    net.do(
        "Transpose", net.rows(*_bounds(net, p), score, net.do("Cast", label, to=FLOAT)), perm=[0, 2, 1], name="output0"
    )
    return [("output0", FLOAT, ["B", "N", 6])]


def _yolo26_obb(net: Network, p: Mapping[str, str], size: int | None) -> list[tuple[str, int, Sequence[Any]]]:
    score, label = _best(net, p)
    rows = net.rows(p["x"], p["y"], p["w"], p["h"], score, net.do("Cast", label, to=FLOAT), p["turn"])
    net.do("Transpose", rows, perm=[0, 2, 1], name="output0")
    return [("output0", FLOAT, ["B", "N", 7])]


def _shares(net: Network, p: Mapping[str, str], size: int | None) -> list[str]:
    return [net.times(p[side], 1 / size) for side in ("x", "y", "w", "h")]  # type: ignore[operator]


def _ultralytics_rtdetr(net: Network, p: Mapping[str, str], size: int | None) -> list[tuple[str, int, Sequence[Any]]]:
    net.do("Transpose", net.rows(*_shares(net, p, size), p["scores"]), perm=[0, 2, 1], name="output0")
    return [("output0", FLOAT, ["B", "N", 4 + len(CLASSES)])]


def _detr_softmax(net: Network, p: Mapping[str, str], size: int | None) -> list[tuple[str, int, Sequence[Any]]]:
    """Of each cell a share for every class and one for none, whose logarithms are logits of a softmax."""
    total = net.do("ReduceSum", p["scores"], net.value([1], np.int64), keepdims=1)
    none = net.do("Sub", net.value(1.0), total)
    shares = net.do("Clip", net.rows(p["scores"], none), net.value(1e-6), net.value(1.0))
    net.do("Transpose", net.do("Log", shares), perm=[0, 2, 1], name="logits")
    net.do("Transpose", net.rows(*_shares(net, p, size)), perm=[0, 2, 1], name="pred_boxes")
    return [("logits", FLOAT, ["B", "N", len(CLASSES) + 1]), ("pred_boxes", FLOAT, ["B", "N", 4])]


def _logits(net: Network, p: Mapping[str, str]) -> None:
    share = net.do("Clip", net.rows(p["scores"]), net.value(1e-6), net.value(1 - 1e-6))
    logits = net.do("Log", net.do("Div", share, net.do("Sub", net.value(1.0), share)))
    net.do("Transpose", logits, perm=[0, 2, 1], name="logits")


def _detr(net: Network, p: Mapping[str, str], size: int | None) -> list[tuple[str, int, Sequence[Any]]]:
    _logits(net, p)
    net.do("Transpose", net.rows(*_shares(net, p, size)), perm=[0, 2, 1], name="pred_boxes")
    return [("logits", FLOAT, ["B", "N", len(CLASSES)]), ("pred_boxes", FLOAT, ["B", "N", 4])]


def _detr_boxes(net: Network, p: Mapping[str, str], size: int | None) -> list[tuple[str, int, Sequence[Any]]]:
    score, label = _best(net, p)
    flat = net.value([0, -1], np.int64)
    net.do("Reshape", label, flat, name="labels")
    net.do("Reshape", score, flat, name="scores")
    shares = net.do("Transpose", net.times(net.rows(*_bounds(net, p)), 1 / size), perm=[0, 2, 1])  # type: ignore[operator]
    sizes = net.do("Unsqueeze", net.do("Cast", "orig_target_sizes", to=FLOAT), net.value([1], np.int64))
    net.do("Mul", shares, net.do("Concat", sizes, sizes, axis=2), name="boxes")
    return [("labels", INT64, ["B", "N"]), ("boxes", FLOAT, ["B", "N", 4]), ("scores", FLOAT, ["B", "N"])]


def _oriented_det(net: Network, p: Mapping[str, str], size: int | None) -> list[tuple[str, int, Sequence[Any]]]:
    score, label = _best(net, p)
    flat = net.value([-1], np.int64)
    rows = net.do("Transpose", net.rows(p["x"], p["y"], p["w"], p["h"], p["turn"]), perm=[0, 2, 1])
    net.do("Reshape", rows, net.value([-1, 5], np.int64), name="pre_nms_boxes")
    net.do("Reshape", score, flat, name="pre_nms_scores")
    first = net.do("Add", net.do("Reshape", label, flat), net.value([1], np.int64))
    net.do("Identity", first, name="pre_nms_labels")
    net.do("Size", first, name="pre_nms_count")
    return [("pre_nms_boxes", FLOAT, ["N", 5]), ("pre_nms_scores", FLOAT, ["N"]), ("pre_nms_labels", INT64, ["N"]),
            ("pre_nms_count", INT64, [])]  # fmt: skip


def _kestrel_rtdetr(net: Network, p: Mapping[str, str], size: int | None) -> list[tuple[str, int, Sequence[Any]]]:
    _logits(net, p)
    net.do("Transpose", net.rows(*_shares(net, p, size), p["turn"]), perm=[0, 2, 1], name="boxes")
    return [("logits", FLOAT, ["B", "N", len(CLASSES)]), ("boxes", FLOAT, ["B", "N", 5])]


def _kestrel_fcos(net: Network, p: Mapping[str, str], size: int | None) -> list[tuple[str, int, Sequence[Any]]]:
    net.do("Transpose", net.rows(p["scores"]), perm=[0, 2, 1], name="scores")
    net.do("Transpose", net.rows(p["x"], p["y"], p["w"], p["h"], p["turn"]), perm=[0, 2, 1], name="boxes")
    return [("scores", FLOAT, ["B", "N", len(CLASSES)]), ("boxes", FLOAT, ["B", "N", 5])]


_TAILS = {
    "yolo": _yolo, "yolo-bounds": _yolo_bounds, "yolo-obb": _yolo_obb, "yolov5": _yolov5, "yolo26": _yolo26,
    "yolo26-obb": _yolo26_obb, "ultralytics-rtdetr": _ultralytics_rtdetr, "detr-softmax": _detr_softmax,
    "detr": _detr, "detr-boxes": _detr_boxes, "oriented-det": _oriented_det, "kestrel-rtdetr": _kestrel_rtdetr,
    "kestrel-fcos": _kestrel_fcos,
}  # fmt: skip
GUESTS = tuple(_TAILS)
TURNED = ("yolo-obb", "yolo26-obb", "oriented-det", "kestrel-rtdetr", "kestrel-fcos")
