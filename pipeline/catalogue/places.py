"""Where the scene of a result lies, from its record alone: nothing of the scene is read, and older records do too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pipeline.errors import PipelineError
from pipeline.georeference.crs import crs_code, crs_wkt2
from pipeline.georeference.footprint import footprint
from pipeline.georeference.georeference import Georeference
from pipeline.outputs.stac import Placement
from pipeline.types import GroundControlPoint, RationalPolynomials, Scene


def georeference_of(record: Mapping[str, Any]) -> Georeference | None:
    """Of the scene that a record is about; None for a scene of pixels alone.

    Raises SceneNotGeoreferenced where the record contradicts itself.
    """
    return Georeference.of(_scene(record["scene"]))


def placement(record: Mapping[str, Any]) -> Placement:
    """What an item says of its scene's place; of a scene whose place cannot be worked out, nothing."""
    try:
        place = georeference_of(record)
    except PipelineError:
        return Placement()
    if place is None:
        return Placement()
    outline, code = footprint(place), crs_code(place.crs_wkt)
    return Placement(
        geometry=None if outline is None else outline.geometry,
        bbox=None if outline is None else outline.bbox,
        code=code,
        wkt2=None if code else crs_wkt2(place.crs_wkt),
        gsd_m=float(f"{sum(place.ground_gsd()) / 2:.6g}"),
    )


def _scene(header: Mapping[str, Any]) -> Scene:
    """The headers that a record keeps of its scene, as far as they say where it lies."""
    points = tuple(GroundControlPoint(**point) for point in header.get("gcps") or ())
    transform, rpc = header.get("transform"), header.get("rpc")
    return Scene(
        scene_id=str(header["scene_id"]),
        uris=tuple(header.get("uris") or ("the scene",)),
        width=int(header["width"]),
        height=int(header["height"]),
        bands=(),
        band_count=0,
        dtype="",
        driver="",
        crs_wkt=header.get("crs_wkt"),
        transform=None if not transform else (
            transform[0], transform[1], transform[2], transform[3], transform[4], transform[5]
        ),
        gcps=points,
        rpc=None if not rpc else _polynomials(rpc),
    )  # fmt: skip


def _polynomials(rpc: Mapping[str, Any]) -> RationalPolynomials:
    named: dict[str, Any] = {one.name: rpc[one.name] for one in fields(RationalPolynomials)}
    values: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in named.items()}
    return RationalPolynomials(**values)
