"""GeoJSON and GeoPackage files of a detections table, and the QGIS style beside them.

pyogrio's home, with :mod:`pipeline.areas`.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pyogrio
import shapely

from pipeline.errors import StorageError
from pipeline.preview import score_colour
from pipeline.tables import Table, polygon_corners
from pipeline.types import BoolArray, FloatArray

LAYER = "detections"
"""Name of the GeoPackage layer."""

LonLat = Callable[[FloatArray], FloatArray]
"""(N, 2) world coordinates to (N, 2) WGS84 longitude and latitude, degrees."""

_CHUNK_ROWS = 20_000
_POINT = "[%.8f,%.8f]"  # 1e-8 degrees are 1.1 mm on the ground: a tenth of the pixel of a 1 cm drone scene
_RING = f"[{','.join([_POINT] * 5)}]"
_NUMBERS = {"px_cx": "%.4f", "px_cy": "%.4f", "px_w": "%.4f", "px_h": "%.4f", "px_angle_rad": "%.7f"}
"""Digits of the number columns; six significant ones where none are named, more than a pixel can tell."""


def write_geojson(table: Table, path: Path, to_lonlat: LonLat) -> None:
    """Write detections as an RFC 7946 FeatureCollection: WGS84, exterior rings counter-clockwise.

    Streams: memory is that of 20,000 rows, whatever the table's length. A box across the antimeridian becomes a
    MultiPolygon cut at ±180° (§3.1.9); a box that has no place in WGS84 gets a null geometry (§3.2).
    Raises OSError when the disk does.
    """
    properties = [name for name in table.column_names if name not in ("geometry", "bbox")]
    feature = '{"type":"Feature","geometry":%s,"properties":{' + ",".join(f'"{name}":%s' for name in properties) + "}}"
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{"type":"FeatureCollection","features":[\n')
        for start in range(0, len(table), _CHUNK_ROWS):
            rows = table.slice(start, _CHUNK_ROWS)
            columns = [_geometry_texts(polygon_corners(rows), to_lonlat)]
            columns += [_property_texts(name, rows.column(name).to_pylist()) for name in properties]
            file.write(",\n" if start else "")
            file.write(",\n".join([feature % row for row in zip(*columns, strict=True)]))
        file.write("\n]}\n")


def _property_texts(name: str, values: list[Any]) -> list[str]:
    """JSON texts of one column; what repeats is encoded once."""
    if any(isinstance(value, float) for value in values):
        digits = _NUMBERS.get(name, "%.6g")
        return ["null" if value is None else digits % value for value in values]
    texts = {value: json.dumps(value, ensure_ascii=False) for value in set(values)}
    return [texts[value] for value in values]


def _geometry_texts(corners_world: FloatArray, to_lonlat: LonLat) -> list[str]:
    """(N, 4, 2) world corners to N GeoJSON geometries."""
    corners = _unwrapped(to_lonlat(corners_world.reshape(-1, 2)).reshape(-1, 4, 2))
    closed = np.concatenate([corners, corners[:, :1]], axis=1)
    clockwise = _clockwise(corners)
    closed[clockwise] = closed[clockwise][:, ::-1]
    polygon = '{"type":"Polygon","coordinates":[' + _RING + "]}"
    texts = [polygon % tuple(ring) for ring in closed.reshape(-1, 10).tolist()]
    crossing = (np.abs(corners[..., 0]) > 180).any(axis=1)
    for row in np.flatnonzero(crossing):
        texts[row] = _split_at_antimeridian(closed[row])
    for row in np.flatnonzero(~np.isfinite(corners).all(axis=(1, 2))):
        texts[row] = "null"
    return texts


def _unwrapped(lonlat: FloatArray) -> FloatArray:
    """Rings whose longitudes do not jump, with their middle in [-180, 180]; only rings that need it change.

    Where the projection has no answer (infinity), everything becomes NaN.
    """
    lonlat = np.where(np.isfinite(lonlat), lonlat, np.nan)
    longitudes = lonlat[..., 0]
    turns = np.rint((longitudes - longitudes[:, :1]) / 360)
    turns = turns + np.rint((longitudes - 360 * turns).mean(axis=1, keepdims=True) / 360)
    return np.stack([np.where(turns == 0, longitudes, longitudes - 360 * turns), lonlat[..., 1]], axis=-1)


def _clockwise(corners: FloatArray) -> BoolArray:
    across, down = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
    clockwise: BoolArray = across[:, 0] * down[:, 1] < across[:, 1] * down[:, 0]
    return clockwise


def _split_at_antimeridian(ring: FloatArray) -> str:
    """One closed ring that leaves [-180, 180] as a MultiPolygon of the parts inside, each moved to its place."""
    parts = []
    for turn in (-360.0, 0.0, 360.0):
        part = shapely.intersection(shapely.Polygon(ring), shapely.box(turn - 180, -90, turn + 180, 90))
        if isinstance(part, shapely.Polygon) and not part.is_empty:
            points = shapely.get_coordinates(shapely.geometry.polygon.orient(part)) - (turn, 0)
            parts.append("[[" + ",".join(_POINT % (x, y) for x, y in points) + "]]")
    return '{"type":"MultiPolygon","coordinates":[' + ",".join(parts) + "]}"


def write_gpkg(table: Table, path: Path, crs_wkt: str | None) -> None:
    """Write detections as a GeoPackage with one polygon layer, in the scene's CRS (None: undefined), and its style.

    QGIS finds the style by its name, that of the layer, in a ``.qml`` beside the file. The date that the format
    wants in its contents table is a constant: the same table gives the same bytes.
    Raises StorageError when the file cannot be written.
    """
    with _gdal_options(OGR_CURRENT_DATE="2000-01-01T00:00:00.000Z"), warnings.catch_warnings():
        if crs_wkt is None:
            warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)
        try:
            pyogrio.write_arrow(
                table.drop_columns(["bbox"]),
                path,
                layer=LAYER,
                driver="GPKG",
                geometry_name="geometry",
                geometry_type="Polygon",
                crs=crs_wkt,
                layer_options=None if crs_wkt else {"SRID": -1},
            )
        except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, pyogrio.errors.FeatureError) as error:
            raise StorageError(f"cannot write {path.name}{_free_space(path)}: {error}") from error
    if not _complete(path, len(table)):
        raise StorageError(f"{path.name} is incomplete{_free_space(path)}; free some space or choose another --out")
    path.with_suffix(".qml").write_text(_qgis_style(), encoding="utf-8", newline="\n")


def _complete(path: Path, rows: int) -> bool:
    """Whether the layer, its spatial index and its extent all reached the disk.

    GDAL builds the last two while it closes the file, and says nothing when the disk is full by then.
    """
    with closing(sqlite3.connect(path.absolute().as_uri() + "?mode=ro", uri=True)) as database:
        try:
            counts = [
                database.execute(f"SELECT count(*) FROM {name}").fetchone()[0]  # noqa: S608 - constants of our own
                for name in (LAYER, f"rtree_{LAYER}_geom_rowid")
            ]
            extent = database.execute("SELECT min_x, min_y, max_x, max_y FROM gpkg_contents").fetchone()
            sound = database.execute("PRAGMA quick_check").fetchone() == ("ok",)
        except sqlite3.DatabaseError:
            return False
    return sound and counts == [rows, rows] and (rows == 0 or None not in extent)


def _free_space(path: Path) -> str:
    """How much room is left, for the message of a write that failed for reasons GDAL tells badly."""
    if not path.parent.is_dir():
        return ""
    return f" ({shutil.disk_usage(path.parent).free / 1e6:.1f} MB free on its disk)"


def _qgis_style() -> str:
    """A QGIS layer style: outlines coloured by score in steps of 0.1, labelled with class and score when near."""
    root = ET.Element("qgis", version="3.22", styleCategories="Symbology|Labeling")
    renderer = ET.SubElement(
        root, "renderer-v2", type="graduatedSymbol", attr="score", graduatedMethod="GraduatedColor"
    )
    ranges, symbols = (ET.SubElement(renderer, name) for name in ("ranges", "symbols"))
    for step in range(10):
        lower, upper, name = step / 10, (step + 1) / 10, str(step)
        label = f"score {lower:.1f} – {upper:.1f}"
        ET.SubElement(
            ranges, "range", lower=f"{lower:.1f}", upper=f"{upper:.1f}", symbol=name, label=label, render="true"
        )
        symbol = ET.SubElement(symbols, "symbol", type="fill", name=name, alpha="1")
        layer = ET.SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1", "pass": "0"})
        red, green, blue = score_colour((lower + upper) / 2, 0.0)
        _options(
            layer, style="no", outline_color=f"{red},{green},{blue},255", outline_width="0.5", outline_style="solid"
        )
    labeling = ET.SubElement(root, "labeling", type="simple")
    settings = ET.SubElement(labeling, "settings", calloutType="simple")
    text = {"fieldName": "class_name || ' ' || format_number(score, 2)", "isExpression": "1", "fontSize": "8"}
    style = ET.SubElement(settings, "text-style", {**text, "fontSizeUnit": "Point", "textColor": "30,30,30,255"})
    buffer = {"bufferDraw": "1", "bufferSize": "0.8", "bufferSizeUnits": "MM", "bufferColor": "255,255,255,230"}
    ET.SubElement(style, "text-buffer", buffer)
    ET.SubElement(settings, "placement", placement="1", dist="1", distUnits="MM")
    ET.SubElement(settings, "rendering", scaleVisibility="1", scaleMin="25000", scaleMax="1", drawLabels="1")
    ET.SubElement(root, "layerGeometryType").text = "2"
    ET.indent(root)
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + ET.tostring(root, "unicode") + "\n"


def _options(parent: ET.Element, **values: str) -> None:
    options = ET.SubElement(parent, "Option", type="Map")
    for name, value in values.items():
        ET.SubElement(options, "Option", name=name, type="QString", value=value)


@contextmanager
def _gdal_options(**options: str) -> Iterator[None]:
    """GDAL options for the length of a block; they are the process's, so they are taken back."""
    before = {name: pyogrio.get_gdal_config_option(name) for name in options}
    pyogrio.set_gdal_config_options(options)
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options(before)
