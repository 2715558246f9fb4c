"""Which whole blocks of its file a window of a scene costs."""

from __future__ import annotations

from pipeline.types import Scene, Window


def decode_window(scene: Scene, window: Window) -> Window:
    """The scene pixels the file must decode to deliver the scene ``window``: grown to whole blocks of the file."""
    x, y = window.x // scene.block_width * scene.block_width, window.y // scene.block_height * scene.block_height
    x1 = min(scene.width, -(-window.x1 // scene.block_width) * scene.block_width)
    y1 = min(scene.height, -(-window.y1 // scene.block_height) * scene.block_height)
    return Window(x=x, y=y, width=x1 - x, height=y1 - y)
