"""What the headers of a scene say, and how its files are opened. With :mod:`pipeline.raster`, rasterio's home.

Every file is opened here, so that this is the one place that decides which formats are allowed, which options of
GDAL are set, and how its errors become ours.
"""

from __future__ import annotations

import contextlib
import os
import re
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import rasterio
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from pipeline.config import RasterConfig
from pipeline.errors import ConfigError, SceneNotFound, SceneNotGeoreferenced, SceneUnreadable, StorageError
from pipeline.types import GroundControlPoint, Scene

DRIVERS = ("GTiff", "JP2OpenJPEG", "PNG", "JPEG")
"""GDAL drivers that scenes may use (COG files are read by GTiff). A short list, because several others follow
references inside a file to any other file or address this machine can reach."""

REMOTE_PREFIX = {"https": "/vsicurl/https:", "http": "/vsicurl/http:", "s3": "/vsis3/"}
MAX_BLOCK_BYTES = 1 << 29
"""A file whose smallest decodable unit is larger than this cannot be read in bounded memory."""

DATE_TAGS = (
    "ACQUISITIONDATETIME",
    "ACQUISITION_DATETIME",
    "ACQUISITION_DATE",
    "DATE_ACQUIRED",
    "SENSING_TIME",
    "DATATAKE_SENSING_START",
    "PRODUCT_START_TIME",
    "TIFFTAG_DATETIME",
)
SENSOR_TAGS = ("SATELLITEID", "SENSOR", "SENSOR_ID", "SPACECRAFT_ID", "SPACECRAFT_NAME", "PLATFORM", "MISSION")
ATTRIBUTION_TAGS = ("ATTRIBUTION", "TIFFTAG_COPYRIGHT", "COPYRIGHT")


def public_uri(uri: str) -> str:
    """``uri`` without user, password and query, which may be credentials: what messages and records may show."""
    if "://" not in uri:
        return uri
    parts = urlsplit(uri)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def vsi_path(uri: str) -> str:
    """The name GDAL knows ``uri`` by. Raises SceneUnreadable for a scheme that scenes are not read from."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return str(Path(uri).expanduser())
    scheme = scheme.lower()
    if scheme == "file":
        return "/" + rest.lstrip("/")
    if scheme == "s3":
        return REMOTE_PREFIX["s3"] + rest
    if scheme in REMOTE_PREFIX:
        return f"{REMOTE_PREFIX[scheme]}//{rest}"
    raise SceneUnreadable(
        f"{public_uri(uri)}: scenes are read from local paths, file://, https://, http:// and "
        f"s3://, not {scheme}://; copy the file to one of these"
    )


def is_remote(uri: str) -> bool:
    return vsi_path(uri).startswith("/vsi")


def gdal_options(config: RasterConfig, remote: bool) -> dict[str, Any]:
    """Options of GDAL for one open or read. Credentials are left to the environment, which GDAL reads itself."""
    options: dict[str, Any] = {"GDAL_CACHEMAX": config.gdal_cache_mb * 1_000_000}
    if not remote:
        return options
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


def open_dataset(uri: str, drivers: Sequence[str], overview: int | None = None) -> Any:
    """Open one raster, or its ``overview`` (counted from 0), inside :func:`gdal_environment`.

    Raises SceneNotFound, SceneUnreadable or (a server that does not answer) StorageError.
    """
    path = vsi_path(uri)
    remote = path.startswith("/vsi")
    if not remote:
        _check_local(path, uri)
    options = {} if overview is None else {"overview_level": overview}
    try:
        return DatasetReader(path, driver=list(drivers), sharing=False, **options)
    except (RasterioError, OSError, ValueError) as error:
        if remote:
            raise _remote_failure(uri, error) from error
        raise SceneUnreadable(_not_a_raster(path, uri, drivers)) from error


def _check_local(path: str, uri: str) -> None:
    try:
        if not Path(path).exists():
            raise SceneNotFound(f"{uri}: there is no such file on this machine; check the path")
        if Path(path).is_dir():
            raise SceneUnreadable(f"{uri} is a folder; name a raster file in it")
        with Path(path).open("rb"):
            pass
    except (PermissionError, ValueError) as error:
        raise SceneUnreadable(f"{uri!r} cannot be opened; check its name and permissions") from error


def _not_a_raster(path: str, uri: str, drivers: Sequence[str]) -> str:
    with Path(path).open("rb") as file:
        head = file.read(4096)
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


def _remote_failure(uri: str, error: Exception) -> Exception:
    """Ask the server why, because GDAL's classes do not tell a missing file from a server without ranges."""
    shown = public_uri(uri)
    if not uri.lower().startswith(("http://", "https://")):
        return SceneNotFound(
            f"{shown} is not there, or these credentials may not read it; check the address and the "
            f"AWS_* environment variables ({error})"
        )
    request = urllib.request.Request(uri, headers={"Range": "bytes=0-0"})  # noqa: S310 - http(s) only, see above
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            status = answer.status
    except urllib.error.HTTPError as refusal:
        if refusal.code in (404, 410):
            return SceneNotFound(
                f"{shown}: the server says there is no such file (HTTP {refusal.code}); check the address"
            )
        if refusal.code < 500:
            return SceneUnreadable(f"{shown}: the server refuses it (HTTP {refusal.code}); check the permissions")
        return StorageError(f"{shown}: the server failed (HTTP {refusal.code}); try again later")
    except OSError as failure:
        return StorageError(f"{shown}: the server does not answer ({failure}); check the address and the network")
    if status != 206:
        return SceneUnreadable(
            f"{shown}: the server sends only whole files (no HTTP range requests); download the "
            f"file first and name the local copy"
        )
    return SceneUnreadable(
        f"{shown} is damaged or no raster of an allowed format ({', '.join(DRIVERS)}); check the file"
    )


