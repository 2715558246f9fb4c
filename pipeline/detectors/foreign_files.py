"""Files of weights that are no checkpoint folder: what they are, and what to do. Nothing is unpickled; no torch.

ONNX files alone are run as they are.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

from pipeline.names import brief
from pipeline.storage.onnx_files import ONNX_FILE

ONNX = "onnx"
"""What loads an ONNX file, beside the ``model_type`` of folders."""
_CHECKPOINT = ("config.json", "model.safetensors", "model.safetensors.index.json")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_CONVERT = (
    "convert it to model.safetensors with its config.json where you trust it "
    "(transformers: from_pretrained(...).save_pretrained(FOLDER)), and give that folder, or to ONNX "
    "(of a YOLO: yolo export model=best.pt format=onnx nms=False), and give the .onnx file"
)
_ORIGINAL = (
    "give the folder of the model it was made from (config.json and model.safetensors), or export that as ONNX "
    "(of a YOLO: yolo export model=best.pt format=onnx nms=False)"
)
_PICKLE = f"a pickle that could run code when it is opened: {_CONVERT}"
_SCRIPT = f"a TorchScript program, and no code that comes with a model is ever run: {_ORIGINAL}"
_ONNX = f"an ONNX file, which is looked for as {ONNX_FILE}: give the file by its own name, or rename it"
_BARE = (
    "weights alone, and a network is built from its config.json: "
    "give the folder that holds config.json and these weights as model.safetensors"
)
_ORT = "an ONNX file converted for one machine: give the .onnx file it was made from"
_OTHER = f"made for another runtime, which is not used here: {_ORIGINAL}"
_ARCHIVE = "an archive: unpack it, and give the folder that holds config.json and model.safetensors"
_SETTINGS = "only settings: give the folder it lies in, with its weights as model.safetensors"

_BY_SUFFIX: Mapping[str, str] = {
    **dict.fromkeys(PICKLES, _PICKLE),
    ".torchscript": _SCRIPT,
    ".ptl": _SCRIPT,
    ".onnx": _ONNX,
    ".ort": _ORT,
    ".safetensors": _BARE,
    **dict.fromkeys((".engine", ".plan", ".trt", ".tflite", ".h5", ".hdf5", ".keras", ".pb", ".mlmodel"), _OTHER),
    **dict.fromkeys((".pdparams", ".pdmodel", ".gguf", ".xml"), _OTHER),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".gz"), _ARCHIVE),
    ".json": _SETTINGS,
}


def is_weight_name(name: str) -> bool:
    """Whether ``name`` ends like a file of weights, of whatever program: never the name of a model of a hub."""
    return Path(name).suffix.lower() in _BY_SUFFIX


def told_by_name(name: str) -> str:
    """What a file of that name is, and what to do, as the end of a sentence."""
    return _BY_SUFFIX.get(Path(name).suffix.lower(), "a file: give the folder with config.json and model.safetensors")


def told(path: Path) -> str:
    """What the file is, by its first bytes where they say so, else by its name; and what to do: the end of a sentence.

    A zip of torch is a program (TorchScript) when it holds code, else a pickle. A file that cannot be read is judged by
    its name.
    """
    try:
        if not path.is_file():
            return "no folder: give the folder with config.json and model.safetensors"
        with path.open("rb") as stream:
            head = stream.read(16)
        if head[:4] == b"PK\x03\x04":
            return _told_zip(path)
    except (OSError, zipfile.BadZipFile):
        return told_by_name(path.name)
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return _PICKLE
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size:
        return _BARE
    if head[:4] in (b"\x89HDF", b"GGUF") or head[4:8] == b"TFL3":
        return _OTHER
    return told_by_name(path.name)


def onnx_file(weights: Path) -> Path | None:
    """The ONNX file that ``weights`` is, or that it holds as ``model.onnx`` beside no checkpoint; None for neither."""
    try:
        if weights.is_dir():
            inside = weights / ONNX_FILE
            return inside if inside.is_file() and not any((weights / name).exists() for name in _CHECKPOINT) else None
        return weights if weights.is_file() and told(weights) == _ONNX else None
    except OSError:  # a name no file can have, or a folder that may not be looked into
        return None


def is_onnx_name(name: str) -> bool:
    """Whether ``name`` ends like an ONNX file."""
    return told_by_name(name) == _ONNX


def _told_zip(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any("/code/" in f"/{name}" or name.endswith("constants.pkl") for name in names):
        return _SCRIPT
    if any(name.endswith("data.pkl") for name in names):
        return _PICKLE
    return _ARCHIVE if path.suffix.lower() not in _BY_SUFFIX else told_by_name(path.name)


def strangers_in(folder: Path) -> str | None:
    """The first file of weights that the folder holds instead of ``model.safetensors``, and what to do; else None.

    Of several the one that says most: weights of another name first, then pickles, then what other programs run.
    """
    found = sorted(path for path in folder.iterdir() if path.is_file() and is_weight_name(path.name))
    ranks = (_BARE, _ONNX, _PICKLE, _SCRIPT, _ORT, _OTHER)
    ranked = sorted((ranks.index(what), path.name) for path in found if (what := told(path)) in ranks)
    return f"{brief(ranked[0][1])}, {ranks[ranked[0][0]]}" if ranked else None
