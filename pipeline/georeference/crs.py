"""Coordinate reference systems: which ones places can be told in, and what they are called."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from pyproj.network import is_network_enabled, set_network_enabled  # type: ignore[attr-defined]

from pipeline.errors import ConfigError, SceneNotGeoreferenced
from pipeline.georeference.ground import WGS84
from pipeline.names import brief, shown

WGS84_LONLAT = "OGC:CRS84"
PIXELS_ALONE = "detect in pixels alone with --raster.crs none"
REMEDY = f"name the right CRS with --raster.crs, or {PIXELS_ALONE}"

SAME_BODY = 0.005
"""An ellipsoid whose radius differs by more than this share from the Earth's is another body's (PROJ's own measure)."""


@lru_cache(maxsize=64)
def transformer(source: str, target: str) -> Transformer:
    """Thread-safe since pyproj 3.1; made once per process and pair."""
    return Transformer.from_crs(CRS.from_user_input(source), CRS.from_user_input(target), always_xy=True)


def horizontal_crs(crs_wkt: str, name: str) -> CRS:
    """The two-dimensional part of a CRS, known to lead to longitude and latitude on Earth.

    Raises SceneNotGeoreferenced, which tells what to do, for the scene ``name``.
    """
    try:
        crs = CRS.from_wkt(crs_wkt)
        if crs.is_compound:
            crs = crs.sub_crs_list[0]
        crs = crs.to_2d()
        called, kind = brief(crs.name or "unnamed"), crs.type_name
        if not (crs.is_projected or crs.is_geographic or kind == "Derived Projected CRS"):
            raise SceneNotGeoreferenced(
                f"{name}: its CRS {called!r} ({kind}) is neither projected nor geographic; {REMEDY}"
            )
        body = crs.ellipsoid
        if body is not None and abs(body.semi_major_metre / WGS84.a - 1) > SAME_BODY:
            raise SceneNotGeoreferenced(
                f"{name}: its CRS {called!r} is of another body than the Earth ({brief(body.name)}, radius "
                f"{body.semi_major_metre / 1e3:,.0f} km), and places are told on Earth only; detect in pixels alone "
                "with --raster.crs none"
            )
        transformer(crs.to_wkt(), WGS84_LONLAT)
    except ProjError as error:
        raise SceneNotGeoreferenced(
            f"{name}: its CRS cannot be brought to longitude and latitude ({reason(error)}); {REMEDY}"
        ) from error
    return crs


def crs_name(crs_wkt: str) -> str:
    """Name of a CRS with its code where it has one; of a CRS with a shift of its own, that of the CRS inside."""
    try:
        crs = CRS.from_wkt(crs_wkt)
    except ProjError:
        return "a CRS that makes no sense"
    inner = crs.source_crs if crs.is_bound and crs.source_crs is not None else crs
    described = inner.to_json_dict()
    name, code = brief(str(described.get("name") or "unnamed")), described.get("id")
    code_of = f" ({code['authority']}:{code['code']})" if code else ""
    return f"{name}{code_of}{' with its own shift to WGS 84' if crs.is_bound else ''}"


def crs_code(crs_wkt: str) -> str | None:
    """``EPSG:32632`` and its kin, where the CRS says its code; a CRS with a shift of its own has none."""
    code = CRS.from_wkt(crs_wkt).to_json_dict().get("id")
    return f"{code['authority']}:{code['code']}" if code else None


def crs_wkt2(crs_wkt: str) -> str:
    """The CRS as WKT 2 (ISO 19162:2019)."""
    return str(CRS.from_wkt(crs_wkt).to_wkt())


def crs_wkt_of(text: str) -> str:
    """WKT of what ``--raster.crs`` says: a code, WKT, PROJJSON, a PROJ string. Raises ConfigError."""
    try:
        return str(CRS.from_user_input(text).to_wkt())
    except ProjError as error:
        raise ConfigError(
            f"--raster.crs {shown(text)} is no CRS that PROJ knows ({reason(error)}); give a code such as "
            "EPSG:32633, or WKT"
        ) from error


def named_crs(text: str, called: str) -> str | None:
    """What a vector file names as its CRS, if it is one of places on Earth; None for one that says nothing of Earth,
    such as GeoPackage's undefined CRS of plain coordinates. ``called`` begins the sentence of a ConfigError."""
    try:
        crs = CRS.from_user_input(text)
        if crs.is_engineering:
            return None
        transformer(text, WGS84_LONLAT)
    except ProjError as error:
        raise ConfigError(f"{called}: its CRS leads to no place on Earth ({reason(error)}); give it another") from error
    return text


def same_crs(one_wkt: str, other_wkt: str) -> bool:
    """Whether both give the same places; x and y may be named in another order, and heights do not count."""
    try:
        one, other = (_plain(CRS.from_wkt(wkt)) for wkt in (one_wkt, other_wkt))
    except ProjError:
        return False
    return bool(one.equals(other, ignore_axis_order=True))


def _plain(crs: CRS) -> CRS:
    return (crs.sub_crs_list[0] if crs.is_compound else crs).to_2d()


@contextmanager
def offline() -> Iterator[None]:
    """Inside, PROJ fetches no grids: what it does would depend on who else is reachable, and be another thing later."""
    before = is_network_enabled()
    if before:
        set_network_enabled(active=False)
    try:
        yield
    finally:
        if before:
            set_network_enabled(active=True)


def reason(error: ProjError) -> str:
    """What PROJ says of an error, in one line, without the advice to switch its checks off."""
    text = " ".join(str(error).split()).split(" You may override")[0]
    inner = re.search(r"\(Internal Proj Error: (?:proj_\w+: )?(.*?)\)?$", text)
    return shown((inner.group(1) if inner else text).rstrip(".)")) or type(error).__name__
