"""Scenes from files: blocks of pixels on the lattice, coverage, thumbnails; and the streaming writer.

rasterio's home, with :mod:`pipeline.raster_scene` (headers, and how files are opened). Pixels leave as (H, W, C)
uint8 with an (H, W) validity mask. Memory is bounded by the window asked for, never by the scene.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from pipeline.config import RasterConfig
from pipeline.errors import SceneUnreadable, StorageError
from pipeline.raster_scene import gdal_environment, has_mask, is_remote, open_dataset, open_scene, public_uri
from pipeline.resampling import is_identity, resample, source_window
from pipeline.stretch import fixed_stretch, is_identity_stretch, stretch_from_sample, to_bytes
from pipeline.types import BoolArray, ByteArray, Lattice, Scene, Stretch, Window

__all__ = ["SceneReader", "decode_window", "measure_stretch", "open_scene", "read_coverage", "read_thumbnail",
           "write_scene"]  # fmt: skip

SAMPLE_PX = 4_000_000
"""Most pixels looked at to measure a stretch."""
STRIP_PX = 2_000_000
"""Pixels (of the larger side, source or lattice) that one strip of resampling holds in float32."""


class Pixels:
    """The open files of one scene, at full resolution or one overview: pixels in their own type, and validity.

    One thread of one process only: GDAL's handles are not safe to share.
    """

    def __init__(self, scene: Scene, config: RasterConfig, overview: int | None = None) -> None:
        self.scene, self.config = scene, config
        with self.environment():
            self.files = [open_dataset(uri, (scene.driver,), overview) for uri in scene.uris]
        self.width, self.height = self.files[0].width, self.files[0].height
        self.block_height = min(self.files[0].block_shapes[0][0], self.height)
        self.masked = any(has_mask(file) for file in self.files)
        self.nodata = nodata_value(scene)
        self._owner = (os.getpid(), threading.get_ident())

    def close(self) -> None:
        for file in self.files:
            file.close()

    def environment(self) -> contextlib.AbstractContextManager[None]:
        return gdal_environment(self.config, self.scene.uris)

    @property
    def may_be_invalid(self) -> bool:
        """False when every pixel of the file is valid by construction, so no mask need be made."""
        return self.masked or self.nodata is not None or np.dtype(self.scene.dtype).kind == "f"

    def read(self, window: Window, out: NDArray[Any] | None = None, **decimate: Any) -> NDArray[Any]:
        """(H, W, C) pixels of ``window``, decoded straight into ``out`` when it is given.

        Raises SceneUnreadable for a local file that is damaged, StorageError for a remote one.
        """
        assert self._owner == (os.getpid(), threading.get_ident()), "a SceneReader belongs to one thread"
        bands = self.scene.bands
        shape = decimate.pop("shape", (window.height, window.width))
        if out is None:
            out = np.empty((*shape, len(bands)), self.scene.dtype)
        planes = out.transpose(2, 0, 1)
        area = RasterioWindow(window.x, window.y, window.width, window.height)
        with self._reading(window):
            if len(self.files) > 1:
                for channel, band in enumerate(bands):
                    self.files[band - 1].read(1, window=area, out=planes[channel], **decimate)
            elif len(set(bands)) == 1:
                self.files[0].read(bands[0], window=area, out=planes[0], **decimate)
                planes[1:] = planes[:1]
            else:
                self.files[0].read(list(bands), window=area, out=planes, **decimate)
        return out

    def valid(self, window: Window, pixels: NDArray[Any], **decimate: Any) -> BoolArray:
        """(H, W) True where no mask, alpha, nodata value or NaN says otherwise; ``pixels`` as from :meth:`read`."""
        valid = np.ones(pixels.shape[:2], np.bool_)
        if pixels.dtype.kind == "f":
            for channel in range(pixels.shape[-1]):
                valid &= np.isfinite(pixels[..., channel])
        if self.nodata is not None:
            valid &= (pixels != self.nodata).any(axis=-1)
        area = RasterioWindow(window.x, window.y, window.width, window.height)
        with self._reading(window):
            for file in self.files if self.masked else ():
                if has_mask(file):
                    valid &= file.read_masks(1, window=area, out_shape=pixels.shape[:2], **decimate) > 0
        return valid

    @contextlib.contextmanager
    def _reading(self, window: Window) -> Iterator[None]:
        try:
            with self.environment():
                yield
        except (RasterioError, OSError) as error:
            names = ", ".join(map(public_uri, self.scene.uris))
            where = f"columns {window.x} to {window.x1}, rows {window.y} to {window.y1}"
            if any(map(is_remote, self.scene.uris)):
                raise StorageError(f"{names}: reading {where} failed; try again, or download the file first") from error
            raise SceneUnreadable(
                f"{names} is damaged: {where} cannot be decoded; copy or download it again"
            ) from error


def nodata_value(scene: Scene) -> np.generic | None:
    """The nodata value in the pixels' own type; None when there is none, or when no pixel can have it."""
    dtype = np.dtype(scene.dtype)
    if scene.nodata is None or np.isnan(scene.nodata):
        return None  # NaN is invalid anyhow
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if scene.nodata != int(scene.nodata) or not limits.min <= scene.nodata <= limits.max:
            return None
    with np.errstate(over="ignore"):
        return dtype.type(scene.nodata)


