"""Detectors: the one place where the name of a model becomes an object. Importing it does not import torch."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from pipeline.detectors.base import Detector
from pipeline.detectors.card import read_card
from pipeline.detectors.checkpoint import model_type
from pipeline.detectors.preprocessing import DEFAULTS, foreign_card
from pipeline.errors import ConfigError, ModelError
from pipeline.names import complaint, shown
from pipeline.types import ModelCard

ORIENTED = "kestrel_oriented_rtdetr"
"""``model_type`` of our own checkpoints."""

_BUILTIN = "builtin:"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_HUB_TIMEOUT_S = 5.0


def load_detector(
    folder: Path, *, device: str = "cpu", precision: str = "float32", threads: int | None = None
) -> Detector:
    """The detector in a checkpoint folder, in inference mode on ``device`` (``cpu``, ``cuda``, ``cuda:1``).

    ``precision`` is float32, bfloat16 or float16 (GPU only); ``threads`` sets torch's CPU threads for the whole
    process. On a GPU the deterministic kernels are chosen where there are any. Raises ModelError when the folder is
    no checkpoint of a known detector or its weights do not fit, ConfigError for a device or precision that cannot be.
    """
    kind = _known_model_type(folder)
    if precision == "float16" and device == "cpu":
        raise ConfigError("detector.precision=float16 needs a GPU; on a CPU use float32 or bfloat16")
    _prepare_torch(device, threads)
    if kind == ORIENTED:
        from pipeline.detectors.oriented import load_oriented

        return load_oriented(folder, device=device, precision=precision)
    from pipeline.detectors.transformers_detr import load_transformers_detr

    return load_transformers_detr(folder, device=device, precision=precision)


def read_model_card(folder: Path) -> ModelCard:
    """What a detector says about itself, without building its network (planning needs no torch).

    Our own checkpoints have a ``card.json``; a foreign one is described by its ``config.json`` and
    ``preprocessor_config.json`` (GSD unknown), overlaid by the keys of a ``card.json`` beside them. Raises ModelError.
    """
    kind = _known_model_type(folder)
    return read_card(folder) if kind == ORIENTED else foreign_card(folder, kind)


def resolve_weights(uri: str, fetch_folder: Callable[[str], Path]) -> Path:
    """The local folder of ``--weights``: ``builtin:NAME``, a local folder, a URI, or the hub's ``owner/name``.

    ``fetch_folder`` turns a URI with a scheme into a local folder (``storage.fetch_folder``). A local folder wins
    over a hub name. Raises ConfigError for an unknown builtin, ModelError when there is nothing under that name.
    """
    if uri.startswith(_BUILTIN):
        return builtin_folder(uri.removeprefix(_BUILTIN))
    reason = complaint(uri)
    if reason is not None:
        raise ModelError(f"--weights {shown(uri)} is refused: {reason}")
    if "://" in uri:
        return fetch_folder(uri)
    folder = _folder(uri)
    if folder is not None:
        return folder
    if _HUB_NAME.fullmatch(uri) and not uri.startswith("."):
        return hub_folder(uri)
    raise ModelError(f"--weights: there is no folder {shown(uri)}")


def _folder(name: str) -> Path | None:
    """The folder of that name on this machine, if there is one."""
    try:
        folder = Path(name).expanduser()
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError):  # a name no file can have, or the home of nobody
        return None


def builtin_folder(name: str) -> Path:
    """The folder of an embedded detector. Raises ConfigError that lists what there is."""
    root = Path(__file__).parent / "weights"
    known = sorted(path.parent.name for path in root.glob("*/config.json"))
    if name not in known:
        raise ConfigError(f"--weights: there is no {_BUILTIN}{name}; embedded are: {', '.join(known) or 'none'}")
    return root / name


def hub_folder(name: str) -> Path:
    """The local copy of a model of the hub, fetched when it is not cached; JSON and safetensors only.

    Answers within seconds when the hub cannot be reached; ``HF_HUB_OFFLINE`` uses the cache alone. Raises ModelError.
    """
    from huggingface_hub import HfApi, snapshot_download  # late, like torch: only a hub name needs it
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        HfApi().model_info(name, timeout=_HUB_TIMEOUT_S)
        reached = True
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"--weights: the hub has no public model {name}, and there is no folder of that name"
        ) from error
    except Exception:  # noqa: BLE001 - the HTTP library below the hub's client changes, and its errors with it
        reached = False
    try:
        wanted = ["*.json", "*.safetensors"]
        return Path(snapshot_download(name, allow_patterns=wanted, local_files_only=not reached))
    except LocalEntryNotFoundError as error:
        raise ModelError(
            f"--weights: {name} is neither a local folder nor cached, and the model hub could not be reached: "
            "copy the checkpoint here and give its folder"
        ) from error
    except Exception as error:
        raise ModelError(f"--weights: fetching {name} from the model hub broke off ({error}): try again") from error


def _known_model_type(folder: Path) -> str:
    kind = model_type(folder)
    if kind != ORIENTED and kind not in DEFAULTS:
        raise ModelError(
            f"{folder / 'config.json'} describes a {kind!r}, which is no detector this program knows: "
            f"use one of {', '.join([*DEFAULTS, ORIENTED])}"
        )
    return kind


def _prepare_torch(device: str, threads: int | None) -> None:
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
