"""The state of a training as tensors: stored by rename, taken apart by the first part of their names, averaged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

STATE_FILE = "state.safetensors"


def save_state(tensors: Mapping[str, Tensor], folder: Path, metadata: dict[str, str]) -> None:
    """Write ``tensors`` to ``folder``, by rename. Weights that two names share are stored under both: the format wants
    two tensors."""
    seen: set[int] = set()
    apart: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        apart[name] = tensor.clone() if tensor.data_ptr() in seen else tensor.contiguous()
        seen.add(tensor.data_ptr())
    partial = folder / f"{STATE_FILE}.partial"
    save_file(apart, partial, metadata)
    partial.replace(folder / STATE_FILE)


def part_of(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def average_in(average: Mapping[str, Tensor], latest: Mapping[str, Tensor], decay: float) -> None:
    """Move the tensors of ``average`` towards those of ``latest``, in place; whole numbers are taken over. Weights that
    two names share are moved once."""
    done: set[int] = set()
    for old, new in zip(average.values(), latest.values(), strict=True):
        if old.data_ptr() in done:
            continue
        done.add(old.data_ptr())
        if old.is_floating_point():
            old.lerp_(new, 1 - decay)
        else:
            old.copy_(new)
