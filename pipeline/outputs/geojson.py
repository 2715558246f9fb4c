"""GeoJSON files of a detections table (RFC 7946)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.outputs.lonlat import off_the_map, pieces, unwrapped
from pipeline.outputs.result import Result
from pipeline.outputs.rows import counter_clockwise
from pipeline.outputs.tables import Table
from pipeline.outputs.wkb import polygon_corners
from pipeline.types import FloatArray

LonLat = Callable[[FloatArray], FloatArray]
"""(N, 2) world coordinates to (N, 2) WGS84 longitude and latitude, degrees."""

CHUNK_ROWS = 20_000
"""Rows of the table that are made into text together."""
_POINT = "[%.8f,%.8f]"  # 1e-8 degrees are 1.1 mm on the ground: a tenth of the pixel of a 1 cm drone scene
_RING = f"[{','.join([_POINT] * 5)}]"
_NUMBERS = {"px_cx": "%.4f", "px_cy": "%.4f", "px_w": "%.4f", "px_h": "%.4f", "px_angle_rad": "%.7f"}
"""Digits of the number columns; six significant ones where none are named, more than a pixel can tell."""


def write(result: Result, folder: Path) -> None:
    """``detections.geojson``; nothing for a pixel scene: GeoJSON knows places on Earth only (RFC 7946, 4)."""
    if result.georeference is not None:
        write_geojson(result.table, folder / "detections.geojson", result.georeference.world_to_lonlat)


def write_geojson(table: Table, path: Path, to_lonlat: LonLat, chunk_rows: int = CHUNK_ROWS) -> None:
    """Write detections as an RFC 7946 FeatureCollection: WGS84, exterior rings counter-clockwise.

    Streams: memory is that of ``chunk_rows`` rows, whatever the table's length. A box across the antimeridian becomes a
    MultiPolygon cut at ±180° (§3.1.9); a box that has no place in WGS84 gets a null geometry (§3.2).
    Raises OSError when the disk does.
    """
    properties = [name for name in table.column_names if name not in ("geometry", "bbox")]
    feature = '{"type":"Feature","geometry":%s,"properties":{' + ",".join(f'"{name}":%s' for name in properties) + "}}"
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{"type":"FeatureCollection","features":[\n')
        for start in range(0, len(table), chunk_rows):
            rows = table.slice(start, chunk_rows)
            columns = [_geometry_texts(polygon_corners(rows), to_lonlat)]
            columns += [property_texts(name, rows.column(name).to_pylist()) for name in properties]
            file.write(",\n" if start else "")
            file.write(",\n".join([feature % row for row in zip(*columns, strict=True)]))
        file.write("\n]}\n")


def property_texts(name: str, values: list[Any]) -> list[str]:
    """JSON texts of one column; what repeats is encoded once."""
    if any(isinstance(value, float) for value in values):
        digits = _NUMBERS.get(name, "%.6g")
        return ["null" if value is None else digits % value for value in values]
    texts = {value: json.dumps(value, ensure_ascii=False) for value in set(values)}
    return [texts[value] for value in values]


def _geometry_texts(corners_world: FloatArray, to_lonlat: LonLat) -> list[str]:
    """(N, 4, 2) world corners to N GeoJSON geometries."""
    corners = unwrapped(to_lonlat(corners_world.reshape(-1, 2)).reshape(-1, 4, 2))
    turned = counter_clockwise(corners)
    closed = np.concatenate([turned, turned[:, :1]], axis=1)
    polygon = '{"type":"Polygon","coordinates":[' + _RING + "]}"
    texts = [polygon % tuple(ring) for ring in closed.reshape(-1, 10).tolist()]
    for row in np.flatnonzero(off_the_map(corners)):
        texts[row] = _in_pieces(pieces(corners[row]))
    for row in np.flatnonzero(~np.isfinite(corners).all(axis=(1, 2))):
        texts[row] = "null"
    return texts


def _in_pieces(rings: list[FloatArray]) -> str:
    """A box that is cut at ±180° as a MultiPolygon of its pieces; one around a pole is in one piece."""
    parts = ["[[" + ",".join(_POINT % (x, y) for x, y in ring) + "]]" for ring in rings]
    return '{"type":"MultiPolygon","coordinates":[' + ",".join(parts) + "]}"
