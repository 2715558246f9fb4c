"""What ``--weights`` may say → a local folder, a model card for planning, a detector inside a worker."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.detectors.foreign_files import is_onnx_name, is_weight_name, onnx_file, told, told_by_name
from pipeline.detectors.loading import load_detector, read_model_card, runtime_of
from pipeline.detectors.protocol import Detector
from pipeline.detectors.runtime import TORCH
from pipeline.errors import ConfigError, ModelError, one_sentence
from pipeline.names import brief, complaint, path_part, shown
from pipeline.storage.fetching import fetch_weights
from pipeline.storage.onnx_files import BESIDE, MOST_ONNX_BYTES, ONNX_SUFFIX
from pipeline.types import ModelCard

BUILTIN = "builtin:"
"""What the names of embedded detectors begin with."""
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
"""The hub's ``owner/name``."""
HUB = "hub:"
"""What the address of a file on the hub begins with: ``hub:owner/name/best.onnx``. Without it a path is a path, so that
a misspelt one is asked of nobody."""
_HUB_FILE = re.compile(rf"({HUB_NAME.pattern})/((?:[\w-][\w.-]*/)*[\w-][\w.-]*)")
_HUB_TIMEOUT_S = 5.0


def resolve_weights(uri: str, fetch_folder: Callable[[str], Path]) -> Path:
    """The local folder of ``--weights``: ``builtin:NAME``, a local folder, a URI, or the hub's ``owner/name``; or the
    local ONNX file, of the hub's ``hub:owner/name/best.onnx`` too.

    ``fetch_folder`` turns a URI with a scheme into a local folder or file (``storage.fetch_weights``). A local folder
    wins over a hub name, and what is there but no folder is never looked for on the hub. Raises ConfigError for an
    unknown builtin, ModelError when there is nothing under that name or a file that is neither.
    """
    if uri.startswith(BUILTIN):
        return builtin_folder(uri.removeprefix(BUILTIN))
    reason = complaint(uri)
    if reason is not None:
        raise ModelError(f"--weights {shown(uri)} is refused: {reason}")
    if uri.startswith(HUB):
        return _on_hub(uri.removeprefix(HUB))
    local = _local(path_part(uri))
    if local is not None and onnx_file(local) == local:
        return local
    if local is not None and not local.is_dir():
        raise ModelError(f"--weights {shown(uri)} is {told(local)}")
    if "://" in uri:
        path = urlsplit(uri).path
        if is_weight_name(path) and not is_onnx_name(path):
            raise ModelError(f"--weights {shown(uri)} names a file, {told_by_name(urlsplit(uri).path)}")
        return fetch_folder(uri)
    if local is not None:
        return local
    if HUB_NAME.fullmatch(uri) and not uri.startswith(".") and not is_weight_name(uri):
        return hub_folder(uri)
    what = "file" if is_weight_name(uri) else "folder"
    raise ModelError(f"--weights: there is no {what} {shown(uri)}")


def _local(name: str) -> Path | None:
    """What is there on this machine under that name, a folder or not; None when nothing is."""
    try:
        path = Path(name).expanduser()
        return path if name and os.path.lexists(path) else None
    except (OSError, RuntimeError):  # a name no file can have, or the home of nobody
        return None


def _embedded() -> Path:
    return Path(__file__).parent / "weights"


def builtin_names() -> list[str]:
    """The embedded detectors, without ``builtin:``."""
    return sorted(path.parent.name for path in _embedded().glob("*/config.json"))


def builtin_folder(name: str) -> Path:
    """The folder of an embedded detector. Raises ConfigError that lists what there is."""
    known = builtin_names()
    if name not in known:
        raise ConfigError(f"--weights: there is no {BUILTIN}{name}; embedded are: {', '.join(known) or 'none'}")
    return _embedded() / name


def _on_hub(address: str) -> Path:
    """What ``owner/name`` or ``owner/name/best.onnx`` is there. Raises ModelError."""
    file = _HUB_FILE.fullmatch(address)
    if file is None and HUB_NAME.fullmatch(address):
        return hub_folder(address)
    if file is None:
        raise ModelError(f"--weights {HUB}{brief(address)}: give owner/name, or owner/name/best.onnx")
    if not is_onnx_name(file[2]):
        raise ModelError(f"--weights {HUB}{brief(address)} names a file, {told_by_name(file[2])}")
    return hub_file(file[1], file[2])


