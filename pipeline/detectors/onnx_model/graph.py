"""An ONNX file, read and judged before anything runs it: what goes in, what comes out, what it says of itself.

The file is read once; the bytes that were judged are the bytes that run. Reading takes the package ``onnx`` (protocol
buffers), never the runtime.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.detectors.onnx_runtime import import_onnxruntime
from pipeline.errors import ModelError, one_sentence
from pipeline.names import brief, listed, quoted
from pipeline.storage.onnx_files import MOST_ONNX_BYTES

DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
"""Of the operators that ONNX Runtime has; any other domain needs a library that comes with the file."""
OLDEST_OPSET, NEWEST_OPSET = 7, 26
"""Versions of the standard operators that ONNX Runtime 1.23 and later runs."""
MOST_METADATA_BYTES = 1 << 20
MOST_PORTS = 16
"""Inputs, and outputs: no detector has more."""
LARGEST_SIDE = 1 << 24
"""No axis of an input or output is longer."""
_MISSING = "ONNX files need the packages onnx and onnxruntime: pip install 'kestrel-aerial[onnx]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An input or output of the network."""

    name: str
    dtype: str
    """As numpy calls it: float32, float16, uint8, int64 …"""
    shape: tuple[int | None, ...] | None
    """None for an axis of any length; None in place of all for a port that does not say."""

    def __str__(self) -> str:
        sides = "?" if self.shape is None else ", ".join("any" if side is None else str(side) for side in self.shape)
        return f"{brief(self.name)} ({sides})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """One file that may be run."""

    path: Path
    data: bytes
    sha256: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    metadata: Mapping[str, str]


def import_library(name: str) -> ModuleType:
    """``onnx`` or ``onnxruntime``, late: only these files need them. Raises ModelError that says what to install."""
    try:
        if name == "onnx":
            import onnx

            return onnx  # type: ignore[no-any-return]
        return import_onnxruntime()
    except ImportError as error:
        raise ModelError(f"{_MISSING} ({one_sentence(error)})") from error


def read_graph(path: Path) -> Graph:
    """The network in ``path``, whole and without anything that is refused.

    Raises ModelError, in one sentence: for a file that is too large, cut short or damaged, that keeps weights outside,
    needs operators of its own or another version of the standard ones, or says more of itself than anybody reads.
    """
    data = _read(path)
    onnx = import_library("onnx")
    try:
        model = onnx.ModelProto.FromString(data)
    except Exception as error:  # protobuf's own, whichever of its implementations is installed
        raise ModelError(
            f"{path} is no readable ONNX file, it is damaged or cut short: export or copy it again"
        ) from error
    _check_texts(path, model)
    _check_operators(path, model)
    _check_outside(path, onnx, model)
    _check_sizes(path, model)
    try:
        onnx.checker.check_model(data)
    except Exception as error:  # ValidationError, or what its C++ parts raise
        raise ModelError(f"{path} is no valid ONNX file ({one_sentence(error)}): export or copy it again") from error
    stored = {tensor.name for tensor in model.graph.initializer}
    return Graph(
        path=path,
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        inputs=_ports(path, onnx, [one for one in model.graph.input if one.name not in stored]),
        outputs=_ports(path, onnx, model.graph.output),
        metadata={entry.key: entry.value for entry in model.metadata_props},
    )


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MOST_ONNX_BYTES:
            raise ModelError(
                f"{path} has {size} bytes, and an ONNX file of one piece at most {MOST_ONNX_BYTES}: "
                "export a smaller network, or float16"
            )
        with path.open("rb") as stream:  # what grows meanwhile is not read
            return stream.read(size)
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror or error}): copy it again") from error


def _check_texts(path: Path, model: Any) -> None:
    """Raise ModelError for metadata that is too long, and for names that are no text."""
    size = sum(entry.ByteSize() for entry in model.metadata_props)
    if size > MOST_METADATA_BYTES or len(model.doc_string) > MOST_METADATA_BYTES:
        raise ModelError(f"{path} says more than {MOST_METADATA_BYTES} bytes about itself: export it again without")
    texts = [text for entry in model.metadata_props for text in (entry.key, entry.value)]
    texts += [port.name for port in (*model.graph.input, *model.graph.output)]
    # protobuf gives bytes, not text, for what is no UTF-8
    if any(isinstance(text, bytes) for text in texts):
        raise ModelError(f"{path} holds names that are no UTF-8: it is damaged, export or copy it again")


def _check_operators(path: Path, model: Any) -> None:
    """Raise ModelError for operators that are not ONNX Runtime's own, and for versions that it does not run."""
    used = sorted({f"{node.domain}::{node.op_type}" for node in _nodes(model.graph) if node.domain not in DOMAINS})
    if used or len(model.functions):
        named = used or [f"{one.domain}::{one.name}" for one in model.functions]
        raise ModelError(
            f"{path} needs operators of its own ({listed(named)}), and no code that comes with a model is ever run: "
            "export it without NMS and without custom operators (of a YOLO: format=onnx nms=False)"
        )
    versions = [one.version for one in model.opset_import if one.domain in ("", "ai.onnx")]
    version = max(versions, default=0)
    if not OLDEST_OPSET <= version <= NEWEST_OPSET:
        raise ModelError(
            f"{path} is of opset {version}, and {OLDEST_OPSET} to {NEWEST_OPSET} are run here: export it with opset 17"
        )


