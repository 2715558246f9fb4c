"""The files of a scene: how they are opened, and their pixels, in their own type, with their validity.

Every file is opened here, so that this is the one place that decides on formats and hears GDAL's errors.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Compression
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterioWindow

from pipeline.config import RasterConfig
from pipeline.errors import PipelineError, SceneUnreadable, StorageError
from pipeline.names import public_uri, shown
from pipeline.pixels.validity import may_be_invalid, nodata_values, speaking, valid_pixels
from pipeline.raster.addresses import is_remote, vsi_path
from pipeline.raster.admission import (
    GDAL_ERRORS,
    check_limits,
    check_overview,
    check_references,
    check_sidecars,
    odd_headers,
    settle,
)
from pipeline.raster.checksums import Checksums, DamagedBlock, checksums_of
from pipeline.raster.class_mask import beside, class_mask, classes_config
from pipeline.raster.colours import colour_alpha, colour_table
from pipeline.raster.completeness import check_promise
from pipeline.raster.gdal import DRIVERS, EAR, gdal_environment
from pipeline.raster.headers import from_headers
from pipeline.raster.masks import has_mask, masked_alone, read_mask
from pipeline.raster.pages import page_name
from pipeline.raster.refused import check_local, not_a_raster
from pipeline.raster.remote import remote_failure
from pipeline.raster.tiff import threads
from pipeline.retrying import PATIENCE, Patience, retried
from pipeline.types import BoolArray, Scene, Window

_T = TypeVar("_T")

OWN = -1
"""In place of an overview: the pixels alone. Of what has overviews, GDAL makes a smaller picture from them, unasked."""

UNCHECKED = (None, Compression.none, Compression.packbits)
"""Of these a remote TIFF is decoded in one thread: GDAL's others get bits in reverse order wrong, and say nothing. (Of
what is compressed otherwise they make an error, and one thread has the next try.)"""


def open_dataset(
    uri: str, drivers: Sequence[str], config: RasterConfig, overview: int | None = None, threaded: bool = True
) -> Any:
    """Open one raster, or its ``overview`` (counted from 0; see OWN), inside :func:`gdal_environment`.

    Nothing is decoded, and no other file or address is followed but side-cars that hold pixels themselves. Raises
    SceneNotFound, SceneUnreadable (what it promises is beyond the limits, too) or (a server that does not answer)
    StorageError.
    """
    path = vsi_path(uri)
    remote = path.startswith("/vsi")
    if not remote:
        check_local(path, uri)
    try:
        if not remote and not config.allow_vrt:
            check_sidecars(path, uri)
        name = page_name(path, uri, config)
        dataset, how = _opened(name, path, drivers, threaded)
        if not remote:
            settle(dataset, path, uri, config)
        elif not config.allow_vrt:
            check_references(dataset, uri)
        if overview is not None and (overview != OWN or dataset.overviews(1)):
            full, level = (dataset.width, dataset.height), "NONE" if overview == OWN else overview
            dataset.close()
            dataset = DatasetReader(name, driver=list(drivers), sharing=False, overview_level=level, **how)
            check_overview(dataset, full, uri)
        check_limits(dataset, uri, config)
        if not remote:
            check_promise(dataset, Path(path), uri)
    except PipelineError:
        raise
    except (*GDAL_ERRORS, ValueError) as error:
        if remote:
            EAR.forget()  # the verdict is the server's
            raise remote_failure(uri, error, DRIVERS) from error
        raise SceneUnreadable(not_a_raster(path, uri, drivers)) from error
    return dataset


def _opened(name: str, path: str, drivers: Sequence[str], threaded: bool) -> tuple[Any, dict[str, int]]:
    """The dataset of that name in the file at ``path``, and the options it was opened with."""
    remote = path.startswith("/vsi")
    plain = tuple(drivers) != ("GTiff",) if remote else threads(Path(path)) == 1
    how = {} if plain or not threaded else {"NUM_THREADS": 2}
    dataset = DatasetReader(name, driver=list(drivers), sharing=False, **how)
    if remote and how and dataset.compression in UNCHECKED:
        dataset.close()
        how = {}
        dataset = DatasetReader(name, driver=list(drivers), sharing=False)
    return dataset, how


class Pixels:
    """The open files of one scene, at full resolution or one overview (see OWN): pixels in their type, and validity.

    One thread of one process only: GDAL's handles are not safe to share.
    """

    def __init__(
        self, scene: Scene, config: RasterConfig, overview: int | None = None, patience: Patience = PATIENCE
    ) -> None:
        self.scene, self.config, self._overview, self._patience = scene, config, overview, patience
        self._owner = (os.getpid(), threading.get_ident())
        self._failed = False
        self.files: list[Any] = []
        self._classes: list[Any] = []
        self._uris = (*scene.uris, *beside(config))
        self.remarks: set[str] = set()  # of GDAL's while reading, that mean no damage
        self._open()
        with self.environment(), odd_headers(", ".join(scene.uris)):
            self.width, self.height = self.files[0].width, self.files[0].height
            self.block_width = min(self.files[0].block_shapes[0][1], self.width)
            self.block_height = min(self.files[0].block_shapes[0][0], self.height)
            self.masked = scene.has_mask
            self.may_be_invalid = may_be_invalid(scene, masked=self.masked)  # if not, no mask need be made
            self.palette = colour_table(self.files[0], scene.bands[0]) if scene.palette else None
            self._own_masks = self.masked and config.mask == "auto"
            self.alpha = colour_alpha(self.files[0], scene.bands[0]) if scene.palette and self._own_masks else None
            self.nodata = nodata_values(scene, None if self.palette is None else self.files[0].dtypes[0])
            self._checked = [self._checkable(file, uri) for file, uri in zip(self.files, scene.uris, strict=True)]
            self.band_masks = [band if masked_alone(file, band) else None for file, band in self._channels()]

    def _checkable(self, file: Any, uri: str) -> Checksums | None:
        """Of the blocks of a local file, when they have any."""
        if is_remote(uri) or self._overview not in (None, OWN):
            return None
        return checksums_of(file, Path(vsi_path(uri)))

    def _channels(self) -> list[tuple[Any, int]]:
        """The file of every channel, and its band there."""
        if len(self.files) > 1:
            return [(self.files[band - 1], 1) for band in self.scene.bands]
        return [(self.files[0], band) for band in self.scene.bands]

    def _open(self) -> None:
        scene, config, driver = self.scene, self.config, (self.scene.driver,)

        def opened() -> list[Any]:
            with odd_headers(", ".join(scene.uris)):
                self._classes = [open_dataset(one, DRIVERS, classes_config(config)) for one in beside(config)]
                return [open_dataset(uri, driver, self.config, self._overview, not self._failed) for uri in scene.uris]

        if not self.files:
            self.files = from_headers(self._uris, self.config, opened, self._patience, self.remarks)

    def close(self) -> None:
        if self.files:
            with self.environment():  # GDAL may say things even then
                for file in (*self.files, *self._classes):
                    file.close()
        self.files = []

    def environment(self) -> contextlib.AbstractContextManager[None]:
        return gdal_environment(self.config, self._uris, self._patience)

    @property
    def left_out_is_a_hole(self) -> bool:
        """Whether what stands for blocks that a sparse GeoTIFF leaves out is nodata in every channel."""
        fill = self.files[0].nodata or 0
        sparse = self.scene.driver == "GTiff" and len(self.files) == 1 and not self.masked and self.palette is None
        return sparse and bool(self.nodata) and all(value is not None and value == fill for value in self.nodata)

    def holds_block(self, column: int, row: int) -> bool:
        """Whether a GeoTIFF holds pixels of that block of its grid, in any band that is read."""
        name = f"BLOCK_SIZE_{column}_{row}"
        with self.environment():
            return any(self.files[0].get_tag_item(name, "TIFF", bidx=band) for band in set(self.scene.bands))

    @property
    def notes(self) -> tuple[str, ...]:
        """What GDAL remarked so far of local files and went on, in order; of remote ones nothing may be repeated."""
        if any(map(is_remote, self.scene.uris)):
            return ()
        return tuple(f"GDAL remarks on {self.scene.scene_id}: {shown(one)}" for one in sorted(self.remarks))

    def read(self, window: Window, out: NDArray[Any] | None = None, **decimate: Any) -> NDArray[Any]:
        """(H, W, C) pixels of ``window``, decoded straight into ``out`` when it is given.

        Raises SceneUnreadable for a local file that is damaged, StorageError for a remote one.
        """
        shape = decimate.pop("shape", (window.height, window.width))
        if out is None:
            out = np.empty((*shape, len(self.scene.bands)), self.scene.dtype)
        self._read(window, partial(self._read_bands, window, out, decimate))
        return out

    def _check(self, window: Window) -> None:
        """Raise DamagedBlock for one that GDAL would decode to other pixels, and say nothing."""
        for file, checksums in zip(self.files, self._checked, strict=True):
            bands = {band for one, band in self._channels() if one is file}
            if checksums is not None and bands:
                checksums.check(file, bands, window)

    def _read_bands(self, window: Window, out: NDArray[Any], decimate: dict[str, Any]) -> None:
        bands, planes, shape = self.scene.bands, out.transpose(2, 0, 1), out.shape[:2]
        if shape == (window.height, window.width):
            self._check(window)
        area = RasterioWindow(window.x, window.y, window.width, window.height)
        if len(self.files) > 1:
            for channel, band in enumerate(bands):
                self.files[band - 1].read(1, window=area, out=planes[channel], **decimate)
        elif self.palette is not None:
            index = self.files[0].read(bands[0], window=area, out_shape=shape)  # an average of indices is none
            np.take(self.palette, index, axis=0, out=out, mode="clip")
        elif len(set(bands)) == 1:
            self.files[0].read(bands[0], window=area, out=planes[0], **decimate)
            planes[1:] = planes[:1]
        else:
            self.files[0].read(list(bands), window=area, out=planes, **decimate)

    def valid(self, window: Window, pixels: NDArray[Any], *, by_channel: bool = False, **decimate: Any) -> BoolArray:
        """(H, W) by the rule of :mod:`pipeline.pixels.validity`; ``pixels`` as from :meth:`read`.

        ``by_channel``: (H, W, C), False too where a channel is silent that others speak for.
        """
        return self._read(window, partial(self._valid, window, pixels, decimate, by_channel))

    def _valid(
        self, window: Window, pixels: NDArray[Any], decimate: dict[str, Any], by_channel: bool
    ) -> BoolArray:  # fmt: skip
        area, shape, numbers = RasterioWindow(window.x, window.y, window.width, window.height), pixels.shape[:2], None
        if self.palette is not None and (self.nodata or self.alpha is not None):
            numbers = self.files[0].read(self.scene.bands[0], window=area, out_shape=shape)
        how = {"window": area, "out_shape": shape, **decimate}
        masks = (read_mask(file, **how) for file in self.files if self._own_masks and has_mask(file))
        alone: tuple[NDArray[Any] | None, ...] = ()
        if self._own_masks and any(self.band_masks):
            pairs = zip(self._channels(), self.band_masks, strict=True)
            alone = tuple(None if band is None else file.read_masks(band, **how) for (file, _), band in pairs)
        clear = [] if self.alpha is None or numbers is None else [np.take(self.alpha, numbers, mode="clip")]
        classes = (class_mask(one, self.config, window, shape, (self.width, self.height)) for one in self._classes)
        valid = valid_pixels(pixels, self.nodata, numbers, chain(masks, clear, classes), alone)
        if not by_channel:
            return valid
        return np.stack([valid & says for says in speaking(pixels, self.nodata, numbers, alone)], axis=-1)

    def _read(self, window: Window, action: Callable[[], _T]) -> _T:
        """What ``action`` reads of ``window``; where it fails remotely, once more from files opened anew."""
        assert self._owner == (os.getpid(), threading.get_ident()), "a SceneReader belongs to one thread"
        opened = False

        def attempt() -> _T:
            nonlocal opened
            opened = False
            self._open()
            opened = True
            with self._failing(window):
                return action()

        def may_pass(error: Exception) -> bool:
            return opened and isinstance(error, StorageError)  # opening has had its own attempts

        return retried(attempt, may_pass, f"{self.scene.scene_id} {window}", self._patience)

    @contextlib.contextmanager
    def _failing(self, window: Window) -> Iterator[None]:
        """GDAL's errors, raised or only signalled, as ours; and the files closed, with all that GDAL kept of them."""
        try:
            with self.environment(), EAR.listening(notes=self.remarks) as signalled:
                yield
            _check_silent(signalled)
        except GDAL_ERRORS as error:
            self._failed = True
            self.close()  # of a handle that has failed GDAL may answer with a blank block it kept
            names = ", ".join(map(public_uri, self._uris))
            where = f"columns {window.x} to {window.x1}, rows {window.y} to {window.y1}"
            if any(map(is_remote, self._uris)):
                raise StorageError(f"{names}: reading {where} failed; try again, or download the file first") from error
            why = f": {error}" if isinstance(error, DamagedBlock) else ""
            raise SceneUnreadable(
                f"{names} is damaged: {where} cannot be decoded{why}; copy or download it again"
            ) from error


def _check_silent(signalled: Sequence[str]) -> None:
    """Raise OSError for errors that GDAL signalled and did not raise."""
    if signalled:
        raise OSError(signalled[0])
