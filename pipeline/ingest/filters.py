"""Which scenes of a feed are wanted. A scene that does not tell what is asked for passes: its headers will say more."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import shapely
from shapely import affinity
from shapely.geometry.base import BaseGeometry

from pipeline.errors import ConfigError
from pipeline.georeference.area_files import box_in_degrees, read_area
from pipeline.georeference.crs import WGS84_LONLAT, transformer
from pipeline.ingest.feed_file import Filter
from pipeline.ingest.scene_to_do import SceneToDo
from pipeline.ingest.times import written
from pipeline.names import shown

Box = tuple[float, float, float, float]


def why_skipped(scene: SceneToDo, wanted: Filter) -> str | None:
    """Why the scene is not wanted, in one sentence; None for one that is, and for what nobody tells of it.

    Raises ConfigError or StorageError for an area file that cannot be read.
    """
    reasons: tuple[Callable[[SceneToDo, Filter], str | None], ...] = (_time, _place, _clouds, _gsd)
    return next((reason for one in reasons if (reason := one(scene, wanted)) is not None), None)


def _time(scene: SceneToDo, wanted: Filter) -> str | None:
    if scene.acquired is None:
        return None
    if wanted.since is not None and scene.acquired < wanted.since:
        return f"it was taken {written(scene.acquired)}, before filter.since, {written(wanted.since)}"
    if wanted.until is not None and scene.acquired > wanted.until:
        return f"it was taken {written(scene.acquired)}, after filter.until, {written(wanted.until)}"
    return None


def _place(scene: SceneToDo, wanted: Filter) -> str | None:
    if scene.bbox is None or (wanted.bbox is None and wanted.area is None):
        return None
    where = f"it lies at {_numbers(scene.bbox)} (west, south, east, north)"
    if wanted.bbox is not None:
        return (
            None if touches(box(wanted.bbox), scene.bbox) else f"{where}, outside filter.bbox {_numbers(wanted.bbox)}"
        )
    assert wanted.area is not None
    area = area_in_degrees(wanted.area)
    return None if touches(area, scene.bbox) else f"{where}, outside filter.area {shown(wanted.area)}"


def _clouds(scene: SceneToDo, wanted: Filter) -> str | None:
    if scene.cloud_cover is None or wanted.cloud_cover is None or scene.cloud_cover <= wanted.cloud_cover:
        return None
    return f"clouds cover {scene.cloud_cover:g} % of it, more than filter.cloud_cover, {wanted.cloud_cover:g} %"


def _gsd(scene: SceneToDo, wanted: Filter) -> str | None:
    if scene.gsd_m is None or wanted.gsd_m is None or wanted.gsd_m[0] <= scene.gsd_m <= wanted.gsd_m[1]:
        return None
    return f"its GSD is {scene.gsd_m:g} m, and filter.gsd_m is {wanted.gsd_m[0]:g} to {wanted.gsd_m[1]:g} m"


def box(bbox: Box) -> BaseGeometry:
    """West, south, east, north in degrees as a polygon, which goes on beyond 180 where west > east."""
    west, south, east, north = bbox
    return shapely.box(west, south, east if west <= east else east + 360.0, north)


def touches(area: BaseGeometry, bbox: Box) -> bool:
    """Whether an area in degrees and a box share a point, on whichever turn around the Earth either is written."""
    one = box(bbox)
    return any(shapely.intersects(area, affinity.translate(one, turn)) for turn in (-360.0, 0.0, 360.0))


@lru_cache(maxsize=4)
def area_in_degrees(uri: str) -> BaseGeometry:
    """The polygons of a vector file in longitude and latitude. Raises ConfigError, StorageError."""
    drawn = read_area(uri)
    if drawn.crs is None:
        raise ConfigError(f"filter.area {shown(uri)} names no CRS; name it in the file, such as EPSG:4326")
    geometry = drawn.geometry
    if box_in_degrees(uri) is None:
        change = transformer(drawn.crs, WGS84_LONLAT)
        geometry = shapely.transform(geometry, change.transform, interleaved=False)
    shapely.prepare(geometry)
    return geometry


def _numbers(bbox: Box) -> str:
    return ", ".join(f"{number:.4g}" for number in bbox)
