"""The area of interest of a run, and where it lies on the lattice of a scene."""

from __future__ import annotations

from dataclasses import dataclass

import shapely
from shapely import affinity
from shapely.geometry.base import BaseGeometry

from pipeline.config import RunConfig
from pipeline.errors import ConfigError
from pipeline.georeference.area_files import read_aoi
from pipeline.georeference.georeference import Georeference
from pipeline.types import Lattice, Scene


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AreaOfInterest:
    """Where to look, as the user drew it."""

    source: str
    """Where it was read from."""
    geometry: BaseGeometry
    """Polygons in the coordinates of ``crs_wkt``."""
    crs_wkt: str | None
    """None when the file does not say: then it is taken to be in the scene's own CRS."""


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
    geometry, crs_wkt = read_aoi(config.aoi)
    return AreaOfInterest(source=config.aoi, geometry=geometry, crs_wkt=crs_wkt)
