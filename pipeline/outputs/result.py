"""What a format writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pipeline.outputs.tables import Table
from pipeline.types import FloatArray


class Place(Protocol):
    """Where a scene lies on Earth, as far as formats ask; :class:`pipeline.georeference.georeference.Georeference`."""

    @property
    def crs_wkt(self) -> str: ...

    def crs_projjson(self) -> dict[str, Any]: ...

    def world_to_lonlat(self, points: FloatArray) -> FloatArray:
        """(..., 2) world coordinates → WGS84 longitude and latitude, degrees; rings stay in one piece."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """The detections of one scene, and what belongs to all of them."""

    table: Table
    """In :data:`pipeline.outputs.tables.DETECTION_SCHEMA`, geometry in the scene's own CRS."""
    georeference: Place | None
    """None for a pixel scene."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Facts about the scene, and who made the result, for formats that have a place for them."""
    scene_id: str = ""
    classes: Sequence[str] = ()
    """Names of all classes that the model knows; ``class_id`` counts in them."""
