"""Parts of a picture, and what they are in the file that it was shrunk from."""

from __future__ import annotations

from pipeline.types import Window


def scaled(window: Window, across: float, down: float) -> Window:
    """A window of a picture in the pixels of what it was shrunk from."""
    x, y = int(window.x * across), int(window.y * down)
    return Window(x=x, y=y, width=max(1, int(window.x1 * across) - x), height=max(1, int(window.y1 * down) - y))


def quarters(window: Window) -> list[Window]:
    """A window cut once across and once down."""
    width, height = window.width // 2, window.height // 2
    columns = ((window.x, width), (window.x + width, window.width - width))
    rows = ((window.y, height), (window.y + height, window.height - height))
    return [Window(x=x, y=y, width=across, height=down) for y, down in rows for x, across in columns]
