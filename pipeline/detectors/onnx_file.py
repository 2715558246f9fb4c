"""A detector of our own as one ONNX file, for any program that runs such files.

Input ``pixels`` (B, bands, H, W) float32, 0 to 255 as they are, any batch and any size: normalisation and padding are
inside. Outputs of an oriented RT-DETR: ``logits`` (B, Q, classes), and ``boxes`` (B, Q, 5) as cx, cy, w, h in shares of
the picture's width and height and the angle in radians. Of an oriented FCOS: ``scores`` (B, N, classes) from 0 to 1,
and ``boxes`` (B, N, 5) in pixels. No NMS. Metadata: ``kestrel`` is the card as JSON, ``model_type``, and ``license``
where the card has one.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from pipeline.detectors.card import card_content
from pipeline.detectors.onnx_graphs import file_graph
from pipeline.detectors.onnx_model.layout import KESTREL
from pipeline.detectors.passes import Runnable
from pipeline.errors import ConfigError
from pipeline.storage.onnx_files import ONNX_FILE
from pipeline.types import ModelCard

TYPE_KEY, LICENCE_KEY = "model_type", "license"
NEEDED = "ONNX files need the package onnx: pip install 'kestrel-aerial[onnx]'"


def onnx_file(runnable: Runnable, card: ModelCard, model_type: str) -> bytes:
    """The content of the file. Raises ConfigError without the package ``onnx``, ModelError where torch cannot."""
    try:
        import onnx  # late: an extra, which only these files need
    except ImportError as error:
        raise ConfigError(NEEDED) from error
    model = onnx.load_from_string(file_graph(runnable, card.mean, card.std))
    facts = {KESTREL: json.dumps(card_content(card), ensure_ascii=False), TYPE_KEY: model_type}
    facts |= {LICENCE_KEY: card.licence} if card.licence else {}
    onnx.helper.set_model_props(model, facts)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def write_onnx(folder: Path, content: bytes) -> Path:
    """Write ``folder/model.onnx`` by rename, so that it is never half there. Returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ONNX_FILE
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path