def hub_file(name: str, path: str) -> Path:
    """The local copy of the ONNX file ``path`` of a model of the hub, with the cards beside it; as :func:`hub_folder`.

    Raises ModelError, for a file too large to be of one piece before it is fetched.
    """
    stem = path[: -len(ONNX_SUFFIX)]
    local = _fetched(name, [path, *(f"{stem}{ending}" for ending in BESIDE)]) / path
    if not local.is_file():
        raise ModelError(f"--weights: the hub's model {name} has no file {path}")
    return local


def hub_folder(name: str) -> Path:
    """The local copy of a model of the hub, fetched when it is not cached; JSON and safetensors only, and the README
    that says its licence.

    Answers within seconds when the hub cannot be reached; ``HF_HUB_OFFLINE`` uses the cache alone. Raises ModelError.
    """
    return _fetched(name, ["*.json", "*.safetensors", "README.md"])


def _fetched(name: str, wanted: list[str]) -> Path:
    """The folder of the hub's cache that holds those files, by names or patterns. Raises ModelError."""
    from huggingface_hub import HfApi, snapshot_download  # late, like torch: only a hub name needs it
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        about = HfApi().model_info(name, timeout=_HUB_TIMEOUT_S, files_metadata=True)
        reached = True
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"--weights: the hub has no public model {name}, and there is no folder of that name"
        ) from error
    except Exception:  # noqa: BLE001 - the HTTP library below the hub's client changes, and its errors with it
        reached = False
    if reached:
        _check_size(name, about.siblings or [], wanted)
    try:
        return Path(snapshot_download(name, allow_patterns=wanted, local_files_only=not reached))
    except LocalEntryNotFoundError as error:
        raise ModelError(
            f"--weights: {name} is neither a local folder nor cached, and the model hub could not be reached: "
            "copy the checkpoint here and give its folder, or the ONNX file"
        ) from error
    except Exception as error:
        raise ModelError(
            f"--weights: fetching {name} from the model hub broke off ({one_sentence(error)}): try again"
        ) from error


def _check_size(name: str, files: Sequence[Any], wanted: list[str]) -> None:
    """Raise ModelError for a wanted ONNX file that is larger than one piece can be."""
    for one in files:
        if one.rfilename in wanted and is_onnx_name(one.rfilename) and (one.size or 0) > MOST_ONNX_BYTES:
            raise ModelError(
                f"--weights: {one.rfilename} of the hub's model {name} is larger than {MOST_ONNX_BYTES} bytes, and no "
                "ONNX file of one piece is"
            )


def model_card(uri: str, device: str = "auto", precision: str = "float32", runtime: str = "auto") -> ModelCard:
    """What the model says about itself, without loading its network, and what will run it (:func:`load`).

    ``uri`` is ``builtin:NAME``, a folder, an ONNX file, an fsspec address, or a hub name. Raises ConfigError for an
    unknown builtin or a runtime that cannot be, StorageError for an address out of reach, ModelError for a folder that
    holds no usable checkpoint.
    """
    folder = resolve_weights(uri, fetch_weights)
    card = read_model_card(folder)
    return replace(
        card, runtime=runtime_of(folder, device=device, precision=precision, runtime=runtime) or card.runtime
    )


def load(
    uri: str, device: str = "auto", precision: str = "float32", threads: int = 1, runtime: str = "auto"
) -> Detector:
    """The detector, in this process (RayExecutor calls this inside each actor). Raises as :func:`model_card`.

    ``device`` ``auto`` is a GPU where this process may use one; ``threads`` are CPU threads, for the whole process;
    ``runtime`` ``auto`` is ONNX Runtime where it can be, else torch.
    """
    folder = resolve_weights(uri, fetch_weights)
    return load_detector(folder, device=device, precision=precision, threads=threads, runtime=runtime)


def load_as_planned(planned: str | None, uri: str, how: Mapping[str, str], threads: int = 1) -> Detector:
    """:func:`load`, for a run whose card says what runs it (``planned``, :attr:`~pipeline.types.ModelCard.runtime`).

    ``how`` are ``device``, ``precision`` and ``runtime``. What a run is called by says what ran it, so a node that has
    other packages would put numbers of its own under that name. Raises ModelError for such a node, else as ``load``.
    """
    folder = resolve_weights(uri, fetch_weights)
    detector = load_detector(folder, threads=threads, **how)
    here = runtime_of(folder, **how) or detector.card.runtime
    if here != planned:
        raise ModelError(
            f"a worker runs the model by {here or TORCH}, the run was planned for {planned or TORCH}: install the same "
            "packages on every node, or say detector.runtime=torch (not for ONNX files)"
        )
    return detector
