"""Where the header of a scene, and what lies beside it, puts its pixels: a transform, control points, or RPCs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rasterio.crs import CRS

from pipeline.config import RasterConfig
from pipeline.errors import SceneNotGeoreferenced
from pipeline.georeference.crs import PIXELS_ALONE, crs_name, crs_wkt_of, same_crs
from pipeline.names import shown
from pipeline.raster.admission import GDAL_ERRORS, rpc_texts
from pipeline.types import GroundControlPoint, RationalPolynomials

Transform = tuple[float, float, float, float, float, float]
NO_CRS = "none"
"""``--raster.crs none``: a pixel scene, whatever the file says."""
LONLAT = "EPSG:4326"
"""The CRS that RPCs lead to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """The fields of a scene that place it; all empty for a pixel scene."""

    transform: Transform | None = None
    gcps: tuple[GroundControlPoint, ...] = ()
    rpc: RationalPolynomials | None = None
    crs_wkt: str | None = None
    warnings: tuple[str, ...] = ()


def placing(dataset: Any, name: str, config: RasterConfig) -> Placing:
    """What places the scene ``name``. A transform wins over control points, and both over RPCs.

    ``raster.crs`` wins over the file's CRS. Raises SceneNotGeoreferenced for half a georeference (ruling 3),
    ConfigError for a ``raster.crs`` that is no CRS.
    """
    if config.crs is not None and config.crs.lower() == NO_CRS:
        return Placing()
    transform = None if dataset.transform.is_identity else dataset.transform
    points, points_crs = dataset.gcps
    own = dataset.crs or (points_crs if points else None)
    crs_wkt, warnings = own.to_wkt() if own else None, list[str]()
    rpc = _rational(dataset, config, warnings)
    if config.crs is not None:
        own_wkt, crs_wkt = crs_wkt, crs_wkt_of(config.crs)
        warnings += _contradiction(own_wkt, crs_wkt, config.crs)
    placed = transform is not None or bool(points)
    if rpc is not None and (not placed or crs_wkt is None):
        warnings += _by_rpc(rpc, config, placed=placed)
        return Placing(rpc=rpc, crs_wkt=CRS.from_string(LONLAT).to_wkt(), warnings=tuple(warnings))
    if rpc is not None:
        warnings.append(
            f"it has {_kind(transform)} and RPCs: it is placed by {_kind(transform)}, and the RPCs are left aside; "
            "where they know better, remove the other (gdal_edit.py -unsetgt)"
        )
    if not placed and crs_wkt is None:
        return Placing(warnings=tuple(warnings))
    _check_whole(transform, points, crs_wkt, name, config)
    if transform is not None:
        a, b, c, d, e, f = tuple(transform)[:6]
        return Placing(transform=(a, b, c, d, e, f), crs_wkt=crs_wkt, warnings=tuple(warnings))
    controls = tuple(GroundControlPoint(column=p.col, row=p.row, x=p.x, y=p.y) for p in points)
    return Placing(gcps=controls, crs_wkt=crs_wkt, warnings=tuple(warnings))


def _kind(transform: Any) -> str:
    return "ground control points" if transform is None else "a transform"


def _check_whole(transform: Any, points: Any, crs_wkt: str | None, name: str, config: RasterConfig) -> None:
    """Raise SceneNotGeoreferenced for half a georeference."""
    if crs_wkt is None:
        raise SceneNotGeoreferenced(
            f"{name} has {_kind(transform)} but no CRS; name it, e.g. --raster.crs EPSG:32633, add it to the file "
            f"(gdal_edit.py -a_srs EPSG:32633), or {PIXELS_ALONE}"
        )
    if transform is None and len(points) < 3:
        has = f"no transform for --raster.crs {shown(config.crs)}" if config.crs else "a CRS but no transform"
        raise SceneNotGeoreferenced(
            f"{name} has {has} and {len(points)} ground control points (3 are needed); put a world file beside it "
            f"(.tfw, .jgw, .pgw, .wld), add a transform to the file (gdal_edit.py -a_ullr), or {PIXELS_ALONE}"
        )
    if transform is not None and transform.is_degenerate:
        raise SceneNotGeoreferenced(
            f"{name} has the degenerate transform {tuple(transform)[:6]}; repair it with gdal_edit.py -a_ullr, or "
            f"{PIXELS_ALONE}"
        )


def _contradiction(own_wkt: str | None, given_wkt: str, given: str) -> Iterator[str]:
    """The warning for a ``raster.crs`` that is not what the file says."""
    if own_wkt is not None and not same_crs(own_wkt, given_wkt):
        yield (
            f"its file says {crs_name(own_wkt)}, and --raster.crs says {shown(given)} ({crs_name(given_wkt)}): the "
            "latter is used, and every place is wrong if the file is right; leave --raster.crs out to use the file's"
        )


def _by_rpc(rpc: RationalPolynomials, config: RasterConfig, *, placed: bool) -> Iterator[str]:
    where = "their own HEIGHT_OFF" if config.rpc_height_m is None else "--raster.rpc_height_m"
    yield (
        f"it is placed by its RPCs, all of it at {rpc.height_m:g} m above the WGS84 ellipsoid ({where}): where the "
        "ground is higher or lower, places are off by that difference times the tangent of the view's angle from the "
        "vertical; set --raster.rpc_height_m, or orthorectify the scene first (gdalwarp -rpc -to RPC_DEM=...)"
    )
    if placed:
        yield "its transform or control points have no CRS and are left aside; name it with --raster.crs to use them"
    elif config.crs is not None:
        yield f"--raster.crs {shown(config.crs)} is not used: RPCs lead to longitude and latitude"


def _rational(dataset: Any, config: RasterConfig, warnings: list[str]) -> RationalPolynomials | None:
    """The RPCs of the file, or of a text beside it; some that cannot be read add to ``warnings``."""
    try:
        found = dataset.rpcs
        if found is None:
            unread = [shown(str(beside)) for beside in rpc_texts(dataset.name)]
            warnings += [f"its RPCs in {beside} cannot be read, so they are not used; repair it" for beside in unread]
            return None
        return RationalPolynomials(
            line_num=tuple(found.line_num_coeff), line_den=tuple(found.line_den_coeff),
            sample_num=tuple(found.samp_num_coeff), sample_den=tuple(found.samp_den_coeff),
            line=(found.line_off, found.line_scale), sample=(found.samp_off, found.samp_scale),
            lat=(found.lat_off, found.lat_scale), lon=(found.long_off, found.long_scale),
            height=(found.height_off, found.height_scale),
            height_m=found.height_off if config.rpc_height_m is None else config.rpc_height_m,
        )  # fmt: skip
    except (*GDAL_ERRORS, ValueError, KeyError, TypeError, AttributeError) as error:
        warnings.append(f"its RPCs cannot be read ({shown(repr(error))}), so they are not used; repair or remove them")
        return None
