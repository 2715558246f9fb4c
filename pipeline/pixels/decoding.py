"""Which whole blocks of its file a window of a scene costs."""

from __future__ import annotations

from pipeline.types import Scene, Window


def snapped_down(position: int, unit: int) -> int:
    """``position`` moved down to a multiple of ``unit``."""
    return position // unit * unit


def snapped_up(position: int, unit: int, size: int) -> int:
    """``position`` moved up to a multiple of ``unit``, or to ``size`` where that comes first."""
    return min(-(-position // unit) * unit, size)


def decode_window(scene: Scene, window: Window) -> Window:
    """The scene pixels the file must decode to deliver the scene ``window``: grown to whole blocks of the file."""
    x, y = window.x // scene.block_width * scene.block_width, window.y // scene.block_height * scene.block_height
    x1 = min(scene.width, -(-window.x1 // scene.block_width) * scene.block_width)
    y1 = min(scene.height, -(-window.y1 // scene.block_height) * scene.block_height)
    return Window(x=x, y=y, width=x1 - x, height=y1 - y)
