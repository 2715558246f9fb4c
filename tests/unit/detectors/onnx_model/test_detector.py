"""What is fed to a network, of whichever size, batch and type, and what comes of answers that are none."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from pipeline.detectors.loading import load_detector
from pipeline.errors import ConfigError, ModelError
from pipeline.types import ByteArray, Chip, Detections, Window
from tests.support.onnx_files import (
    CARD,
    CELL,
    GUESTS,
    OBJECTNESS,
    SIDES,
    expected_sides,
    write_guest,
    write_onnx,
)

BRIGHT = 204


def chip(height: int, width: int, *cells: tuple[int, int, int], zoom: int = 1) -> Chip:
    """Black, but for cells at (row, column) of one band."""
    pixels: ByteArray = np.zeros((height, width, 3), np.uint8)
    side = CELL * zoom
    for row, column, band in cells:
        pixels[row * side : (row + 1) * side, column * side : (column + 1) * side, band] = BRIGHT
    return Chip(pixels=pixels, window=Window(x=0, y=0, width=width, height=height))


def detect(path: Path, *chips: Chip) -> list[Detections]:
    return [look.detections for look in load_detector(path).detect(chips, score_threshold=0.3)]


@pytest.mark.parametrize("layout", GUESTS)
@pytest.mark.parametrize("batch", [None, 2])
def test_every_layout_finds_bright_cells(layout: str, batch: int | None, tmp_path: Path) -> None:
    """Three chips through a batch of any size, and of two; each gets its own answers, where they are."""
    path = write_guest(tmp_path, layout, angle=0.4, batch=batch)
    chips = [chip(64, 64, (2, 3, 0)), chip(64, 40), chip(56, 64, (6, 1, 2), (1, 6, 1))]
    one, none, two = detect(path, *chips)
    score = BRIGHT / 255 * (OBJECTNESS if layout == "yolov5" else 1)
    np.testing.assert_allclose(one.boxes, [[28, 20, *expected_sides(layout, 0.4)]], atol=1e-3)
    np.testing.assert_allclose(one.scores, [score], atol=1e-3)
    assert one.class_ids.tolist() == [0]
    assert len(none) == 0
    order = np.argsort(two.boxes[:, 0])
    np.testing.assert_allclose(two.boxes[order, :2], [[12, 52], [52, 12]], atol=1e-3)
    assert two.class_ids[order].tolist() == [2, 1]


def test_a_chip_larger_than_a_fixed_size_is_made_smaller_and_never_distorted(tmp_path: Path) -> None:
    path = write_guest(tmp_path, "yolo-obb", angle=0.4)
    (found,) = detect(path, chip(128, 64, (2, 3, 0), zoom=2))
    np.testing.assert_allclose(found.boxes, [[56, 40, 48, 24, 0.4]], atol=1e-3)


def test_a_network_of_any_size_sees_each_chip_as_it_is(tmp_path: Path) -> None:
    path = write_guest(tmp_path, "yolo-obb", angle=0.4, size=None)
    large, small = detect(path, chip(200, 120, (20, 10, 0)), chip(24, 30, (1, 1, 1)))
    np.testing.assert_allclose(large.boxes, [[84, 164, 24, 12, 0.4]], atol=1e-3)
    np.testing.assert_allclose(small.boxes, [[12, 12, 24, 12, 0.4]], atol=1e-3)


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.UINT8])
def test_pixels_are_fed_in_the_type_that_the_file_takes(dtype: int, tmp_path: Path) -> None:
    """Bytes as they are, halves normalised."""
    (found,) = detect(write_onnx(tmp_path / "a.onnx", "yolo", dtype=dtype), chip(64, 64, (2, 3, 0)))
    np.testing.assert_allclose(found.boxes, [[28, 20, 24, 12, 0]], atol=1e-3)
    np.testing.assert_allclose(found.scores, [BRIGHT / 255], atol=1e-3)


def test_pixels_are_normalised_as_the_card_says(tmp_path: Path) -> None:
    path = write_guest(tmp_path, "detr")
    path.with_suffix(".card.json").write_text(json.dumps({**CARD, "mean": [0.2] * 3, "std": [0.8] * 3}))
    (found,) = detect(path, chip(64, 64, (2, 3, 0)))
    np.testing.assert_allclose(found.scores, [(BRIGHT / 255 - 0.2) / 0.8], atol=1e-3)


def test_boxes_that_say_one_object_become_one(tmp_path: Path) -> None:
    """Neighbouring cells of one class overlap; of two classes both stay."""
    path = write_guest(tmp_path, "yolo-obb", angle=0.0)
    (found,) = detect(path, chip(64, 64, (2, 3, 0), (2, 4, 0), (3, 3, 1)))
    assert sorted(found.class_ids.tolist()) == [0, 1]


class Cells(torch.nn.Module):
    """The same network as torch has it: pixels (B, 3, H, W) → (B, 5 + classes, cells), as YOLO-OBBs answer."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        scores = torch.nn.functional.avg_pool2d(pixels, CELL)
        x, y = ((torch.ones_like(scores[:, :1]).cumsum(axis) - 0.5) * CELL for axis in (3, 2))
        w, h, turn = (torch.full_like(x, number) for number in (*SIDES, 0.4))
        return torch.cat([x, y, w, h, scores, turn], 1).flatten(2)


