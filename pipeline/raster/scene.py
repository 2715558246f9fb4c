"""What the headers of a scene say."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from pipeline.config import RasterConfig
from pipeline.errors import SceneUnreadable
from pipeline.names import public_uri, shown
from pipeline.raster.addresses import check_name, is_remote, scene_id_of, split_uris, vsi_path
from pipeline.raster.admission import forget_signalled, odd_headers
from pipeline.raster.class_mask import beside, check_covers, classes_config
from pipeline.raster.colours import Bands, colour_alpha
from pipeline.raster.completeness import check_complete
from pipeline.raster.gdal import DRIVERS
from pipeline.raster.headers import from_headers
from pipeline.raster.masks import has_mask, masked_alone
from pipeline.raster.named_bands import band_names, shown_bands
from pipeline.raster.pages import page_warnings
from pipeline.raster.placing import placing
from pipeline.raster.source import open_dataset
from pipeline.retrying import PATIENCE, Patience
from pipeline.types import Scene
from pipeline.types.cards import RGB

DATE_TAGS = (
    "ACQUISITIONDATETIME",
    "ACQUISITION_DATETIME",
    "ACQUISITION_DATE",
    "DATE_ACQUIRED",
    "SENSING_TIME",
    "DATATAKE_SENSING_START",
    "PRODUCT_START_TIME",
    "EXIF_DATETIMEORIGINAL",
)
"""Tags that mean the moment of exposure. TIFFTAG_DATETIME and its like tell when the file was made, mostly by software
years later, and are nothing that may be published as ``acquired``."""
SENSOR_TAGS = ("SATELLITEID", "SENSOR", "SENSOR_ID", "SPACECRAFT_ID", "SPACECRAFT_NAME", "PLATFORM", "MISSION")
ATTRIBUTION_TAGS = ("ATTRIBUTION", "TIFFTAG_COPYRIGHT", "COPYRIGHT")


def open_scene(
    uri: str, config: RasterConfig, patience: Patience = PATIENCE, model_bands: tuple[str, ...] = RGB
) -> Scene:
    """Read the headers of one scene; no pixel is decoded.

    ``uri`` is a local path, https://, http:// or s3://, or several one-band files of one grid joined by commas.
    ``model_bands`` are what the model's card calls its bands: which of the file are read.
    Raises SceneNotFound, SceneUnreadable, SceneNotGeoreferenced, ConfigError (bands the file has not) or
    StorageError (a server that does not answer).
    """
    uris = split_uris(uri)
    for one in (*uris, *beside(config)):
        check_name(one, config)
    drivers = (*DRIVERS, "VRT") if config.allow_vrt else DRIVERS
    return from_headers((*uris, *beside(config)), config, lambda: _scene(uris, drivers, config, model_bands), patience)


def _scene(uris: tuple[str, ...], drivers: Sequence[str], config: RasterConfig, model_bands: tuple[str, ...]) -> Scene:
    """What the headers say, inside :func:`from_headers`."""
    with contextlib.ExitStack() as stack, odd_headers(", ".join(uris)):
        datasets = [stack.enter_context(open_dataset(one, drivers, config)) for one in uris]
        for dataset, one in zip(datasets, uris, strict=True):
            if not is_remote(one):
                check_complete(dataset, Path(vsi_path(one)), one)
                forget_signalled(dataset)
        _check_one_grid(datasets, uris)
        for one in beside(config):
            check_covers(stack.enter_context(open_dataset(one, DRIVERS, classes_config(config))), datasets[0], one)
        first = datasets[0]
        count = len(datasets) if len(datasets) > 1 else first.count
        chosen = shown_bands(datasets, uris, config, model_bands)
        bands = chosen.bands
        place = placing(first, public_uri(uris[0]), config)
        block_height, block_width = first.block_shapes[0]
        facts: dict[str, Any] = {**scene_facts(_all_tags(first)), **_nodata(datasets, bands, config)}
        return Scene(
            scene_id=scene_id_of(uris), uris=uris, width=first.width, height=first.height, bands=bands,
            band_count=count, band_names=band_names(datasets, uris),
            dtype="uint8" if chosen.palette else first.dtypes[0], palette=chosen.palette,
            negative=chosen.negative, driver=first.driver, crs_wkt=place.crs_wkt,
            transform=place.transform, gcps=place.gcps, rpc=place.rpc,
            warnings=(*place.warnings, *page_warnings(first, uris[0], config), *chosen.warnings),
            has_mask=config.mask_file is not None or (config.mask == "auto" and _has_mask(datasets, chosen)),
            block_width=min(block_width, first.width), block_height=min(block_height, first.height),
            overviews=_overviews(first, uris[0]), **facts,
        )  # fmt: skip


def _nodata(datasets: Sequence[Any], bands: Sequence[int], config: RasterConfig) -> dict[str, Any]:
    """``nodata`` and ``band_nodata`` of the scene: the configuration's, or what the bands that are read declare.

    One that declares none shares the value of the others, where they have one; so every file of a scene is heard.
    """
    if config.nodata is not None:
        return {"nodata": config.nodata}
    everything = [value for dataset in datasets for value in dataset.nodatavals]
    declared = [everything[band - 1] for band in bands]
    known = {repr(value): value for value in declared if value is not None}  # NaN differs from itself
    if len(known) > 1:
        return {"nodata": None, "band_nodata": tuple(declared)}
    return {"nodata": next(iter(known.values()), None)}


def _has_mask(datasets: Sequence[Any], chosen: Bands) -> bool:
    """Whether a mask of a file, or of a band that is read, an alpha band or transparent colours say which pixels are
    valid."""
    first, bands = datasets[0], chosen.bands
    alone = (masked_alone(first, band) for band in bands) if len(datasets) == 1 else (
        masked_alone(datasets[band - 1], 1) for band in bands
    )  # fmt: skip
    clear = chosen.palette and colour_alpha(first, bands[0]) is not None
    return clear or any(map(has_mask, datasets)) or any(alone)


def _overviews(dataset: Any, uri: str) -> tuple[int, ...]:
    """Decimation factors of the overviews; one that is larger than the scene is refused."""
    factors = tuple(dataset.overviews(1))
    if factors and min(factors) < 1:
        raise SceneUnreadable(
            f"{shown(uri)} has an overview that is larger than itself; remove the overviews and make new ones "
            f"(gdaladdo -clean, then gdaladdo)"
        )
    return factors


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
    """``2023:07:14 10:20:30`` (TIFF), ``20230714T102030`` or ISO 8601 → ISO 8601 in whole seconds; else None."""
    text = re.sub(r"^(\d{4}):(\d{2}):(\d{2})", r"\1-\2-\3", text.strip())
    try:
        if len(text) <= 10:
            return date.fromisoformat(text).isoformat()
        return datetime.fromisoformat(text).replace(microsecond=0).isoformat().replace("+00:00", "Z")
    except ValueError:
        return None
