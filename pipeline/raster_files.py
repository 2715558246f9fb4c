"""The files of a scene: how they are opened, which formats are allowed, and their pixels with their validity.

Part of rasterio's home, with :mod:`pipeline.raster_scene` (headers) and :mod:`pipeline.raster` (blocks on the
lattice). Every file is opened here, so that this is the one place that decides on formats, sets GDAL's options and
turns its errors into ours.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import (
    CPLE_AWSAccessDeniedError,
    CPLE_AWSBucketNotFoundError,
    CPLE_AWSInvalidCredentialsError,
    CPLE_AWSObjectNotFoundError,
    CPLE_AWSSignatureDoesNotMatchError,
    CPLE_OpenFailedError,
)
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterioWindow

from pipeline.config import RasterConfig
from pipeline.errors import PipelineError, SceneNotFound, SceneUnreadable, StorageError
from pipeline.names import is_virtual, public_uri, shown
from pipeline.raster_limits import check_limits, check_overview
from pipeline.raster_references import GDAL_ERRORS, check_references, check_sidecars, odd_headers
from pipeline.types import BoolArray, ByteArray, Scene, Window

DRIVERS = ("GTiff", "JP2OpenJPEG", "PNG", "JPEG")
"""GDAL drivers that scenes may use (COG files are read by GTiff). A short list, because several others follow
references inside a file to any other file or address this machine can reach."""

REFUSED_CREDENTIALS = (
    CPLE_AWSAccessDeniedError,
    CPLE_AWSInvalidCredentialsError,
    CPLE_AWSSignatureDoesNotMatchError,
)

REMOTE_PREFIX = {"https": "/vsicurl/https:", "http": "/vsicurl/http:", "s3": "/vsis3/"}


def vsi_path(uri: str) -> str:
    """The name GDAL knows ``uri`` by. Raises SceneUnreadable for a scheme that scenes are not read from."""
    scheme, separator, rest = uri.partition("://")
    if not separator or is_virtual(uri):
        return uri if is_virtual(uri) else _absolute(uri)
    scheme = scheme.lower()
    if scheme == "file":
        return "/" + unquote(rest).lstrip("/")
    if scheme == "s3":
        return REMOTE_PREFIX["s3"] + rest
    if scheme in REMOTE_PREFIX:
        return f"{REMOTE_PREFIX[scheme]}//{rest}"
    raise SceneUnreadable(
        f"{shown(uri)}: scenes are read from local paths, file://, https://, http:// and "
        f"s3://, not {scheme}://; copy the file to one of these"
    )


def is_remote(uri: str) -> bool:
    """True when ``uri`` is read over the network, or by another of GDAL's virtual file systems."""
    return vsi_path(uri).startswith("/vsi")


def _absolute(name: str) -> str:
    """A local name from the root on: before a relative one GDAL may see the name of a driver, as in ``VRT:x``."""
    try:
        return str(Path(name).expanduser().absolute())
    except RuntimeError as error:  # ~ of a user whom nobody knows
        raise SceneNotFound(f"{shown(name)}: there is no such home folder on this machine; check the path") from error


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
    options |= {
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no listing, no requests for side-car files
        "GDAL_INGESTED_BYTES_AT_OPEN": 32768,  # the header of most COGs in the first request
        "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
        "GDAL_HTTP_MULTIPLEX": "YES",
        "GDAL_HTTP_MAX_RETRY": 4,
        "GDAL_HTTP_RETRY_DELAY": 0.5,
        "GDAL_HTTP_CONNECTTIMEOUT": 10,
        "GDAL_HTTP_TIMEOUT": 120,
        "CPL_VSIL_CURL_CACHE_SIZE": 16_000_000,
    }
    return options | s3_endpoint_options(
        os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_S3_ENDPOINT")
    )


def s3_endpoint_options(endpoint: str | None) -> dict[str, Any]:
    """GDAL wants ``host:port`` and a switch for TLS where other tools take one address."""
    if not endpoint:
        return {}
    scheme, separator, host = endpoint.partition("://")
    if not separator:
        return {"AWS_VIRTUAL_HOSTING": os.environ.get("AWS_VIRTUAL_HOSTING", "FALSE")}
    return {
        "AWS_S3_ENDPOINT": host.rstrip("/"),
        "AWS_HTTPS": "NO" if scheme == "http" else "YES",
        "AWS_VIRTUAL_HOSTING": os.environ.get("AWS_VIRTUAL_HOSTING", "FALSE"),
    }


@contextlib.contextmanager
def gdal_environment(config: RasterConfig, uris: Sequence[str]) -> Iterator[None]:
    """GDAL's options for the calls inside; ours to the caller, and gone afterwards. Pixel scenes are no warning."""
    with rasterio.Env(**gdal_options(config, any(map(is_remote, uris)))), warnings.catch_warnings():
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
            raise _remote_failure(uri, error) from error
        raise SceneUnreadable(_not_a_raster(path, uri, drivers)) from error
    return dataset


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4096)


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