def _check_outside(path: Path, onnx: ModuleType, model: Any) -> None:
    """Raise ModelError for weights that lie in other files: a path out of a file is never followed."""
    for tensor in _tensors(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or len(tensor.external_data):
            raise ModelError(
                f"{path} keeps its weights in another file, which is not followed: export it in one piece "
                "(torch.onnx.export(..., external_data=False); onnx.save_model(..., save_as_external_data=False))"
            )


def _check_sizes(path: Path, model: Any) -> None:
    """Raise ModelError for a tensor with more or fewer bytes than its shape has; the checker does not look."""
    for tensor in _tensors(model.graph):
        if not tensor.HasField("raw_data"):
            continue
        bits = _BITS.get(tensor.data_type, 0)
        expected = -(-prod(tensor.dims) * bits // 8) if all(side >= 0 for side in tensor.dims) else -1
        if expected != len(tensor.raw_data):
            raise ModelError(
                f"{path}: {quoted(tensor.name)} has {len(tensor.raw_data)} bytes for a shape of "
                f"{listed(map(str, tensor.dims))}: it is damaged, export or copy it again"
            )


def _nodes(graph: Any) -> Iterator[Any]:
    """All nodes, those of branches and loops too."""
    for node in graph.node:
        yield node
        for inner in _graphs_of(node):
            yield from _nodes(inner)


def _graphs_of(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _tensors(graph: Any) -> Iterator[Any]:
    """All stored tensors: weights, constants, and those of branches and loops."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
        for inner in _graphs_of(node):
            yield from _tensors(inner)


def _ports(path: Path, onnx: ModuleType, described: Iterable[Any]) -> tuple[Port, ...]:
    ports = [_port(path, onnx, one) for one in described]
    if not 1 <= len(ports) <= MOST_PORTS:
        raise ModelError(f"{path} has {len(ports)} inputs or outputs, and no detector has: export the detector alone")
    return tuple(ports)


def _port(path: Path, onnx: ModuleType, described: Any) -> Port:
    tensor = described.type.tensor_type
    if not described.type.HasField("tensor_type") or tensor.elem_type not in onnx.TensorProto.DataType.values():
        raise ModelError(f"{path}: {quoted(described.name)} is no tensor: export the detector with tensors alone")
    name = onnx.TensorProto.DataType.Name(tensor.elem_type)
    sides = [side.dim_value if side.HasField("dim_value") else None for side in tensor.shape.dim]
    if any(side is not None and not 0 <= side <= LARGEST_SIDE for side in sides):
        raise ModelError(f"{path}: {quoted(described.name)} has sides of {listed(map(str, sides))}: it is damaged")
    shape = tuple(side or None for side in sides) if tensor.HasField("shape") else None
    return Port(name=described.name, dtype=_NUMPY.get(name, name.lower()), shape=shape)


_BITS = {
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 24), 8),
    **dict.fromkeys((4, 5, 10, 16), 16),
    **dict.fromkeys((1, 6, 12), 32),
    **dict.fromkeys((7, 11, 13, 14), 64),
    15: 128,
    **dict.fromkeys((21, 22, 23), 4),
    **dict.fromkeys((25, 26), 2),
}
"""Element type, by its number in the format, → bits. Texts have none: they are never raw."""
_NUMPY = {"FLOAT": "float32", "DOUBLE": "float64"}
"""Element types whose names in numpy are others than ONNX's in small letters."""
