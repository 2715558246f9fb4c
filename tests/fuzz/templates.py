"""The sound files that cases are made from, and where in them the pixels lie."""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from tests.fuzz.annotation_files import annotation_files, geopackage
from tests.support.onnx_files import write_guest
from tests.support.scenes import GEOREFERENCES, disc, ground_control_points, picture, write_geotiff

HEIGHT, WIDTH = 80, 112
"""Pixels of a scene; with overviews and masks none has more than 60 kB."""

WEIGHTS = b"stands for weights: their hash is all that a card knows of them"
CARD = {
    "name": "ships", "classes": ["ship", "quay"], "gsd_m": 10.0, "bands": ["red", "green", "blue"], "input_px": 64,
    "sha256": hashlib.sha256(WEIGHTS).hexdigest(), "oriented": True, "score_threshold": 0.4, "longest_object_m": 160.0,
    "mean": [0.1, 0.2, 0.3], "std": [1.0, 0.9, 0.8], "licence": "CC-BY-4.0", "training_data": "none",
    "metrics": {"val AP50": 0.5, "by size": {"small": [0.1, 0.2]}},
}  # fmt: skip

MODELS = ("yolo-obb", "detr-boxes", "kestrel-fcos")
"""Layouts of ONNX files."""

Kind = Literal["scene", "area", "card", "model", "annotations"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One sound file."""

    name: str
    kind: Kind
    data: bytes
    file: str
    """What it is called in the folder of a case."""
    pixels: tuple[tuple[int, int], ...] = ()
    """(offset, length) of every tile or strip, in bytes."""


def _scene(**options: Any) -> Callable[[Path], Path]:
    dtype, bands = options.pop("dtype", "uint8"), options.pop("bands", 3)

    def write(folder: Path) -> Path:
        pixels = picture(HEIGHT, WIDTH, bands, dtype)
        if options.get("nodata") is not None:
            pixels[~disc(HEIGHT, WIDTH)] = options["nodata"]
        if options.get("mask"):
            return write_geotiff(folder / "scene.tif", pixels, **{**options, "mask": disc(HEIGHT, WIDTH)})
        return write_geotiff(folder / "scene.tif", pixels, **options)

    return write


def _placed(name: str) -> dict[str, Any]:
    crs, transform = GEOREFERENCES[name]
    return {"crs": crs, "transform": transform}


SCENES = {
    "tiled deflate uint8": _scene(),
    "tiled lzw uint16 overviews": _scene(dtype="uint16", compress="lzw", overviews=(2, 4)),
    "tiled raw float32": _scene(dtype="float32", compress=None, bands=1),
    "strip raw uint8": _scene(tiled=False, block_px=16, compress=None),
    "strip deflate uint16 nodata": _scene(dtype="uint16", tiled=False, block_px=16, nodata=0),
    "strip lzw float32": _scene(dtype="float32", tiled=False, block_px=8, compress="lzw", bands=1),
    "mask geographic": _scene(mask=True, **_placed("geographic")),
    "band interleaved rotated": _scene(interleave="band", **_placed("utm_rotated")),
    "control points": _scene(gcps=ground_control_points(WIDTH, HEIGHT)),
    "packbits pixel scene": _scene(compress="packbits", crs=None, transform=None),
}

_RING = [[499_900, 5_000_100], [501_300, 5_000_000], [501_000, 4_999_000], [500_000, 4_999_200], [499_900, 5_000_100]]
_HOLE = [[500_300, 4_999_800], [500_600, 4_999_800], [500_600, 4_999_500], [500_300, 4_999_800]]
_POLYGON = {"type": "Polygon", "coordinates": [_RING, _HOLE]}
_CRS = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}

AREAS: dict[str, Any] = {
    "area of features": {
        "type": "FeatureCollection", "crs": _CRS,
        "features": [{"type": "Feature", "properties": {"id": 1, "name": "quay"}, "geometry": _POLYGON}] * 2,
    },
    "area in degrees": {"type": "MultiPolygon", "coordinates": [
        [[[14.9, 45.1], [15.1, 45.1], [15.1, 45.2], [14.9, 45.1]]],
        [[[15, 45.1], [15.3, 45.1], [15.1, 45.3], [15, 45.1]]],
    ]},
    "area of a collection": {"type": "GeometryCollection", "crs": _CRS,
                             "geometries": [_POLYGON, {"type": "Point", "coordinates": [500_000, 5_000_000]}]},
}  # fmt: skip


@cache
def templates() -> tuple[Template, ...]:
    """All of them, always in the same order and with the same bytes."""
    made = []
    with tempfile.TemporaryDirectory() as folder:
        for name, write in SCENES.items():
            path = write(Path(folder))
            spans = _pixel_spans(path)
            made.append(Template(name=name, kind="scene", data=path.read_bytes(), file="case.tif", pixels=spans))
            path.unlink()
        for layout in MODELS:
            data = write_guest(Path(folder), layout).read_bytes()
            made.append(Template(name=f"ONNX {layout}", kind="model", data=data, file="case.onnx"))
        drawn = geopackage(Path(folder))
    made += [
        Template(name=name, kind="area", data=json.dumps(area).encode(), file="case.geojson")
        for name, area in AREAS.items()
    ]
    made.append(Template(name="model card", kind="card", data=json.dumps(CARD).encode(), file="card.json"))
    made += [
        Template(name=name, kind="annotations", data=data, file=file)
        for name, file, data in (*annotation_files(), ("polygons GeoPackage", "case.gpkg", drawn))
    ]
    return tuple(made)


def _pixel_spans(path: Path) -> tuple[tuple[int, int], ...]:
    spans = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        file = rasterio.open(path)
    with file:
        (height, width), bands = file.block_shapes[0], file.count
        for column, row in np.ndindex(-(-file.width // width), -(-file.height // height)):
            for band in range(1, bands + 1):
                where = [
                    file.get_tag_item(f"BLOCK_{what}_{column}_{row}", "TIFF", bidx=band) for what in ("OFFSET", "SIZE")
                ]
                if None not in where:
                    spans.append((int(where[0]), int(where[1])))
    return tuple(sorted(set(spans)))
