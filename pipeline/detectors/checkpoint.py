"""Checkpoint folders on disk: JSON and safetensors, read with every check that needs no network class.

A checkpoint is a folder with ``config.json`` and ``model.safetensors`` (or shards with their index), the layout of
the transformers library. Nothing is ever unpickled. No torch at import time: planning a run reads these folders too.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from pipeline.detectors.foreign_files import ONNX, onnx_file, strangers_in, told
from pipeline.errors import ModelError, one_sentence
from pipeline.names import brief, complaint

if TYPE_CHECKING:
    from torch import Tensor


WEIGHTS = "model.safetensors"
CONFIG = "config.json"
_INDEX = "model.safetensors.index.json"
MOST_UNITS, MOST_LAYERS = 100_000, 1_000
"""Largest number in a config, and the largest that counts layers."""
_HASH_CHUNK_BYTES = 1 << 22


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``. Raises ModelError when it is missing, no JSON, or not an object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{path} does not exist: a checkpoint folder needs {path.name} beside its weights") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read as JSON ({str(error)[:200]}): copy the checkpoint again") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds a {type(content).__name__}, but {path.name} must be a JSON object")
    return content


def check_sizes(value: Any, path: Path, key: str = "") -> None:
    """Raise ModelError for a number in a config that no network has and that would take all memory or time."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else ((key, item) for item in value)
        for name, item in items:
            check_sizes(item, path, str(name))
    elif isinstance(value, int) and abs(value) > (MOST_LAYERS if "layers" in key or "depth" in key else MOST_UNITS):
        raise ModelError(f"{path}: {brief(key)} is {str(value)[:40]}, and no detector is so large")


def model_type(folder: Path) -> str:
    """``model_type`` of ``folder/config.json``, or ``onnx`` for such a file or a folder with ``model.onnx`` alone.

    Raises ModelError when there is none.
    """
    if onnx_file(folder) is not None:
        return ONNX
    if folder.is_file():
        raise ModelError(f"{folder} is {told(folder)}")
    if not folder.is_dir():
        raise ModelError(f"{folder} is not a folder: give a checkpoint folder with {CONFIG} and {WEIGHTS}")
    if not any((folder / name).exists() for name in (CONFIG, WEIGHTS, _INDEX)) and (other := strangers_in(folder)):
        raise ModelError(f"{folder} holds no {CONFIG}, but {other}")
    kind = read_json(folder / CONFIG).get("model_type")
    if not isinstance(kind, str):
        raise ModelError(f"{folder / CONFIG} has no model_type: it is not a checkpoint of a detector")
    return kind


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of a checkpoint, in name order, or its ONNX file. Raises ModelError when one or all are
    missing."""
    single = onnx_file(folder)
    if single is not None:
        return (single,)
    if (folder / WEIGHTS).is_file():
        return (folder / WEIGHTS,)
    if (folder / _INDEX).is_file():
        return _shards(folder)
    other = strangers_in(folder)
    raise ModelError(f"{folder} holds no weights: {WEIGHTS} is missing" + (f"; it holds {other}" if other else ""))


def _shards(folder: Path) -> tuple[Path, ...]:
    weight_map = read_json(folder / _INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(f"{folder / _INDEX} has no weight_map: copy the checkpoint again")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        # An index is data from elsewhere: it may only name its neighbours.
        if complaint(name) or Path(name).name != name or not _is_file(folder / name):
            raise ModelError(
                f"{folder / _INDEX} names {brief(name)}, which is not in the folder: copy the checkpoint again"
            )
    return tuple(folder / name for name in names)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name no file can have
        return False


def weights_sha256(folder: Path) -> str:
    """SHA-256 (hex) over the bytes of all weight files in name order; identifies the model in run records."""
    digest = hashlib.sha256()
    for path in weight_files(folder):
        with path.open("rb") as stream:
            while chunk := stream.read(_HASH_CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()


def read_state_dict(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a checkpoint by name, on the CPU, in the type it is stored in.

    Raises ModelError when a file is damaged or a tensor holds NaN or infinity.
    """
    tensors: dict[str, Tensor] = {}
    for path in weight_files(folder):
        try:
            with safe_open(path, framework="pt", device="cpu") as stored:
                tensors.update({name: stored.get_tensor(name) for name in stored.keys()})  # noqa: SIM118 - no mapping
        except (SafetensorError, OSError, AttributeError, TypeError, RuntimeError) as error:
            raise ModelError(
                f"{path} is no readable safetensors file ({one_sentence(error)}): copy the checkpoint again"
            ) from error
    check_numbers(folder, tensors)
    return tensors


def check_numbers(folder: Path, tensors: dict[str, Tensor]) -> None:
    """Raise ModelError for tensors that are no real numbers, or not finite."""
    imaginary = sorted(name for name, tensor in tensors.items() if tensor.is_complex())
    if imaginary:
        raise ModelError(f"{folder}: {brief(imaginary[0])} holds complex numbers: use another checkpoint")
    broken = sorted(name for name, tensor in tensors.items() if not bool(tensor.float().isfinite().all()))
    if broken:
        raise ModelError(
            f"{folder}: {len(broken)} of {len(tensors)} weights hold NaN or infinity, {brief(broken[0])} among them: "
            "the training diverged or the file is damaged, use another checkpoint"
        )


def check_keys(folder: Path, *, missing: set[str], unexpected: set[str], mismatched: set[str]) -> None:
    """Raise ModelError unless the weights fit the network described by config.json exactly.

    ``mismatched`` are names whose shapes differ. Batch norms' ``num_batches_tracked`` counts training steps and
    changes no answer, so it may be there or not.
    """
    findings = (("have another shape", mismatched), ("are missing", missing), ("have no place in it", unexpected))
    for finding, names in findings:
        weights = sorted(name for name in names if not name.endswith("num_batches_tracked"))
        if weights:
            raise ModelError(
                f"{folder}: the weights do not fit {CONFIG}: {len(weights)} {finding}, e.g. {brief(weights[0])}; "
                "both files must come from the same model"
            )