def open_scene(uri: str, config: RasterConfig) -> Scene:
    """Read the headers of one scene; no pixel is decoded.

    ``uri`` is a local path, https://, http:// or s3://, or several one-band files of one grid joined by commas.
    Raises SceneNotFound, SceneUnreadable, SceneNotGeoreferenced, ConfigError (bands the file has not) or
    StorageError (a server that does not answer).
    """
    uris = split_uris(uri)
    drivers = (*DRIVERS, "VRT") if config.allow_vrt else DRIVERS
    with gdal_environment(config, uris), contextlib.ExitStack() as stack:
        datasets = [stack.enter_context(open_dataset(one, drivers)) for one in uris]
        _check_readable(datasets, uris)
        _check_one_grid(datasets, uris)
        first = datasets[0]
        count = len(datasets) if len(datasets) > 1 else first.count
        bands = _choose_bands(first, uris, count, config.bands)
        transform, gcps, crs_wkt = _georeference(first, public_uri(uris[0]))
        block_height, block_width = first.block_shapes[0]
        facts = scene_facts(_all_tags(first))
        return Scene(
            scene_id=scene_id_of(uris), uris=uris, width=first.width, height=first.height, bands=bands,
            band_count=count, dtype=first.dtypes[0], driver=first.driver, crs_wkt=crs_wkt, transform=transform,
            gcps=gcps, nodata=first.nodata if config.nodata is None else config.nodata,
            has_mask=any(has_mask(dataset) for dataset in datasets),
            block_width=min(block_width, first.width), block_height=min(block_height, first.height),
            overviews=tuple(first.overviews(1)), **facts,
        )  # fmt: skip


def split_uris(uri: str) -> tuple[str, ...]:
    """The files of one scene. A local file whose name holds a comma is one file."""
    if "," in uri and "://" not in uri and Path(uri).exists():
        return (uri,)
    uris = tuple(part.strip() for part in uri.split(",") if part.strip())
    if not uris:
        raise SceneNotFound("the name of a scene is empty; give a path or an address")
    return uris


