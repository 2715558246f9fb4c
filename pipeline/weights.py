"""What ``--weights`` may say → a model card for planning, a detector inside a worker."""

from __future__ import annotations

from pathlib import Path

from pipeline import storage
from pipeline.detectors import builtin_folder, hub_folder, load_detector, read_model_card
from pipeline.detectors.base import Detector
from pipeline.types import ModelCard


def weights_folder(uri: str) -> Path:
    """The local folder that holds the weights: ``builtin:NAME``, a folder, an fsspec address, or a hub name.

    Raises ConfigError for an unknown builtin, StorageError for an address out of reach, ModelError for a hub name
    when no hub can be reached.
    """
    if uri.startswith("builtin:"):
        return builtin_folder(uri.removeprefix("builtin:"))
    if "://" in uri:
        return storage.fetch_folder(uri)
    folder = Path(uri)
    if folder.exists() or uri.startswith((".", "/", "~")) or uri.count("/") != 1:
        return folder.expanduser()
    return hub_folder(uri)


def model_card(uri: str) -> ModelCard:
    """What the model says about itself, without loading its network. Raises ModelError for an unusable folder."""
    return read_model_card(weights_folder(uri))


def load(uri: str, device: str, precision: str, threads: int) -> Detector:
    """The detector, in this process; what RayExecutor calls inside each actor. Raises ModelError."""
    return load_detector(weights_folder(uri), device=device, precision=precision, threads=threads)
