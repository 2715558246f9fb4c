"""Sound annotations of one scene in every format that ``prepare`` reads, to be damaged."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import pyogrio
import shapely
import yaml

IMAGES, SCENE, DATA_FILE, LABELS = "images", "scene.tif", "data.yaml", "labels/scene.txt"
_BOXES = [(20.0, 30.0, 24.0, 10.0), (60.0, 40.0, 12.0, 30.0), (90.0, 60.0, 16.0, 8.0)]
"""x, y, width, height in pixels of a scene of 112 by 80."""
_KINDS = ["car", "van", "car"]
_CRS = "EPSG:32633"
_COCO = {
    "images": [{"id": 7, "file_name": SCENE, "width": 112, "height": 80}],
    "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "van"}, {"id": 3, "name": "dont_care"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 1, "bbox": [20, 30, 24, 10], "area": 240, "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 2, "bbox": [60, 40, 12, 30], "rbox": [66, 55, 30, 12, 1.5]},
        {"id": 3, "image_id": 7, "category_id": 1, "bbox": [90, 60, 16, 8],
         "segmentation": [[90, 60, 106, 61, 105, 69, 90, 68]]},
        {"id": 4, "image_id": 7, "category_id": 3, "bbox": [0, 0, 30, 20], "iscrowd": 1},
    ],
}  # fmt: skip
_DATA = {
    "path": ".", "train": IMAGES, "nc": 2, "names": {0: "car", 1: "van"},
    "download": "https://example.org/data.zip", "kpt_shape": [17, 3], "author": {"name": "nobody", "year": 2026},
    "roboflow": {"workspace": "none", "project": "cars-from-above", "version": 3, "license": "CC BY 4.0"},
}  # fmt: skip
_LINES = ["0 0.286 0.438 0.214 0.125", "1 0.536 0.5 0.643 0.5 0.643 0.875 0.536 0.875", "",
          "0 0.8 0.75 0.95 0.76 0.94 0.86 0.85 0.88 0.8 0.85"]  # fmt: skip


def _rings() -> list[list[list[float]]]:
    """Corners on the map, closed: a pixel is 10 m, the first one lies at 500 000 east, 5 000 000 north."""
    return [
        [[500_000 + 10 * (x + dx), 5_000_000 - 10 * (y + dy)] for dx, dy in ((0, 0), (w, 0), (w, h), (0, h), (0, 0))]
        for x, y, w, h in _BOXES
    ]


def annotation_files() -> tuple[tuple[str, str, bytes], ...]:
    """Name of the template, of its file, and its bytes."""
    features = [
        {"type": "Feature", "properties": {"class_name": kind, "ignore": kind == "van"},
         "geometry": {"type": "Polygon", "coordinates": [ring]}}
        for kind, ring in zip(_KINDS, _rings(), strict=True)
    ]  # fmt: skip
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    drawn = {"type": "FeatureCollection", "crs": crs, "features": features}
    return (
        ("COCO json", "case.json", json.dumps(_COCO).encode()),
        ("YOLO labels", LABELS, "\n".join(_LINES).encode()),
        ("YOLO data.yaml", DATA_FILE, yaml.safe_dump(_DATA).encode()),
        ("polygons GeoJSON", "case.geojson", json.dumps(drawn).encode()),
    )


def geopackage(folder: Path) -> bytes:
    """The same polygons; what a GeoPackage says of the time it was made at is always the same."""
    path = folder / "drawn.gpkg"
    table = geopandas.GeoDataFrame({"class_name": _KINDS}, geometry=list(map(shapely.Polygon, _rings())), crs=_CRS)
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2026-01-01T00:00:00Z"})
    try:
        table.to_file(path, layer="drawn", engine="pyogrio")
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
    return path.read_bytes()


def write_sound(folder: Path, scene: bytes) -> None:
    """What belongs to a case: the image, and of YOLO's two files the other one."""
    for place in (folder / IMAGES, (folder / LABELS).parent):
        place.mkdir()
    (folder / IMAGES / SCENE).write_bytes(scene)
    for _, file, data in annotation_files():
        if file in (DATA_FILE, LABELS):
            (folder / file).write_bytes(data)


def is_sound(path: Path) -> bool:
    """Whether the file still parses as what it is."""
    data = path.read_bytes()
    try:
        if path.suffix == ".gpkg":
            return data.startswith(b"SQLite format 3\0")
        text = data.decode()
        parsed = {".txt": str.split, ".yaml": yaml.safe_load}.get(path.suffix, json.loads)(text)
    except (ValueError, RecursionError, yaml.YAMLError):
        return False
    return path.suffix == ".txt" or isinstance(parsed, dict)
