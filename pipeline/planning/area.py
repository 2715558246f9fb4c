"""The area of interest of a run, and where it lies on the lattice of a scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import shapely
from shapely import affinity
from shapely.geometry.base import BaseGeometry

from pipeline.config import RunConfig
from pipeline.errors import ConfigError
from pipeline.georeference.area_files import read_area
from pipeline.georeference.georeference import Georeference, is_geographic
from pipeline.names import public_uri, shown
from pipeline.types import Lattice, Scene

LONLAT = "OGC:CRS84"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AreaOfInterest:
    """Where to look, as the user drew it."""

    source: str
    """Where it was read from."""
    geometry: BaseGeometry
    """Polygons in the coordinates of ``crs_wkt``."""
    crs_wkt: str | None
    """None when the file does not say: then it is taken to be in the scene's own CRS."""
    notes: tuple[str, ...] = ()
    """What people should know of how it was read, one sentence each."""


def area_in_lattice(
    aoi: AreaOfInterest, scene: Scene, georeference: Georeference | None, lattice: Lattice
) -> BaseGeometry:
    """The area of interest in lattice pixels. Raises ConfigError for a scene that has no place on Earth."""
    if georeference is None:
        raise ConfigError(f"--aoi needs a georeferenced scene, and {scene.uris[0]} has no georeference")
    area = georeference.area_to_scene(aoi.geometry, aoi.crs_wkt or georeference.crs_wkt)
    area = affinity.scale(area, 1 / lattice.scale_x, 1 / lattice.scale_y, origin=(0, 0))
    shapely.prepare(area)
    return area


def area_of_interest(config: RunConfig) -> AreaOfInterest | None:
    """The ``--aoi`` file, read. Raises ConfigError when it holds no polygon."""
    if config.aoi is None:
        return None
    drawn = read_area(config.aoi)
    return AreaOfInterest(source=config.aoi, geometry=drawn.geometry, crs_wkt=drawn.crs, notes=drawn.notes)


def area_record(aoi: AreaOfInterest) -> dict[str, Any]:
    """The area as it was drawn, ready for JSON: GeoJSON coordinates in ``crs``, None being the scene's.

    A shape of very many corners is simplified by ``simplified_by`` of its units: the record is read by people.
    """
    geometry, step = aoi.geometry, 0.0
    west, south, east, north = geometry.bounds
    while shapely.get_num_coordinates(geometry) > MOST_CORNERS:
        step = max(step * 2, max(east - west, north - south) / 2**20)
        geometry = shapely.simplify(aoi.geometry, step)
    return {
        "source": public_uri(aoi.source),
        "crs": aoi.crs_wkt,
        "notes": list(aoi.notes),
        "simplified_by": step,
        "geometry": shapely.geometry.mapping(geometry),
    }


MOST_CORNERS = 10_000
"""Of an area in the record of a run."""


def outside(aoi: AreaOfInterest, scene: Scene, georeference: Georeference) -> str:
    """The sentence for an area that does not touch a scene: where each lies, and what is probably wrong."""
    there = georeference.footprint(aoi.crs_wkt or georeference.crs_wkt)
    sentence = (
        f"the area of interest {shown(aoi.source)} ({_extent(aoi.geometry.bounds)}) does not touch the scene "
        f"{shown(scene.uris[0])} ({_extent(there)} in the area's CRS)"
    )
    hint = _probable_mistake(aoi, georeference)
    return f"{sentence}; {hint or 'draw it there, or give its CRS if these numbers are of another one'}"


def _probable_mistake(aoi: AreaOfInterest, georeference: Georeference) -> str | None:
    """What would make the area touch the scene, as the end of a sentence."""

    def touches(geometry: BaseGeometry, crs: str) -> bool:
        area = georeference.area_to_scene(geometry, crs)
        return bool(shapely.intersects(area, shapely.box(0, 0, georeference.width, georeference.height)))

    own, swapped = georeference.crs_wkt, shapely.transform(aoi.geometry, lambda points: points[:, ::-1])
    drawn = aoi.crs_wkt or own
    west, south, east, north = aoi.geometry.bounds
    degrees = max(abs(west), abs(east)) <= 360 and max(abs(south), abs(north)) <= 360
    no_degrees = ", and not degrees" if is_geographic(drawn) else ""
    if touches(swapped, drawn):
        return "its axes are swapped: write x (longitude, easting) before y (latitude, northing)"
    if aoi.crs_wkt is not None and not degrees and touches(aoi.geometry, own):
        return f"its numbers are coordinates of the scene's CRS{no_degrees}: name that CRS in the file"
    if aoi.crs_wkt is not None and not degrees and touches(swapped, own):
        return f"its numbers are coordinates of the scene's CRS, with the axes swapped{no_degrees}: name that CRS"
    if degrees and touches(aoi.geometry, LONLAT):
        return "its numbers are degrees of longitude and latitude: name that CRS, EPSG:4326, in the file"
    if degrees and touches(swapped, LONLAT):
        return "its numbers are degrees, latitude before longitude: swap them, and name the CRS, EPSG:4326, in the file"
    if not degrees and is_geographic(drawn):
        return "its CRS is in degrees, and these numbers are none: name the CRS that they are of"
    return None


def _extent(bounds: Sequence[float]) -> str:
    """x and y from where to where; digits that tell a scene from its neighbour."""
    west, south, east, north = bounds
    digits = 4 if max(map(abs, bounds)) <= 360 else 0
    return f"x {west:.{digits}f} to {east:.{digits}f}, y {south:.{digits}f} to {north:.{digits}f}"
