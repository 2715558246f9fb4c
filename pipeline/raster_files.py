"""The files of a scene: how they are opened, which formats are allowed, and their pixels with their validity.

Part of rasterio's home, with :mod:`pipeline.raster_remote` (the network), :mod:`pipeline.raster_scene` (headers) and
:mod:`pipeline.raster` (blocks on the lattice). Every file is opened here, so that this is the one place that decides
on formats, sets GDAL's options and hears its errors.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterioWindow

from pipeline.config import RasterConfig
from pipeline.errors import PipelineError, SceneError, SceneNotFound, SceneUnreadable, StorageError
from pipeline.names import public_uri, shown
from pipeline.raster_limits import check_limits, check_overview
from pipeline.raster_references import GDAL_ERRORS, check_references, check_sidecars, odd_headers
from pipeline.raster_remote import is_remote, remote_failure, remote_options, steadily, vsi_path
from pipeline.retrying import PATIENCE, retried
from pipeline.types import BoolArray, ByteArray, Scene, Window

_T = TypeVar("_T")

DRIVERS = ("GTiff", "JP2OpenJPEG", "PNG", "JPEG")
"""GDAL drivers that scenes may use (COG files are read by GTiff). A short list, because several others follow
references inside a file to any other file or address this machine can reach."""


def gdal_options(config: RasterConfig, remote: bool) -> dict[str, Any]:
    """Options of GDAL for one open or read. Credentials are left to the environment, which GDAL reads itself."""
    options: dict[str, Any] = {
        "GDAL_CACHEMAX": config.gdal_cache_mb * 1_000_000,
        # With a second thread GDAL decodes a window's blocks straight into our array, past its cache: a quarter less
        # processor time even where both threads share a core.
        "GDAL_NUM_THREADS": 2,
    }
    if not remote:
        # Side-car files are looked for by name, not by listing the folder, which may hold a million others.
        return options | {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE"}
    return options | remote_options()


class _Ear(logging.Filter):
    """Hears what GDAL signals in calls of ours, and keeps it out of the logs: it may hold a signed address.

    GDAL can signal an error inside a call that succeeds. Pixels from such a call are not to be trusted: a piece of a
    file's index that did not come reads as a hole in the scene. What others make GDAL say is logged as they want it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._listeners: dict[int, tuple[int, list[str], set[str]]] = {}  # thread, words heard, the loggers it hears
        self._lock, self._levels = threading.Lock(), dict.fromkeys(KEEN, logging.NOTSET)

    def filter(self, record: logging.LogRecord) -> bool:
        here = self._here()
        for _, heard, loggers in here:
            if record.name in loggers and record.levelno >= KEEN[record.name]:
                heard.append(record.getMessage())
        theirs = self._levels[record.name] or logging.getLogger("rasterio").getEffectiveLevel()
        return not here and record.levelno >= theirs

    def forget(self) -> None:
        """What was heard so far has been dealt with."""
        for _, heard, _ in self._here():
            heard.clear()

    @contextlib.contextmanager
    def listening(self, *, warnings: bool = False) -> Iterator[list[str]]:
        """What GDAL signals in this thread in the block, blocks within it too: errors, and ``warnings`` when asked."""
        mine = (threading.get_ident(), list[str](), set(KEEN) if warnings else {ERRORS_LOG})
        self._listeners[id(mine)] = mine
        self._tune()
        try:
            yield mine[1]
        finally:
            del self._listeners[id(mine)]
            self._tune()

    def _here(self) -> list[tuple[int, list[str], set[str]]]:
        return [one for one in list(self._listeners.values()) if one[0] == threading.get_ident()]

    def _tune(self) -> None:
        """Have rasterio hand on what matters while anybody listens, and put its loggers back afterwards."""
        with self._lock:
            for logger in map(logging.getLogger, KEEN):
                if self in logger.filters and not self._listeners:
                    logger.removeFilter(self)
                    logger.setLevel(self._levels[logger.name])
                elif self not in logger.filters and self._listeners:
                    self._levels[logger.name] = logger.level
                    logger.addFilter(self)
                    logger.setLevel(min(KEEN[logger.name], logger.getEffectiveLevel()))


ERRORS_LOG, WARNINGS_LOG = "rasterio._err", "rasterio._env"
KEEN = {ERRORS_LOG: logging.INFO, WARNINGS_LOG: logging.WARNING}
"""rasterio's loggers that hand on what GDAL says, and the lowest level that matters."""
EAR = _Ear()


