"""Which whole blocks of its file a window of a scene costs. numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pipeline.types import IntArray, Scene, Window


def decoded_spans(start: ArrayLike, end: ArrayLike, unit: ArrayLike, size: ArrayLike) -> tuple[IntArray, IntArray]:
    """Spans ``[start, end)`` of scene pixels along one axis, grown to whole file blocks of ``unit`` pixels.

    The last block ends where the axis does, at ``size``. Each is an integer or an array of them; they broadcast.
    """
    first, past, step = (np.asarray(one, np.int64) for one in (start, end, unit))
    return first // step * step, np.minimum(-(-past // step) * step, np.asarray(size, np.int64))


def decode_window(scene: Scene, window: Window) -> Window:
    """The scene pixels the file must decode to deliver the scene ``window``: grown to whole blocks of the file."""
    start, end = decoded_spans(
        (window.x, window.y), (window.x1, window.y1), (scene.block_width, scene.block_height),
        (scene.width, scene.height),
    )  # fmt: skip
    (x, y), (x1, y1) = start.tolist(), end.tolist()
    return Window(x=x, y=y, width=x1 - x, height=y1 - y)