def scene_id_of(uris: Sequence[str]) -> str:
    """A folder name from the file stem(s): letters, digits, dot, dash and underscore, at most 120 characters."""
    stems = [Path(urlsplit(uri).path if "://" in uri else uri).stem for uri in uris]
    words = [stem.split("_") for stem in stems]
    shared = os.path.commonprefix(words) if len(stems) > 1 else words[0]  # works on lists of words as well
    rest = "-".join("_".join(word[len(shared) :]) for word in words) if len(stems) > 1 else ""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", "_".join([*shared, *([rest] if rest else [])])).strip("._-")
    return name[:120] or "scene"


def has_mask(dataset: Any) -> bool:
    """True when an internal mask or an alpha band says which pixels are valid."""
    return MaskFlags.per_dataset in dataset.mask_flag_enums[0]


def _check_readable(datasets: Sequence[Any], uris: Sequence[str]) -> None:
    for dataset, uri in zip(datasets, uris, strict=True):
        shown = public_uri(uri)
        if dataset.count == 0:
            raise SceneUnreadable(f"{shown} holds no band; name a file (or a part of it) with pixels")
        if any(dtype.startswith("complex") for dtype in dataset.dtypes):
            raise SceneUnreadable(f"{shown} has complex pixels ({dataset.dtypes[0]}); convert it to amplitudes first")
        height, width = dataset.block_shapes[0]
        bands = dataset.count if str(getattr(dataset.interleaving, "value", "")).lower() == "pixel" else 1
        size = height * width * bands * _item_bytes(dataset.dtypes[0])
        if size > MAX_BLOCK_BYTES:
            raise SceneUnreadable(
                f"{shown} is stored in blocks of {width} x {height} pixels ({size / 1e9:.1f} GB each), "
                f"too large to decode in bounded memory; rewrite it with gdal_translate -co TILED=YES"
            )
        if not is_remote(uri):
            _check_complete(dataset, uri)


def _item_bytes(dtype: str) -> int:
    return int("".join(filter(str.isdigit, dtype))) // 8


def _check_complete(dataset: Any, uri: str) -> None:
    """Find a truncated TIFF before the run: its first and last block must end inside the file."""
    height, width = dataset.block_shapes[0]
    last = f"{(dataset.width - 1) // width}_{(dataset.height - 1) // height}"
    size = Path(vsi_path(uri)).stat().st_size
    for block in ("0_0", last) if dataset.driver == "GTiff" else ():
        offset, length = (
            dataset.get_tag_item(f"BLOCK_{what}_{block}", "TIFF", bidx=dataset.count) for what in ("OFFSET", "SIZE")
        )
        if offset and length and int(offset) + int(length) > size:
            raise SceneUnreadable(
                f"{uri} is truncated: it has {size} bytes and its pixels reach to byte "
                f"{int(offset) + int(length)}; copy or download it again"
            )


def _check_one_grid(datasets: Sequence[Any], uris: Sequence[str]) -> None:
    first = datasets[0]
    for dataset, uri in zip(datasets, uris, strict=True):
        if len(datasets) > 1 and dataset.count != 1:
            raise SceneUnreadable(
                f"{public_uri(uri)} has {dataset.count} bands; only files of one band can be joined "
                f"by commas: name it alone and choose its bands with --raster.bands"
            )
        if (dataset.width, dataset.height) != (first.width, first.height):
            raise SceneUnreadable(
                f"{public_uri(uri)} is {dataset.width} x {dataset.height} pixels and "
                f"{public_uri(uris[0])} {first.width} x {first.height}; resample them to one grid first"
            )
        if (dataset.transform, dataset.crs, dataset.dtypes[0]) != (first.transform, first.crs, first.dtypes[0]):
            raise SceneUnreadable(
                f"{public_uri(uri)} and {public_uri(uris[0])} differ in CRS, transform or pixel type; "
                f"resample them to one grid first"
            )


