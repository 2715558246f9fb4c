"""What ``--weights`` may say → a model card for planning, a detector inside a worker."""

from __future__ import annotations

from pipeline.detectors import load_detector, read_model_card, resolve_weights
from pipeline.detectors.base import Detector
from pipeline.storage.fetching import fetch_folder
from pipeline.types import ModelCard


def model_card(uri: str) -> ModelCard:
    """What the model says about itself, without loading its network.

    ``uri`` is ``builtin:NAME``, a folder, an fsspec address, or a hub name. Raises ConfigError for an unknown
    builtin, StorageError for an address out of reach, ModelError for a folder that holds no usable checkpoint.
    """
    return read_model_card(resolve_weights(uri, fetch_folder))


def load(uri: str, device: str = "auto", precision: str = "float32", threads: int = 1) -> Detector:
    """The detector, in this process (RayExecutor calls this inside each actor). Raises as :func:`model_card`.

    ``device`` ``auto`` is a GPU where this process may use one; ``threads`` are CPU threads, for the whole process.
    """
    folder = resolve_weights(uri, fetch_folder)
    if device == "auto":
        from pipeline.detectors.devices import best_device  # torch takes seconds to import, and planning needs none

        device = best_device()
    return load_detector(folder, device=device, precision=precision, threads=threads)