def test_a_file_that_torch_exported_finds_them_too(tmp_path: Path) -> None:
    """By tracing, as most exporters do, with axes of any length that only have names."""
    path = tmp_path / "torch.onnx"
    axes = {"images": {0: "batch", 2: "height", 3: "width"}, "output0": {0: "batch", 2: "anchors"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(Cells(), (torch.zeros(1, 3, 64, 96),), str(path), input_names=["images"], opset_version=17,
                          output_names=["output0"], dynamic_axes=axes, dynamo=False)  # fmt: skip
    path.with_suffix(".card.json").write_text(json.dumps({**CARD, "licence": "ours"}))
    one, two = detect(path, chip(64, 64, (2, 3, 0)), chip(100, 120, (11, 13, 2)))
    np.testing.assert_allclose(one.boxes, [[28, 20, 24, 12, 0.4]], atol=1e-3)
    np.testing.assert_allclose(two.boxes, [[108, 92, 24, 12, 0.4]], atol=1e-3)


def change_input(change: Callable[[Any], object]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        model = onnx.load(path)
        change(model.graph.input[0])
        path.write_bytes(model.SerializeToString())

    return edit


def another_input(path: Path) -> None:
    model = onnx.load(path)
    model.graph.input.append(onnx.helper.make_tensor_value_info("context", TensorProto.FLOAT, [1, 8]))
    path.write_bytes(model.SerializeToString())


def sides(*values: int | str) -> Callable[[Path], None]:
    fresh = onnx.helper.make_tensor_value_info("images", TensorProto.FLOAT, values)
    return change_input(lambda port: port.CopyFrom(fresh))


def flat_pooling(path: Path) -> None:
    """Windows of one axis over pictures of two: a valid file that no runtime can run."""
    model = onnx.load(path)
    pool = next(node for node in model.graph.node if node.op_type == "AveragePool")
    for attribute in pool.attribute:
        del attribute.ints[1:]
    path.write_bytes(model.SerializeToString())


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "int8 pixels": (
        change_input(lambda port: setattr(port.type.tensor_type, "elem_type", TensorProto.INT8)),
        "takes pixels as int8, and float32, float16, uint8 are known: export it with a float32 input",
    ),
    "bands of any number": (sides(1, "bands", 64, 64), r"may be dynamic"),
    "bands last": (sides(1, 64, 64, 3), "has its bands last"),
    "a batch without end": (sides(1 << 20, 3, 64, 64), "is larger than any picture: export it with a batch of 1"),
    "a side without end": (sides(1, 3, 64, 1 << 20), "is larger than any picture"),
    "no picture": (sides(1, 3, 64), "known is one picture"),
    "an input of its own": (another_input, r"takes images \(any, 3, 64, 64\), context \(1, 8\)"),
    "what the runtime refuses": (flat_pooling, "cannot be run by onnxruntime"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_input_that_cannot_be_filled_is_said(case: str, tmp_path: Path) -> None:
    edit, said = REFUSED[case]
    path = write_guest(tmp_path, "yolo")
    edit(path)
    with pytest.raises(ModelError, match=said) as caught:
        detect(path, chip(64, 64))
    assert "\n" not in str(caught.value)


def test_answers_that_are_no_numbers_are_said(tmp_path: Path) -> None:
    path = write_guest(tmp_path, "yolo-obb", angle=float("nan"))
    with pytest.raises(ModelError, match="model yolo-obb: the network answered NaN or infinity"):
        detect(path, chip(64, 64, (2, 3, 0)))


def test_scores_that_are_none_are_said(tmp_path: Path) -> None:
    """Pixels of another scale than those that the network was trained with."""
    path = write_guest(tmp_path, "yolo")
    path.with_suffix(".card.json").write_text(json.dumps({"mean": [0.0] * 3, "std": [0.004] * 3}))
    with pytest.raises(
        ModelError, match=r"is no yolo as its outputs were taken for: scores from .*, which are no shares"
    ):
        detect(path, chip(64, 64, (2, 3, 0)))


def test_no_room_for_a_batch_is_an_error_of_memory(tmp_path: Path) -> None:
    """What halves the batch. The network makes its picture so large that no machine holds it."""
    path = write_guest(tmp_path, "yolo")
    model = onnx.load(path)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1 << 40, 1, 3, 64, 64]), "large"))
    model.graph.node[-1].output[0] = "inner"
    model.graph.node.extend(
        [
            onnx.helper.make_node("Expand", ["images", "large"], ["huge"]),
            onnx.helper.make_node("ReduceMax", ["huge"], ["top"], keepdims=0),
            onnx.helper.make_node("Min", ["inner", "top"], ["output0"]),
        ]
    )
    path.write_bytes(model.SerializeToString())
    with pytest.raises(MemoryError, match="cannot look at 1 x 3 x 64 x 64: no room"):
        detect(path, chip(64, 64))


