"""Which library works the passes of a network out: torch, or ONNX Runtime on a CPU. Importing it imports neither."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Protocol, runtime_checkable

from pipeline.detectors.onnx_runtime import import_onnxruntime
from pipeline.errors import ConfigError, ModelError

AUTO, TORCH, ONNX = "auto", "torch", "onnx"
PROVIDER = "CPUExecutionProvider"
_PACKAGES = ("onnx", "onnxruntime")
"""What writes graphs, and what runs them."""


@runtime_checkable
class Traceable(Protocol):
    """A detector of our own, whose network ONNX Runtime can run."""

    def by_onnxruntime(self, threads: int | None) -> None:
        """From now on ONNX Runtime works the passes out. Raises ModelError where the network cannot be traced."""
        ...


def settled(runtime: str, *, traceable: bool, device: str, precision: str) -> str:
    """``torch`` or ``onnx``. ``auto`` is the latter wherever it can be: on a CPU it is faster by more than a third.

    ``device`` ``auto`` is taken for a CPU. Raises ConfigError for ``onnx`` where it cannot be, ModelError where its
    packages are not installed.
    """
    if runtime == TORCH:
        return TORCH
    lacking = [name for name in _PACKAGES if find_spec(name) is None]
    possible = traceable and precision == "float32" and device in ("cpu", AUTO)
    if possible and not lacking:
        return ONNX
    if runtime == AUTO:
        return TORCH
    if not traceable:
        raise ConfigError("detector.runtime=onnx is for detectors trained here; leave it out")
    if not possible:
        raise ConfigError("detector.runtime=onnx runs on CPUs, in float32; leave it out, or the device and the dtype")
    raise ModelError(f"detector.runtime=onnx needs {' and '.join(lacking)}: pip install 'kestrel-aerial[onnx]'")


def runtime_name(device: str) -> str:
    """What ONNX Runtime runs the network with, as far as it can change last digits: it goes into the names of parts."""
    elsewhere = ", torch on a GPU" if device == AUTO else ""
    return f"onnxruntime {_onnxruntime_version()} {PROVIDER}{elsewhere}"


def _onnxruntime_version() -> str:
    """By its distribution, which costs no import; ``onnxruntime-gpu`` and others bring the module by another name."""
    try:
        return version("onnxruntime")
    except PackageNotFoundError:
        return str(import_onnxruntime().__version__)