@contextlib.contextmanager
def gdal_environment(config: RasterConfig, uris: Sequence[str]) -> Iterator[None]:
    """GDAL's options for calls of ours, gone afterwards; what it says goes to no log. Pixel scenes are no warning."""
    with EAR.listening(), rasterio.Env(**gdal_options(config, any(map(is_remote, uris)))), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def open_dataset(uri: str, drivers: Sequence[str], config: RasterConfig, overview: int | None = None) -> Any:
    """Open one raster, or its ``overview`` (counted from 0), inside :func:`gdal_environment`.

    Nothing is decoded, and no other file or address is followed but side-cars that hold pixels themselves. Raises
    SceneNotFound, SceneUnreadable (what it promises is beyond the limits, too) or (a server that does not answer)
    StorageError.
    """
    path = vsi_path(uri)
    remote = path.startswith("/vsi")
    if not remote:
        _check_local(path, uri)
    try:
        if not remote and not config.allow_vrt:
            check_sidecars(path, uri)
        dataset = DatasetReader(path, driver=list(drivers), sharing=False)
        if not config.allow_vrt:
            check_references(dataset, uri)
        if overview is not None:
            full = (dataset.width, dataset.height)
            dataset.close()
            dataset = DatasetReader(path, driver=list(drivers), sharing=False, overview_level=overview)
            check_overview(dataset, full, uri)
        check_limits(dataset, uri, config)
    except PipelineError:
        raise
    except (*GDAL_ERRORS, ValueError) as error:
        if remote:
            EAR.forget()  # the verdict is the server's
            raise remote_failure(uri, error, DRIVERS) from error
        raise SceneUnreadable(_not_a_raster(path, uri, drivers)) from error
    return dataset


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4096)


def from_headers(uris: Sequence[str], config: RasterConfig, action: Callable[[], _T]) -> _T:
    """What ``action`` opens and learns of the files at ``uris``; remote ones as often as :func:`steadily` says.

    A tag or an overview that did not come over the network is only a warning of GDAL's, and a scene without it another
    scene. So a remote header is believed when GDAL says nothing, or the same twice running: then it is the file.
    """
    remote, earlier, left = any(map(is_remote, uris)), [""], PATIENCE.attempts

    def attempt() -> _T:
        nonlocal earlier, left
        verdict: _T | SceneError
        with gdal_environment(config, uris), EAR.listening(warnings=True) as said:
            try:
                verdict = action()
            except SceneError as error:
                verdict = error
        left -= 1
        if remote and said and said != earlier and left:
            earlier = list(said)
            raise StorageError(f"{public_uri(uris[0])}: its header does not arrive as a whole; try again later")
        if isinstance(verdict, SceneError):
            raise verdict
        return verdict

    return steadily(uris, attempt)


def _check_local(path: str, uri: str) -> None:
    try:
        kind = Path(path).stat().st_mode
        if stat.S_ISDIR(kind):
            raise SceneUnreadable(f"{shown(uri)} is a folder; name a raster file in it")
        if not stat.S_ISREG(kind):
            raise SceneUnreadable(f"{shown(uri)} is a device or a pipe; name a raster file")
        with Path(path).open("rb"):
            pass
    except PipelineError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SceneNotFound(f"{shown(uri)}: there is no such file on this machine; check the path") from error
    except OSError as error:
        raise SceneUnreadable(
            f"{shown(uri)} cannot be opened ({error.strerror}); check its name and permissions"
        ) from error


def _not_a_raster(path: str, uri: str, drivers: Sequence[str]) -> str:
    head, uri = _head(Path(path)), shown(uri)
    if b"<VRTDataset" in head and "VRT" not in drivers:
        return (
            f"{uri} is a VRT, which can make this machine read any file or address; allow it with "
            f"--raster.allow_vrt true if you trust it, or convert it with gdal_translate"
        )
    if not head:
        return f"{uri} is empty (0 bytes); copy or download it again"
    return (
        f"{uri} ({Path(path).stat().st_size} bytes) is damaged or no raster of an allowed format "
        f"({', '.join(drivers)}); download it again or convert it with gdal_translate"
    )


def has_mask(dataset: Any) -> bool:
    """True when an internal mask or an alpha band says which pixels are valid."""
    return MaskFlags.per_dataset in dataset.mask_flag_enums[0] or ColorInterp.alpha in dataset.colorinterp


def read_mask(dataset: Any, **options: Any) -> BoolArray:
    """Validity by the internal mask or the alpha band. GDAL takes alpha for a mask only among two or four bands."""
    if MaskFlags.per_dataset in dataset.mask_flag_enums[0]:
        mask = dataset.read_masks(1, **options)
    else:
        mask = dataset.read(dataset.colorinterp.index(ColorInterp.alpha) + 1, **options)
    valid: BoolArray = mask > 0
    return valid