def _choose_bands(dataset: Any, uris: Sequence[str], count: int, wanted: tuple[int, ...] | None) -> tuple[int, ...]:
    """The bands of the configuration, or the first three that are no alpha (a single one thrice)."""
    if wanted is not None:
        missing = [band for band in wanted if band > count]
        if missing:
            raise ConfigError(
                f"raster.bands asks for band {missing[0]}, but {public_uri(uris[0])} has {count} "
                f"band{'s' if count > 1 else ''}, counted from 1"
            )
        return wanted
    if len(uris) > 1:
        colours = list(range(1, count + 1))
    else:
        colours = [band for band, kind in enumerate(dataset.colorinterp, 1) if kind != ColorInterp.alpha]
    if not colours:
        raise SceneUnreadable(f"{public_uri(uris[0])} has only an alpha band; name a file with an image band")
    return tuple(colours[:3]) if len(colours) >= 3 else (colours[0],) * 3


def _georeference(
    dataset: Any, shown: str
) -> tuple[tuple[float, ...] | None, tuple[GroundControlPoint, ...], str | None]:
    """(transform, ground control points, CRS); all empty for a pixel scene. A transform wins over points."""
    points, points_crs = dataset.gcps
    transform = None if dataset.transform.is_identity else dataset.transform
    crs = dataset.crs or (points_crs if points else None)
    if transform is None and not points and crs is None:
        return None, (), None
    if crs is None:
        raise SceneNotGeoreferenced(
            f"{shown} has {'a transform' if transform else 'ground control points'} but no CRS; "
            f"add one, e.g. gdal_edit.py -a_srs EPSG:32633, or remove the transform"
        )
    if transform is None and len(points) < 3:
        raise SceneNotGeoreferenced(
            f"{shown} has a CRS but no transform and {len(points)} ground control points (3 are "
            f"needed); add a transform, e.g. with gdal_edit.py -a_ullr, or remove the CRS"
        )
    if transform is not None and transform.is_degenerate:
        raise SceneNotGeoreferenced(
            f"{shown} has the degenerate transform {tuple(transform)[:6]}; repair it with gdal_edit.py -a_ullr"
        )
    if transform is not None:
        return tuple(transform)[:6], (), crs.to_wkt()
    controls = tuple(GroundControlPoint(column=p.col, row=p.row, x=p.x, y=p.y) for p in points)
    return None, controls, crs.to_wkt()


def _all_tags(dataset: Any) -> dict[str, str]:
    return {**dataset.tags(ns="IMAGERY"), **dataset.tags()}


def scene_facts(tags: dict[str, str]) -> dict[str, str | None]:
    """Acquisition time (ISO 8601), sensor and attribution, where the tags of the file give them."""
    upper = {key.upper(): value.strip() for key, value in tags.items() if value.strip()}

    def first(keys: Sequence[str]) -> str | None:
        return next((upper[key] for key in keys if key in upper), None)

    when = first(DATE_TAGS)
    return {
        "acquired": iso_time(when) if when else None,
        "sensor": first(SENSOR_TAGS),
        "attribution": first(ATTRIBUTION_TAGS),
    }


def iso_time(text: str) -> str | None:
    """``2023:07:14 10:20:30`` (TIFF), ``20230714T102030`` or ISO 8601 → ISO 8601; None for anything else."""
    found = re.match(r"(\d{4})[:/-]?(\d{2})[:/-]?(\d{2})(?:[T ](\d{2}):?(\d{2}):?(\d{2})(?:\.\d+)?)?", text.strip())
    if not found:
        return None
    year, month, day, *clock = found.groups()
    zone = "Z" if text.strip().endswith("Z") else ""
    return f"{year}-{month}-{day}" + (f"T{':'.join(clock)}{zone}" if clock[0] else "")
