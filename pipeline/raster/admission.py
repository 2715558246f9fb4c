"""What a raster may promise, and what it may have GDAL read besides itself.

Headers are claims, judged before anything of the size they claim is allocated. Beside a local scene these are read:
``.aux.xml`` (CRS, statistics, metadata), world files and RPC texts, and ``.ovr`` and ``.msk``, which have to be TIFF.
Beside a remote one, nothing. A tag that names another file is refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from pipeline.config import RasterConfig
from pipeline.errors import PipelineError, SceneUnreadable
from pipeline.names import shown


def check_limits(dataset: Any, uri: str, config: RasterConfig) -> None:
    """Raise SceneUnreadable for more pixels, bands or bytes to decode at once than the configuration allows."""
    name = shown(uri)
    check_pixels(dataset.width, dataset.height, name, config)
    if dataset.count > config.max_bands:
        raise SceneUnreadable(f"{name} promises {dataset.count} bands; raster.max_bands allows {config.max_bands}")
    if dataset.count == 0:
        raise SceneUnreadable(f"{name} holds no band; name a file (or a part of it) with pixels")
    if any(dtype.startswith("complex") for dtype in dataset.dtypes):
        raise SceneUnreadable(f"{name} has complex pixels ({dataset.dtypes[0]}); convert it to amplitudes first")
    height, width = dataset.block_shapes[0]
    together = str(getattr(dataset.interleaving, "value", "")).lower() == "pixel"
    size = height * width * (dataset.count if together else 1) * _item_bytes(dataset.dtypes[0])
    if size > config.max_block_mb * 1e6:
        raise SceneUnreadable(
            f"{name} is stored in blocks of {width} x {height} pixels ({size / 1e9:.1f} GB each), too large to decode "
            f"in bounded memory (raster.max_block_mb is {config.max_block_mb}); rewrite it with gdal_translate -co "
            f"TILED=YES"
        )


def check_pixels(width: int, height: int, name: str, config: RasterConfig) -> None:
    """Raise SceneUnreadable for a grid of more pixels than ``raster.max_gigapixels``."""
    if width * height > config.max_gigapixels * 1e9:
        raise SceneUnreadable(
            f"{name} promises {width} x {height} pixels ({width * height / 1e9:.4g} gigapixels); raster.max_gigapixels "
            f"allows {config.max_gigapixels:g}"
        )


def check_overview(overview: Any, full: tuple[int, int], uri: str) -> None:
    """Raise SceneUnreadable for an overview that is larger than its scene of ``full`` (width, height)."""
    if overview.width > full[0] or overview.height > full[1]:
        raise SceneUnreadable(
            f"{shown(uri)} is {full[0]} x {full[1]} pixels, and its overview {overview.width} x {overview.height}; "
            f"remove the overviews and make new ones (gdaladdo -clean, then gdaladdo)"
        )


def _item_bytes(dtype: str) -> int:
    return int("".join(filter(str.isdigit, dtype))) // 8


def rpc_texts(path: str) -> list[Path]:
    """Texts of RPCs beside the local scene at ``path``."""
    scene = Path(path)
    names = (f"{scene.stem}_RPC.TXT", f"{scene.stem}_rpc.txt", f"{scene.stem}.RPB", f"{scene.stem}.rpb")
    return [beside for beside in map(scene.with_name, names) if beside.is_file()]


def settle(dataset: Any, path: str, uri: str, config: RasterConfig) -> None:
    """Have GDAL say now what it found while it opened ``dataset``, and read the RPC texts beside it.

    An error of a single tag or side-car file would surface in the next call, whatever that is about, and the scene be
    refused for it. Who listens hears it all the same. Raises SceneUnreadable as :func:`check_references` does.
    """
    if rpc_texts(path):
        with contextlib.suppress(*GDAL_ERRORS, ValueError):
            dataset.tags(ns="RPC")
    forget_signalled(dataset)
    if not config.allow_vrt:
        check_references(dataset, uri)
    with contextlib.suppress(*GDAL_ERRORS, ValueError):
        dataset.overviews(1)  # these are opened when they are first asked for, and masks
        _ = dataset.mask_flag_enums
    forget_signalled(dataset)


def forget_signalled(dataset: Any) -> None:
    """Have rasterio raise now what it would raise for the next question, and leave it at that."""
    with contextlib.suppress(*GDAL_ERRORS):
        _ = dataset.colorinterp


SIDECARS = (".ovr", ".OVR", ".msk", ".MSK")
"""Files of overviews and masks beside a scene. (``.aux.xml``, world files and RPC are text, and read as such.)"""

GDAL_ERRORS = (RasterioError, CPLE_BaseError, OSError)
"""What rasterio raises when a file is at fault; some of GDAL's own errors are not wrapped in rasterio's."""


def check_references(dataset: Any, uri: str) -> None:
    """GDAL takes the pixels of overviews from whatever file or address a tag names."""
    named = dataset.tags(ns="OVERVIEWS")
    if named:
        dataset.close()
        raise SceneUnreadable(
            f"{shown(uri)} names another file or address for its overviews; remove that tag (gdal_edit.py -unsetmd), "
            f"or its .aux.xml, or, if you trust it, allow references with --raster.allow_vrt true"
        )


def check_sidecars(path: str, uri: str) -> None:
    """Overviews and masks beside a scene are opened by any of GDAL's drivers: they have to be TIFF themselves."""
    for suffix in SIDECARS:
        beside = Path(path + suffix)
        if not beside.exists():
            continue
        try:
            with DatasetReader(str(beside), driver=["GTiff"], sharing=False) as dataset:
                check_references(dataset, str(beside))
        except PipelineError:
            raise
        except GDAL_ERRORS as error:
            raise SceneUnreadable(
                f"{shown(str(beside))}, beside the scene, is no TIFF, so it could make this machine read any file or "
                f"address; remove it, or, if you trust it, allow it with --raster.allow_vrt true"
            ) from error
        check_sidecars(str(beside), uri)
    for beside in (Path(path + ".aux"), Path(path).with_suffix(".aux")):
        if beside.is_file() and _is_imagine(beside):
            raise SceneUnreadable(
                f"{shown(str(beside))}, beside the scene, is an Imagine file, which may name others; remove it "
                f"(gdaladdo -ro makes overviews anew), or, if you trust it, allow it with --raster.allow_vrt true"
            )


def _is_imagine(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(15) == b"EHFA_HEADER_TAG"


@contextlib.contextmanager
def odd_headers(uri: str) -> Iterator[None]:
    """What GDAL and its wrapper raise over single tags, as one of our errors."""
    try:
        yield
    except PipelineError:
        raise
    except (*GDAL_ERRORS, ValueError, OverflowError, KeyError) as error:
        reason = shown(str(error).strip()) or type(error).__name__
        raise SceneUnreadable(
            f"{shown(uri)} has a header that makes no sense ({reason}); rewrite it with gdal_translate"
        ) from error
