"""The package ``onnxruntime``, which is imported here and nowhere else: without its reports to its maker.

Its wheels of 1.31 tell Microsoft about every process, and leave a number for the session (``.ses``) in the folder for
temporary files, from the moment they are imported; nothing that is called afterwards takes that back. What a scene is
looked at with is nobody's business, and a machine without a network must not try.
"""

from __future__ import annotations

import os
from types import ModuleType

OPT_OUT = "ORT_DISABLE_TELEMETRY"


def import_onnxruntime() -> ModuleType:
    """The package. Raises ImportError where it is not installed."""
    os.environ[OPT_OUT] = "1"  # read once, when the library is loaded
    import onnxruntime

    return onnxruntime  # type: ignore[no-any-return]
