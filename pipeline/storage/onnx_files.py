"""What an ONNX file is called, what may lie beside it, and how large it may be: wherever it lies."""

from __future__ import annotations

ONNX_SUFFIX = ".onnx"
ONNX_FILE = f"model{ONNX_SUFFIX}"
"""Of a folder that holds one, and no checkpoint."""
BESIDE = (".card.json", ".export_meta.json")
"""What may lie beside ``best.onnx``, in place of its ending."""
MOST_ONNX_BYTES = 2**31 - 1
"""Protocol buffers hold no more in one piece: a larger network keeps its weights outside, which is refused."""
