"""What an ONNX file may hold: everything else is one sentence that says what to export instead."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from pipeline.detectors.loading import read_model_card
from pipeline.detectors.onnx_model.graph import MOST_METADATA_BYTES, read_graph
from pipeline.errors import ModelError
from pipeline.storage.onnx_files import MOST_ONNX_BYTES
from tests.support.onnx_files import NAMES, write_onnx


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_onnx(tmp_path / "best.onnx", "yolo-obb")


def edit(path: Path, change: Callable[[Any], object]) -> None:
    model = onnx.load(path, load_external_data=False)
    change(model)
    path.write_bytes(model.SerializeToString())


def test_what_goes_in_and_comes_out_is_read(path: Path) -> None:
    graph = read_graph(path)
    assert [(port.name, port.dtype, port.shape) for port in graph.inputs] == [("images", "float32", (None, 3, 64, 64))]
    assert [(port.name, port.shape) for port in graph.outputs] == [("output0", (None, 8, 64))]
    assert graph.metadata == NAMES


def external(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def custom(model: Any) -> None:
    model.graph.node.append(helper.make_node("NMSRotated", ["output0"], ["dets"], domain="mmdeploy"))
    model.opset_import.append(helper.make_opsetid("mmdeploy", 1))


def hidden(model: Any) -> None:
    """The same operator, inside a branch, with its domain named nowhere else."""
    inner = helper.make_graph([helper.make_node("NMSRotated", [], ["z"], domain="mmdeploy")], "inner", [], [])
    model.graph.node.append(helper.make_node("If", ["c0"], ["y"], then_branch=inner, else_branch=inner))


def function(model: Any) -> None:
    model.functions.append(helper.make_function("own", "Twice", ["x"], ["y"], [], [helper.make_opsetid("", 17)]))


def stored_outside_in_a_constant(model: Any) -> None:
    tensor = TensorProto(name="t", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    model.graph.node.append(helper.make_node("Constant", [], ["k"], value=tensor))


def sequence(model: Any) -> None:
    model.graph.node.append(helper.make_node("SequenceEmpty", [], ["many"]))
    model.graph.output.append(helper.make_tensor_sequence_value_info("many", TensorProto.FLOAT, None))


REFUSED: dict[str, tuple[Callable[[Any], object], str]] = {
    "external data": (external, r"keeps its weights in another file, which is not followed: export it in one piece"),
    "external constant": (stored_outside_in_a_constant, "keeps its weights in another file"),
    "custom operator": (custom, r"operators of its own \(mmdeploy::NMSRotated\).*export it without NMS"),
    "custom operator in a branch": (hidden, r"operators of its own \(mmdeploy::NMSRotated\)"),
    "local function": (function, r"operators of its own \(own::Twice\)"),
    "opset of tomorrow": (lambda m: setattr(m.opset_import[0], "version", 99), "is of opset 99.*with opset 17"),
    "opset of yesterday": (lambda m: setattr(m.opset_import[0], "version", 1), "is of opset 1,"),
    "no opset": (lambda m: m.ClearField("opset_import"), "is of opset 0,"),
    "huge metadata": (
        lambda m: helper.set_model_props(m, {"names": "x" * MOST_METADATA_BYTES}),
        "says more than 1048576 bytes about itself",
    ),
    "huge description": (lambda m: setattr(m, "doc_string", "x" * 2 * MOST_METADATA_BYTES), "bytes about itself"),
    "no graph": (lambda m: m.ClearField("graph"), "is no valid ONNX file"),
    "a loop in the graph": (lambda m: m.graph.node[0].input.__setitem__(0, m.graph.node[-1].output[0]), "no valid"),
    "unknown operator": (lambda m: setattr(m.graph.node[0], "op_type", "Guess"), "is no valid ONNX file"),
    "weights shorter than they say": (
        lambda m: setattr(m.graph.initializer[0], "raw_data", b"12"), "has 2 bytes for a shape of",
    ),
    "weights of a shape without end": (
        lambda m: m.graph.initializer[0].dims.extend([2**62] * 4), r"bytes for a shape of .*4611686018427387904",
    ),
    "weights of a negative shape": (lambda m: m.graph.initializer[0].dims.append(-1), "bytes for a shape of .*-1"),
    "a sequence": (sequence, "'many' is no tensor"),
    "a negative side": (
        lambda m: setattr(m.graph.output[0].type.tensor_type.shape.dim[1], "dim_value", -3), "it is damaged",
    ),
    "many outputs": (lambda m: m.graph.output.extend([m.graph.output[0]] * 40), "is no valid|inputs or outputs"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_said_in_one_sentence(case: str, path: Path) -> None:
    change, said = REFUSED[case]
    edit(path, change)
    with pytest.raises(ModelError, match=said) as caught:
        read_model_card(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.9, 0.99])
def test_a_file_that_was_cut_is_said_to_be_damaged(kept: float, path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ModelError, match=r"no readable ONNX|no valid ONNX|is of opset 0"):
        read_graph(path)


@pytest.mark.parametrize("text", [b"license", b"output0"])
def test_names_that_are_no_text_are_said_to_be(text: bytes, path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(text, b"\xff\xfe" + text[2:]))
    with pytest.raises(ModelError, match="names that are no UTF-8"):
        read_graph(path)


def test_a_file_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """It has holes: nothing of it is on the disk."""
    path = tmp_path / "large.onnx"
    with path.open("wb") as stream:
        stream.truncate(MOST_ONNX_BYTES + 1)
    with pytest.raises(ModelError, match="and an ONNX file of one piece at most 2147483647"):
        read_graph(path)


def test_without_the_packages_one_sentence_says_what_to_install(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the extra was not installed: the import itself fails."""
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModelError, match=r"pip install 'kestrel-aerial\[onnx\]'"):
        read_graph(path)