class SceneReader:
    """Reads blocks of one scene as 8-bit lattice pixels. A context manager; one thread of one process only."""

    def __init__(self, scene: Scene, lattice: Lattice, stretch: Stretch, config: RasterConfig) -> None:
        self.scene, self.lattice, self.stretch, self.config = scene, lattice, stretch, config
        self._pixels: Pixels | None = None

    def __enter__(self) -> Self:
        self._pixels = Pixels(self.scene, self.config)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pixels is not None:
            self._pixels.close()
            self._pixels = None

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
                pixels[~valid] = 0
            return
        for part in _row_parts(window, self._rows_per_part(window.width)):
            rows = slice(part.y - window.y, part.y1 - window.y)
            raw = source.read(part)
            valid[rows] = source.valid(part, raw) if source.may_be_invalid else True
            pixels[rows] = to_bytes(raw, self.stretch, valid[rows])

    def _read_resampled(self, window: Window, pixels: ByteArray, valid: BoolArray) -> None:
        source = self._pixels
        assert source is not None
        size = (self.scene.width, self.scene.height)
        everything = source_window(window, self.lattice, *size)
        held = _HeldRows(source, everything)
        for part in _row_parts(window, self._rows_per_part(max(window.width, everything.width))):
            need = source_window(part, self.lattice, *size)
            raw, raw_valid = held.rows(need.y, need.y1)
            mapped, mapped_valid = resample(raw, raw_valid, need, part, self.lattice, *size)
            rows = slice(part.y - window.y, part.y1 - window.y)
            pixels[rows] = to_bytes(mapped, self.stretch, mapped_valid)
            valid[rows] = mapped_valid

    def _rows_per_part(self, width: int) -> int:
        """Lattice rows per strip, such that neither side of the resampling exceeds STRIP_PX."""
        return max(1, int(STRIP_PX / width / max(1.0, self.lattice.scale_y)))


