"""What torch keeps per process: threads, determinism, the device; and its errors of memory as Python's.

Importing it does not import torch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pipeline.errors import ConfigError, one_sentence
from pipeline.types import Chip


def prepare_torch(device: str, threads: int | None) -> None:
    """Threads and determinism, which torch keeps per process. Raises ConfigError when there is no such device."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    if torch.device(device).type == "cpu":
        return
    if not torch.cuda.is_available():
        raise ConfigError(f"cluster.device={device}: torch {torch.__version__} sees no GPU here; use cpu")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)


def best_device() -> str:
    """``cuda`` where this process may use a GPU (Ray hides the others), else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def memory_errors(chips: Sequence[Chip]) -> Iterator[None]:
    """Raise MemoryError for ``torch.OutOfMemoryError`` (of a GPU or of any other device), wherever inside it arises."""
    try:
        yield
    except Exception as error:
        torch = sys.modules.get("torch")
        if torch is None or not isinstance(error, torch.OutOfMemoryError):
            raise
        side = max(max(chip.pixels.shape[:2]) for chip in chips)
        said = one_sentence(error) if str(error).strip() else "torch gives no reason"
        raise MemoryError(f"no room for {len(chips)} chips of up to {side} px ({said})") from error
