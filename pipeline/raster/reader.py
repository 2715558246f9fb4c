"""Blocks of a scene on its lattice: (H, W, C) uint8 pixels with an (H, W) validity mask.

Memory is bounded by the window asked for, never by the scene.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.config import RasterConfig
from pipeline.pixels.decoding import decoded_spans
from pipeline.pixels.resampling import is_identity, resample, source_window
from pipeline.pixels.stretch import darken, is_identity_stretch, to_bytes
from pipeline.raster.source import Pixels
from pipeline.retrying import PATIENCE, Patience
from pipeline.types import BoolArray, ByteArray, Lattice, Scene, Stretch, Window

STRIP_PX = 1_000_000
"""Pixels (of the larger side, source or lattice) that one strip of resampling holds in float32."""


class SceneReader:
    """Reads blocks of one scene as 8-bit lattice pixels. A context manager; one thread of one process only."""

    def __init__(
        self, scene: Scene, lattice: Lattice, stretch: Stretch, config: RasterConfig,
        patience: Patience = PATIENCE, *, strip_px: int = STRIP_PX,
    ) -> None:  # fmt: skip
        """``strip_px``: see STRIP_PX."""
        self.scene, self.lattice, self.stretch, self.config = scene, lattice, stretch, config
        self._patience, self._strip_px = patience, strip_px
        self._pixels: Pixels | None = None

    def __enter__(self) -> Self:
        self._pixels = Pixels(self.scene, self.config, patience=self._patience)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pixels is not None:
            self._pixels.close()
            self._pixels = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What GDAL remarked so far of local files without calling them damaged, for the record."""
        return () if self._pixels is None else self._pixels.notes

    def read(self, window: Window) -> tuple[ByteArray, BoolArray]:
        """Lattice pixels of ``window``: (H, W, C) uint8 and (H, W) validity; 0 and False outside the lattice.

        Raises SceneUnreadable for a damaged file, StorageError when a remote one cannot be read now.
        """
        assert self._pixels is not None, "use SceneReader as a context manager"
        shape = (window.height, window.width)
        pixels = np.zeros((*shape, len(self.scene.bands)), np.uint8)
        valid = np.zeros(shape, np.bool_)
        inside = window.intersect(self.lattice.window)
        if inside is None:
            return pixels, valid
        place = (slice(inside.y - window.y, inside.y1 - window.y), slice(inside.x - window.x, inside.x1 - window.x))
        if is_identity(self.lattice):
            self._read_identity(inside, pixels[place], valid[place])
        else:
            self._read_resampled(inside, pixels[place], valid[place])
        return pixels, valid

    def _read_identity(self, window: Window, pixels: ByteArray, valid: BoolArray) -> None:
        source = self._pixels
        assert source is not None
        if self.scene.dtype == "uint8" and is_identity_stretch(self.stretch):
            source.read(window, out=pixels)
            valid[:] = True
            if source.may_be_invalid:
                valid[:] = source.valid(window, pixels)
                for channel in range(pixels.shape[-1]):  # a tenth of what an assignment by mask costs
                    pixels[..., channel] *= valid
            return
        for part in row_parts(window, self._rows_per_part(window.width)):
            rows = slice(part.y - window.y, part.y1 - window.y)
            raw = source.read(part)
            valid[rows] = source.valid(part, raw) if source.may_be_invalid else True
            darken(raw, source.nodata if source.palette is None else (), self.stretch)
            pixels[rows] = to_bytes(raw, self.stretch, valid[rows])

    def _read_resampled(self, window: Window, pixels: ByteArray, valid: BoolArray) -> None:
        source = self._pixels
        assert source is not None
        size = (self.scene.width, self.scene.height)
        everything = source_window(window, self.lattice, *size)
        held = _HeldRows(source, everything, self.stretch)
        for part in row_parts(window, self._rows_per_part(max(window.width, everything.width))):
            need = source_window(part, self.lattice, *size)
            raw, raw_valid = held.rows(need.y, need.y1)
            mapped, mapped_valid = resample(raw, raw_valid, need, part, self.lattice, *size)
            rows = slice(part.y - window.y, part.y1 - window.y)
            pixels[rows] = to_bytes(mapped, self.stretch, mapped_valid)
            valid[rows] = mapped_valid

    def _rows_per_part(self, width: int) -> int:
        """Lattice rows per strip, such that neither side of the resampling exceeds ``strip_px``."""
        return max(1, int(self._strip_px / width / max(1.0, self.lattice.scale_y)))


class _HeldRows:
    """Source rows read once, in whole rows of file blocks, and kept while the next strip still needs them."""

    def __init__(self, source: Pixels, window: Window, stretch: Stretch) -> None:
        self.source, self.window, self.stretch = source, window, stretch
        self.first = self.end = window.y
        self.pixels = np.empty((0, window.width, len(source.scene.bands)), source.scene.dtype)
        self.valid = np.empty((0, window.width), np.bool_)

    def rows(self, y: int, y1: int) -> tuple[NDArray[Any], BoolArray]:
        """Pixels and validity of source rows ``[y, y1)``; calls must not go back up."""
        drop = min(y, self.end) - self.first
        self.pixels, self.valid, self.first = self.pixels[drop:], self.valid[drop:], self.first + drop
        if y1 > self.end:
            until = int(decoded_spans(y, y1, self.source.block_height, self.window.y1)[1])
            window = Window(x=self.window.x, y=self.end, width=self.window.width, height=until - self.end)
            pixels = self.source.read(window)
            valid = np.ones(pixels.shape[:2], np.bool_)
            if self.source.may_be_invalid:
                valid = self.source.valid(window, pixels)
            darken(pixels, self.source.nodata if self.source.palette is None else (), self.stretch)
            self.pixels = np.concatenate([self.pixels, pixels])
            self.valid = np.concatenate([self.valid, valid])
            self.end = until
        part = slice(y - self.first, y1 - self.first)
        return self.pixels[part], self.valid[part]


def row_parts(window: Window, rows: int) -> Iterator[Window]:
    """``window`` in strips of at most so many rows, from the top."""
    for y in range(window.y, window.y1, rows):
        yield Window(x=window.x, y=y, width=window.width, height=min(rows, window.y1 - y))