def test_shapes_that_promise_what_does_not_come_are_said(tmp_path: Path) -> None:
    """The declared output has a column less than the real one."""
    path = write_guest(tmp_path, "yolo-obb", size=None)
    model = onnx.load(path)
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 7
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"where 7 x any was promised|cannot be run"):
        detect(path, chip(64, 64, (2, 3, 0)))


def test_a_device_or_a_type_that_cannot_be_is_a_setting_to_change(tmp_path: Path) -> None:
    path = write_guest(tmp_path, "yolo")
    with pytest.raises(ConfigError, match="an ONNX file computes in the types it was exported with"):
        load_detector(path, precision="bfloat16")
    with pytest.raises(ConfigError, match=r"cluster\.device=cuda: onnxruntime .* without GPUs"):
        load_detector(path, device="cuda")
    assert load_detector(path, device="auto", threads=2).card.name == "yolo"


def test_a_runtime_for_gpus_takes_the_cpu_where_it_finds_none_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As onnxruntime-gpu does on a machine without one: what it lists is what was compiled."""
    import onnxruntime

    from pipeline.detectors.onnx_model import session

    listed = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)
    session._finds_a_gpu.cache_clear()
    path = write_guest(tmp_path, "yolo")
    for _ in range(2):
        (look,) = load_detector(path, device="auto").detect([chip(64, 64, (2, 3, 0))], score_threshold=0.3)
        assert len(look.detections) == 1
    assert [one for one in caplog.messages if "finds none here, so the CPU is used" in one] == caplog.messages
    assert len(caplog.messages) == 1