class _HeldRows:
    """Source rows read once, in whole rows of file blocks, and kept while the next strip still needs them."""

    def __init__(self, source: Pixels, window: Window) -> None:
        self.source, self.window = source, window
        self.first = self.end = window.y
        self.pixels = np.empty((0, window.width, len(source.scene.bands)), source.scene.dtype)
        self.valid = np.empty((0, window.width), np.bool_)

    def rows(self, y: int, y1: int) -> tuple[NDArray[Any], BoolArray]:
        """Pixels and validity of source rows ``[y, y1)``; calls must not go back up."""
        drop = min(y, self.end) - self.first
        self.pixels, self.valid, self.first = self.pixels[drop:], self.valid[drop:], self.first + drop
        if y1 > self.end:
            step = self.source.block_height
            until = min(self.window.y1, -(-y1 // step) * step)
            window = Window(x=self.window.x, y=self.end, width=self.window.width, height=until - self.end)
            pixels = self.source.read(window)
            valid = np.ones(pixels.shape[:2], np.bool_)
            if self.source.may_be_invalid:
                valid = self.source.valid(window, pixels)
            self.pixels = np.concatenate([self.pixels, pixels])
            self.valid = np.concatenate([self.valid, valid])
            self.end = until
        part = slice(y - self.first, y1 - self.first)
        return self.pixels[part], self.valid[part]


def _row_parts(window: Window, rows: int) -> Iterator[Window]:
    for y in range(window.y, window.y1, rows):
        yield Window(x=window.x, y=y, width=window.width, height=min(rows, window.y1 - y))


def decode_window(scene: Scene, window: Window) -> Window:
    """The scene pixels the file must decode to deliver the scene ``window``: grown to whole blocks of the file."""
    x, y = window.x // scene.block_width * scene.block_width, window.y // scene.block_height * scene.block_height
    x1 = min(scene.width, -(-window.x1 // scene.block_width) * scene.block_width)
    y1 = min(scene.height, -(-window.y1 // scene.block_height) * scene.block_height)
    return Window(x=x, y=y, width=x1 - x, height=y1 - y)


def measure_stretch(scene: Scene, config: RasterConfig) -> Stretch:
    """The scene's map to 8 bit, from the valid pixels of an overview, or of a decimated read when there is none.

    Looks at no more than SAMPLE_PX pixels; the same answer every time.
    """
    known = fixed_stretch(scene.dtype, len(scene.bands), config)
    if known is not None:
        return known
    pixels, valid, source = _decimated(scene, config, SAMPLE_PX)
    return stretch_from_sample(pixels, valid, config, source)


def _decimated(scene: Scene, config: RasterConfig, max_px: int) -> tuple[NDArray[Any], BoolArray, str]:
    """The whole scene in at most ``max_px`` pixels of its own type, their validity, and where they come from."""
    pixel_counts = [-(-scene.width // factor) * -(-scene.height // factor) for factor in scene.overviews]
    fitting = [level for level, count in enumerate(pixel_counts) if count <= max_px]
    level = fitting[0] if fitting else len(scene.overviews) - 1 if scene.overviews else None
    with contextlib.closing(Pixels(scene, config, level)) as source:
        whole = Window(x=0, y=0, width=source.width, height=source.height)
        step = int(np.ceil(np.sqrt(whole.pixels / max_px)))
        shape = (-(-whole.height // step), -(-whole.width // step))
        pixels = source.read(whole, shape=shape)
        valid = source.valid(whole, pixels)
    origin = [] if level is None else [f"overview {scene.overviews[level]}"]
    return pixels, valid, ", ".join([*origin, *([f"decimated read 1/{step}"] if step > 1 else [])]) or "all pixels"


def read_thumbnail(
    scene: Scene, stretch: Stretch, config: RasterConfig, max_side_px: int
) -> tuple[ByteArray, BoolArray]:
    """The whole scene as an (h, w, 3) uint8 picture whose longer side is at most ``max_side_px``; and validity."""
    factor = max(1.0, max(scene.width, scene.height) / max_side_px)
    shape = (max(1, round(scene.height / factor)), max(1, round(scene.width / factor)))
    sharper = [level for level, decimation in enumerate(scene.overviews) if decimation <= factor]
    with contextlib.closing(Pixels(scene, config, sharper[-1] if sharper else None)) as source:
        whole = Window(x=0, y=0, width=source.width, height=source.height)
        pixels = source.read(whole, shape=shape, resampling=Resampling.average)
        valid = source.valid(whole, pixels, resampling=Resampling.average)
    picture = to_bytes(pixels, stretch, valid)
    channels = [0, 1, 2] if picture.shape[-1] >= 3 else [0, 0, 0]
    return picture[..., channels], valid


def read_coverage(scene: Scene, lattice: Lattice, max_side_px: int = 2048) -> BoolArray:
    """(h, w) cells that span the lattice exactly: True when a valid pixel may lie in the cell.

    Judged on the coarsest overview that still has a pixel per cell, grown by one overview pixel, because an
    overview may have missed what lies between its samples; or on every pixel when there is none. Scenes that
    cannot hold an invalid pixel are all True, unread.
    """
    config = RasterConfig()
    shrink = max(1.0, max(lattice.width, lattice.height) / max_side_px)
    shape = (max(1, int(lattice.height / shrink)), max(1, int(lattice.width / shrink)))
    if not (scene.has_mask or nodata_value(scene) is not None or np.dtype(scene.dtype).kind == "f"):
        return np.ones(shape, np.bool_)
    decimation = max(scene.width / shape[1], scene.height / shape[0])
    levels = [level for level, factor in enumerate(scene.overviews) if factor <= decimation]
    level = levels[-1] if levels else None
    cover = np.zeros(shape, np.bool_)
    with contextlib.closing(Pixels(scene, config, level)) as source:
        margin = 0 if level is None else 1
        tops, ends = _cell_edges(shape[0], source.height, margin)
        lefts, rights = _cell_edges(shape[1], source.width, margin)
        whole = Window(x=0, y=0, width=source.width, height=source.height)
        rows = max(1, STRIP_PX // source.width // source.block_height) * source.block_height
        for part in _row_parts(whole, rows):
            valid = source.valid(part, source.read(part))
            count = np.zeros((part.height, part.width + 1), np.int32)
            np.cumsum(valid, axis=1, out=count[:, 1:])
            hit = count[:, rights] > count[:, lefts]
            for cell in np.flatnonzero((tops < part.y1) & (ends > part.y)):
                cover[cell] |= hit[max(tops[cell] - part.y, 0) : ends[cell] - part.y].any(axis=0)
    return cover


def _cell_edges(cells: int, size: int, margin: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and past-the-last pixel under each of ``cells`` equal cells over ``size`` pixels, grown by ``margin``."""
    edges = np.arange(cells + 1, dtype=np.int64) * size
    return np.maximum(edges[:-1] // cells - margin, 0), np.minimum(-(-edges[1:] // cells) + margin, size)


def write_scene(
    path: str | Path, *, width: int, height: int, bands: int, dtype: str, crs: str | None,
    transform: Sequence[float] | None, render: Callable[[Window], NDArray[Any]], tiled: bool = True,
    block_px: int = 512, compress: str = "deflate", nodata: float | None = None, overviews: bool = False,
    tags: dict[str, str] | None = None,
) -> None:  # fmt: skip
    """Write a GeoTIFF of any size in bounded memory, a row of blocks at a time; it appears when it is complete.

    ``render`` answers the (H, W, C) pixels of a scene window. ``block_px`` is the side of a tile (a multiple of
    16) or the rows of a strip. ``transform`` is (a, b, c, d, e, f). Raises StorageError when it cannot be written.
    """
    target = Path(path)
    part = target.with_name(f".{target.name}.part")
    options: dict[str, Any] = {"tiled": tiled, "blockysize": block_px, "compress": compress, "nodata": nodata,
                               "bigtiff": "IF_SAFER", "interleave": "pixel"}  # fmt: skip
    if tiled:
        options["blockxsize"] = block_px
    if transform is not None:
        options["transform"] = rasterio.Affine(*transform)
    try:
        with gdal_environment(RasterConfig(), ()):
            with rasterio.open(part, "w", driver="GTiff", width=width, height=height, count=bands, dtype=dtype,
                               crs=crs, **options) as file:  # fmt: skip
                file.update_tags(**(tags or {}))
                for window in _writing_windows(width, height, block_px, tiled):
                    area = RasterioWindow(window.x, window.y, window.width, window.height)
                    file.write(np.ascontiguousarray(render(window).transpose(2, 0, 1)), window=area)
            if overviews:
                with rasterio.open(part, "r+") as file:
                    file.build_overviews(overview_factors(width, height), Resampling.average)
        part.replace(target)
    except (RasterioError, OSError) as error:
        raise StorageError(f"{target} cannot be written ({error}); check the folder and the free space") from error
    finally:
        part.unlink(missing_ok=True)


def overview_factors(width: int, height: int) -> list[int]:
    """2, 4, 8 … until the smallest overview fits 256 pixels."""
    steps = int(np.ceil(np.log2(max(1.0, max(width, height) / 256))))
    return [2**step for step in range(1, steps + 1)]


def _writing_windows(width: int, height: int, block_px: int, tiled: bool) -> Iterator[Window]:
    """Whole blocks of the file, so that none is compressed twice: about STRIP_PX pixels of tiles, or one strip."""
    columns = max(1, STRIP_PX // block_px // block_px) * block_px if tiled else width
    for y in range(0, height, block_px):
        for x in range(0, width, columns):
            yield Window(x=x, y=y, width=min(columns, width - x), height=min(block_px, height - y))