def _remote_failure(uri: str, error: Exception) -> PipelineError:
    """Why a remote file cannot be opened, as one of our errors."""
    if uri.lower().startswith(("http://", "https://")):
        return _http_failure(uri)
    shown, cause = public_uri(uri), error.__cause__ or error.__context__
    if isinstance(cause, CPLE_AWSObjectNotFoundError | CPLE_AWSBucketNotFoundError):
        return SceneNotFound(f"{shown}: the store says there is no such object or bucket; check the address")
    if isinstance(cause, REFUSED_CREDENTIALS):
        return SceneUnreadable(
            f"{shown}: the store refuses these credentials; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and "
            f"AWS_SESSION_TOKEN in the environment (AWS_NO_SIGN_REQUEST=YES for public buckets)"
        )
    if isinstance(cause, CPLE_OpenFailedError):
        return SceneUnreadable(
            f"{shown} is damaged or no raster of an allowed format ({', '.join(DRIVERS)}), or AWS_* in the environment "
            f"does not reach it; check the object and the endpoint"
        )
    return StorageError(f"{shown}: the store does not answer as it should; check AWS_ENDPOINT_URL and try again later")


def _http_failure(uri: str) -> PipelineError:
    """Ask the server itself: GDAL's classes do not tell a missing file from a server without range requests."""
    shown = public_uri(uri)
    request = urllib.request.Request(uri, headers={"Range": "bytes=0-0"})  # noqa: S310 - http(s) only, see caller
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            ranges = answer.status == 206
    except urllib.error.HTTPError as refusal:
        code = refusal.code
        refusal.close()
        if code in (404, 410):
            return SceneNotFound(f"{shown}: the server says there is no such file (HTTP {code}); check the address")
        if code < 500:
            return SceneUnreadable(f"{shown}: the server refuses it (HTTP {code}); check the permissions")
        return StorageError(f"{shown}: the server failed (HTTP {code}); try again later")
    except OSError as failure:
        return StorageError(f"{shown}: the server does not answer ({failure}); check the address and the network")
    if not ranges:
        return SceneUnreadable(
            f"{shown}: the server sends only whole files (no HTTP range requests); download the file first and name "
            f"the local copy"
        )
    return SceneUnreadable(
        f"{shown} is damaged or no raster of an allowed format ({', '.join(DRIVERS)}); check the file"
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
        self.scene, self.config = scene, config
        with self.environment(), odd_headers(", ".join(scene.uris)):
            self.files = [open_dataset(uri, (scene.driver,), config, overview) for uri in scene.uris]
            self.width, self.height = self.files[0].width, self.files[0].height
            self.block_height = min(self.files[0].block_shapes[0][0], self.height)
            self.masked = any(has_mask(file) for file in self.files)
            self.nodata = nodata_value(scene)
            self.palette = colour_table(self.files[0]) if config.bands is None and len(self.files) == 1 else None
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
            elif self.palette is not None:
                index = self.files[0].read(bands[0], window=area, out_shape=shape)  # an average of indices is none
                np.take(self.palette, index, axis=0, out=out, mode="clip")
            elif len(set(bands)) == 1:
                self.files[0].read(bands[0], window=area, out=planes[0], **decimate)
                planes[1:] = planes[:1]
            else:
                self.files[0].read(list(bands), window=area, out=planes, **decimate)
        return out

    def valid(self, window: Window, pixels: NDArray[Any], **decimate: Any) -> BoolArray:
        """(H, W) True where no mask, alpha, nodata value or NaN says otherwise; ``pixels`` as from :meth:`read`."""
        valid: BoolArray = np.ones(pixels.shape[:2], np.bool_)
        if pixels.dtype.kind == "f":
            for channel in range(pixels.shape[-1]):
                valid &= np.isfinite(pixels[..., channel])
        area = RasterioWindow(window.x, window.y, window.width, window.height)
        with self._reading(window):
            if self.nodata is not None and self.palette is not None:
                pixels = self.files[0].read(self.scene.bands[0], window=area, out_shape=valid.shape)[..., None]
            if self.nodata is not None:
                valid &= _any_channel(pixels, self.nodata)
            for file in self.files if self.masked else ():
                if has_mask(file):
                    valid &= read_mask(file, window=area, out_shape=valid.shape, **decimate)
        return valid

    @contextlib.contextmanager
    def _reading(self, window: Window) -> Iterator[None]:
        try:
            with self.environment():
                yield
        except GDAL_ERRORS as error:
            names = ", ".join(map(public_uri, self.scene.uris))
            where = f"columns {window.x} to {window.x1}, rows {window.y} to {window.y1}"
            if any(map(is_remote, self.scene.uris)):
                raise StorageError(f"{names}: reading {where} failed; try again, or download the file first") from error
            raise SceneUnreadable(
                f"{names} is damaged: {where} cannot be decoded; copy or download it again"
            ) from error


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
