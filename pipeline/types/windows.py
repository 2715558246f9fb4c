"""Whole pixels: windows, the lattice of a scene, and the tiles and blocks it is cut into."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A half-open rectangle of whole pixels: columns ``[x, x1)``, rows ``[y, y1)``."""

    x: int
    y: int
    width: int
    """Pixels, >= 1."""
    height: int
    """Pixels, >= 1."""

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a window needs width and height >= 1, got {self.width} x {self.height}")

    @property
    def x1(self) -> int:
        return self.x + self.width

    @property
    def y1(self) -> int:
        return self.y + self.height

    @property
    def pixels(self) -> int:
        """Area in pixels."""
        return self.width * self.height

    def intersect(self, other: Window) -> Window | None:
        """The common part, or None when there is none."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        x1, y1 = min(self.x1, other.x1), min(self.y1, other.y1)
        if x1 <= x or y1 <= y:
            return None
        return Window(x=x, y=y, width=x1 - x, height=y1 - y)

    def union(self, other: Window) -> Window:
        """The smallest window that holds both."""
        x, y = min(self.x, other.x), min(self.y, other.y)
        return Window(x=x, y=y, width=max(self.x1, other.x1) - x, height=max(self.y1, other.y1) - y)

    def contains(self, other: Window) -> bool:
        return self.x <= other.x and self.y <= other.y and self.x1 >= other.x1 and self.y1 >= other.y1


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """The one resampled pixel grid of a scene, fixed before planning (ruling 1)."""

    width: int
    """Lattice pixels."""
    height: int
    """Lattice pixels."""
    scale_x: float
    """Scene pixels per lattice pixel along a row; > 1 shrinks, < 1 magnifies."""
    scale_y: float
    gsd_m: float | None
    """Ground size of a lattice pixel at the scene's centre, metres; None for a pixel scene."""

    @property
    def window(self) -> Window:
        """The whole lattice."""
        return Window(x=0, y=0, width=self.width, height=self.height)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One look: the detector sees ``window``; the cores of all tiles partition the lattice."""

    index: int
    """Position in the plan, from 0."""
    tile_id: str
    """Stable name, e.g. ``r0003c0012``."""
    core: Window
    """Lattice pixels this tile is responsible for."""
    window: Window
    """Core plus halo, inside the lattice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Neighbouring tiles that are read in one go. The unit of work that travels."""

    block_id: int
    window: Window
    """Lattice window that holds every tile's window."""
    tiles: tuple[Tile, ...]