class Pixels:
    """The open files of one scene, at full resolution or one overview: pixels in their own type, and validity.

    One thread of one process only: GDAL's handles are not safe to share.
    """

    def __init__(self, scene: Scene, config: RasterConfig, overview: int | None = None) -> None:
        self.scene, self.config, self._overview = scene, config, overview
        self._owner = (os.getpid(), threading.get_ident())
        self.files: list[Any] = []
        self._open()
        with self.environment(), odd_headers(", ".join(scene.uris)):
            self.width, self.height = self.files[0].width, self.files[0].height
            self.block_width = min(self.files[0].block_shapes[0][1], self.width)
            self.block_height = min(self.files[0].block_shapes[0][0], self.height)
            self.masked = any(has_mask(file) for file in self.files)
            self.nodata = nodata_value(scene)
            self.palette = colour_table(self.files[0]) if config.bands is None and len(self.files) == 1 else None

    def _open(self) -> None:
        scene, driver = self.scene, (self.scene.driver,)

        def opened() -> list[Any]:
            with odd_headers(", ".join(scene.uris)):
                return [open_dataset(uri, driver, self.config, self._overview) for uri in scene.uris]

        if not self.files:
            self.files = from_headers(scene.uris, self.config, opened)

    def close(self) -> None:
        for file in self.files:
            file.close()
        self.files = []

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
        shape = decimate.pop("shape", (window.height, window.width))
        if out is None:
            out = np.empty((*shape, len(self.scene.bands)), self.scene.dtype)
        self._read(window, partial(self._read_bands, window, out, decimate))
        return out

    def _read_bands(self, window: Window, out: NDArray[Any], decimate: dict[str, Any]) -> None:
        bands, planes, shape = self.scene.bands, out.transpose(2, 0, 1), out.shape[:2]
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

    def valid(self, window: Window, pixels: NDArray[Any], **decimate: Any) -> BoolArray:
        """(H, W) True where no mask, alpha, nodata value or NaN says otherwise; ``pixels`` as from :meth:`read`."""
        return self._read(window, partial(self._valid, window, pixels, decimate))

    def _valid(self, window: Window, pixels: NDArray[Any], decimate: dict[str, Any]) -> BoolArray:
        valid: BoolArray = np.ones(pixels.shape[:2], np.bool_)
        if pixels.dtype.kind == "f":
            for channel in range(pixels.shape[-1]):
                valid &= np.isfinite(pixels[..., channel])
        area = RasterioWindow(window.x, window.y, window.width, window.height)
        if self.nodata is not None and self.palette is not None:
            pixels = self.files[0].read(self.scene.bands[0], window=area, out_shape=valid.shape)[..., None]
        if self.nodata is not None:
            valid &= _any_channel(pixels, self.nodata)
        for file in self.files if self.masked else ():
            if has_mask(file):
                valid &= read_mask(file, window=area, out_shape=valid.shape, **decimate)
        return valid

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

        return retried(attempt, may_pass, f"{self.scene.scene_id} {window}")

    @contextlib.contextmanager
    def _failing(self, window: Window) -> Iterator[None]:
        """GDAL's errors, raised or only signalled, as ours; and the files closed, with all that GDAL kept of them."""
        try:
            with self.environment(), EAR.listening() as signalled:
                yield
            _check_silent(signalled)
        except GDAL_ERRORS as error:
            self.close()  # of a handle that has failed GDAL may answer with a blank block it kept
            names = ", ".join(map(public_uri, self.scene.uris))
            where = f"columns {window.x} to {window.x1}, rows {window.y} to {window.y1}"
            if any(map(is_remote, self.scene.uris)):
                raise StorageError(f"{names}: reading {where} failed; try again, or download the file first") from error
            raise SceneUnreadable(
                f"{names} is damaged: {where} cannot be decoded; copy or download it again"
            ) from error


def _check_silent(signalled: Sequence[str]) -> None:
    """Raise OSError for errors that GDAL signalled and did not raise."""
    if signalled:
        raise OSError(signalled[0])


def _any_channel(pixels: NDArray[Any], nodata: np.generic) -> BoolArray:
    """(H, W) True where any channel differs from ``nodata``: black in red alone is a colour, not a hole."""
    different: BoolArray = pixels[..., 0] != nodata
    for channel in range(1, pixels.shape[-1]):
        if different.all():
            break
        different |= pixels[..., channel] != nodata
    return different


def colour_table(file: Any) -> ByteArray | None:
    """(256, 3) colours of a palette image, whose pixels are only numbers of colours; None for any other."""
    if file.colorinterp[0] != ColorInterp.palette or file.dtypes[0] != "uint8":
        return None
    table = np.zeros((256, 3), np.uint8)
    for index, colour in file.colormap(1).items():
        table[index] = colour[:3]
    return table


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
        value: np.generic = dtype.type(scene.nodata)
    return value
