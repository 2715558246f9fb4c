"""ONNX Runtime: a session on a device, and its errors in this project's words."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.detectors.onnx_model.graph import Graph, import_library
from pipeline.errors import ConfigError, ModelError, one_sentence

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_SILENT = 4
"""Only what ends the process is logged: what goes wrong is raised."""
NO_ROOM = ("bad_alloc", "bad allocation", "Failed to allocate memory", "out of memory", "CUDA failure 2:")
"""How the runtime says that there was no memory; it has no class of errors for that."""
_AGAIN = "export it again, with another opset or as float32"


def best_provider() -> str:
    """The fastest that the installed runtime has. Raises ModelError when there is no runtime."""
    return CUDA if CUDA in import_library("onnxruntime").get_available_providers() else CPU


def version() -> str:
    """What runs a file, as far as it can change last digits: it goes into the names of parts.

    By what is installed, which is the same on every node, not by what a node has: that is no matter of the name.
    """
    best = best_provider()
    otherwise = f", {CPU} where there is no GPU" if best == CUDA else ""
    return f"onnxruntime {import_library('onnxruntime').__version__} {best}{otherwise}"


def best_device() -> str:
    """``cuda`` where the installed runtime has GPUs and finds one, else ``cpu``."""
    return "cuda" if best_provider() == CUDA and _finds_a_gpu() else "cpu"


@cache
def _finds_a_gpu() -> bool:
    """Whether the runtime, which was built for GPUs, gets one; said once a process where it does not.

    Only a session tells: the list of providers is what was compiled, and drivers and libraries may be missing too.
    """
    onnx, runtime = import_library("onnx"), import_library("onnxruntime")
    port = onnx.helper.make_tensor_value_info
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Neg", ["in"], ["out"])], "a look for a GPU", [port("in", kind, [1])],
        [port("out", kind, [1])],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    runtime.set_default_logger_severity(_SILENT)
    try:
        # Without the runtime's own way back to the CPU, which prints a page about it.
        session = runtime.InferenceSession(
            model.SerializeToString(), session_options(runtime, 1), providers=[CUDA, CPU], enable_fallback=0
        )
        found = bool(session.get_providers()[0] == CUDA)
    except Exception:  # noqa: BLE001 - of the runtime's dozen classes: no driver, or none that fits
        found = False
    if not found:
        logging.getLogger(__name__).warning(
            "onnxruntime %s was installed for GPUs and finds none here, so the CPU is used; --cluster.device cpu "
            "does not look for one",
            runtime.__version__,
        )
    return found


def session_options(runtime: ModuleType, threads: int) -> Any:
    """Of ``onnxruntime``: so many threads, which do not wait by spinning, and the same numbers again where it can."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = _SILENT
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # workers share their processors
    return options


class Session:
    """A network that is ready to run. Same input, threads and machine: same numbers, as far as the runtime can."""

    def __init__(self, graph: Graph, *, device: str, threads: int) -> None:
        """Raises ConfigError where there is no such device, ModelError where the runtime refuses the file."""
        runtime = import_library("onnxruntime")
        self._path = graph.path
        runtime.set_default_logger_severity(_SILENT)
        options = session_options(runtime, threads)
        self._options = runtime.RunOptions()
        self._options.log_severity_level = _SILENT
        providers = _providers(device, best_provider(), runtime.__version__)
        try:
            self._session = runtime.InferenceSession(graph.data, options, providers=providers)
        except Exception as error:  # the runtime has a dozen classes of errors without a common one
            what = f"{graph.path} cannot be run by onnxruntime {runtime.__version__}"
            raise ModelError(f"{what} ({one_sentence(error)}): {_AGAIN}") from error
        self._session.disable_fallback()
        if device != "cpu" and self._session.get_providers()[0] != CUDA:
            raise ConfigError(f"cluster.device={device}: onnxruntime finds no GPU here; use cpu")

    def run(self, names: Sequence[str], fed: Mapping[str, NDArray[np.generic]]) -> list[NDArray[Any]]:
        """The outputs of these names. Raises ModelError, or MemoryError when the batch is too large."""
        try:
            return [np.asarray(part) for part in self._session.run(list(names), dict(fed), self._options)]
        except Exception as error:
            shapes = ", ".join(" x ".join(map(str, part.shape)) for part in fed.values())
            raise _translated(f"{self._path} cannot look at {shapes}", error) from error


def _providers(device: str, best: str, version: str) -> list[Any]:
    if device == "cpu":
        return [CPU]
    if best != CUDA:
        raise ConfigError(
            f"cluster.device={device}: onnxruntime {version} was installed without GPUs; use cpu, or install "
            "onnxruntime-gpu in its place"
        )
    number = device.partition(":")[2] or "0"
    return [(CUDA, {"device_id": number, "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}), CPU]


def _translated(what: str, error: Exception) -> Exception:
    """ModelError with what the runtime says; MemoryError for no room."""
    said = one_sentence(error)
    if isinstance(error, MemoryError) or any(words in str(error) for words in NO_ROOM):
        return MemoryError(f"{what}: no room ({said})")
    return ModelError(f"{what} ({said}): {_AGAIN}")
