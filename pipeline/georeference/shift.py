"""How exactly PROJ comes from a scene's CRS to longitude and latitude: datums differ, and grids may be absent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from pyproj.transformer import AreaOfInterest, TransformerGroup

from pipeline.georeference.crs import WGS84_LONLAT, transformer
from pipeline.names import shown
from pipeline.threads import unwarned

COARSE_M = 2.0
"""From this accuracy on a better way that is not installed is worth a word; beyond it the loss is, in any case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatumShift:
    """The operation that PROJ chose. The field names are keys of ``run.json``."""

    operation: str
    """PROJ's description."""
    accuracy_m: float | None
    """What PROJ knows of its accuracy, metres on the ground; None where it does not know."""
    ballpark: bool
    """The difference of the datums is ignored: PROJ knows no shift between them."""
    better_accuracy_m: float | None
    """Of the best operation for this place whose grids are not installed; None when the chosen one is the best."""
    missing_grids: tuple[str, ...]
    """Files that the better operation needs."""

    @property
    def exact(self) -> bool:
        """Nothing is lost: both are one datum."""
        return self.accuracy_m == 0 and not self.ballpark


def datum_shift(crs_wkt: str, place: tuple[float, float]) -> DatumShift:
    """What PROJ does at ``place``, x and y in the CRS ``crs_wkt``, which leads to longitude and latitude."""
    chosen, (lon, lat) = _chosen(crs_wkt, place)
    described = " ".join(chosen.description.split())
    accuracy = chosen.accuracy if chosen.accuracy is not None and chosen.accuracy >= 0 else None
    ballpark = "ballpark" in described.lower()
    better, grids = (None, ()) if accuracy == 0 else _better(crs_wkt, round(lon, 1), round(lat, 1), accuracy)
    return DatumShift(
        operation=described, accuracy_m=accuracy, ballpark=ballpark, better_accuracy_m=better, missing_grids=grids
    )


def _chosen(crs_wkt: str, place: tuple[float, float]) -> tuple[Transformer, tuple[float, float]]:
    """The operation for one place, of the several that PROJ may keep for different areas; and the place."""
    way = transformer(crs_wkt, WGS84_LONLAT)
    lon, lat = way.transform(*place)
    try:
        return way.get_last_used_operation(), (lon, lat)
    except ProjError:  # nothing to be done, so nothing was used
        return way, (lon, lat)


@lru_cache(maxsize=256)
def _better(crs_wkt: str, lon: float, lat: float, accuracy: float | None) -> tuple[float | None, tuple[str, ...]]:
    """Accuracy and grids of the best operation around a place that this machine cannot do."""
    if not np.isfinite([lon, lat]).all():
        return None, ()
    west, east = max(-180.0, lon - 0.05), min(180.0, lon + 0.05)
    south, north = max(-90.0, lat - 0.05), min(90.0, lat + 0.05)
    with unwarned(UserWarning):  # pyproj's own words on the same matter
        group = TransformerGroup(
            CRS.from_wkt(crs_wkt), CRS.from_user_input(WGS84_LONLAT), always_xy=True,
            area_of_interest=AreaOfInterest(west, south, east, north),
        )  # fmt: skip
    others = [one for one in group.unavailable_operations if one.accuracy >= 0]
    best = min(others, key=lambda one: one.accuracy, default=None)
    if best is None or (accuracy is not None and best.accuracy >= accuracy):
        return None, ()
    return best.accuracy, tuple(grid.short_name for grid in best.grids if not grid.available)


def shift_warning(shift: DatumShift, crs_called: str) -> str | None:
    """What to know of the places in longitude and latitude; None where they are as good as the scene's own."""
    if shift.exact:
        return None
    rest = "places in the scene's own CRS (detections.parquet, detections.gpkg) are as exact as the scene"
    if shift.ballpark:
        loss = (
            f"PROJ knows no datum shift from {crs_called} to WGS 84 and leaves it out (a ballpark transformation): "
            "places in longitude and latitude may be off by hundreds of metres"
        )
        return f"{loss}; {rest}; name the exact CRS with --raster.crs where you know it"
    way = shown(shift.operation)
    if shift.accuracy_m is None:
        loss = f"how exact places in longitude and latitude are is unknown: PROJ knows no accuracy of {way}"
        return f"{loss}; {rest}; name a CRS with a code (--raster.crs EPSG:...) where you know it"
    worse = shift.accuracy_m > COARSE_M or (shift.accuracy_m >= COARSE_M and shift.better_accuracy_m is not None)
    if not worse:
        return None
    loss = (
        f"places in longitude and latitude have an accuracy of {shift.accuracy_m:g} m only: PROJ comes from "
        f"{crs_called} to WGS 84 by {way}"
    )
    if not shift.missing_grids:
        return f"{loss}; {rest}"
    install = " ".join(f"--file {name}" for name in shift.missing_grids)
    return (
        f"{loss}; with the grids {', '.join(shift.missing_grids)}, which this machine lacks, it is "
        f"{shift.better_accuracy_m:g} m: pyproj sync {install}; {rest}"
    )
