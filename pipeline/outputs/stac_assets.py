"""The files of a result as assets of a STAC item: what each is, how large, and by which checksum it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.outputs.tables import DETECTION_SCHEMA

PARQUET, COG, JSON = (
    "application/vnd.apache.parquet",
    "image/tiff; application=geotiff; profile=cloud-optimized",
    "application/json",
)
MAP_PX = 8
"""Side of a pixel of a map over the scene, lattice pixels."""
MULTIHASH_SHA256 = "1220"
"""What a multihash of 32 bytes of SHA-256 begins with."""
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a file of a result is."""

    key: str
    """Of the asset."""
    media_type: str
    roles: tuple[str, ...]
    title: str


KINDS: dict[str, Kind] = {
    "detections.parquet": Kind(
        key="detections", media_type=PARQUET, roles=("data",), title="Detections, GeoParquet in the scene's CRS"
    ),
    "detections.geojson": Kind(
        key="detections_geojson", media_type="application/geo+json", roles=("data",), title="Detections, GeoJSON"
    ),
    "detections.gpkg": Kind(
        key="detections_gpkg",
        media_type="application/geopackage+sqlite3",
        roles=("data",),
        title="Detections, GeoPackage",
    ),
    "detections.qml": Kind(
        key="style", media_type="application/xml", roles=("style",), title="QGIS style of the GeoPackage"
    ),
    "preview.png": Kind(
        key="preview", media_type="image/png", roles=("overview",), title="The scene with its detections"
    ),
    "attention.tif": Kind(
        key="attention", media_type=COG, roles=("data", "saliency"), title="Where the detector looked, 1 being the mean"
    ),
    "difference.tif": Kind(
        key="difference", media_type=COG, roles=("data",), title="What the detector could not draw again, 0 to 1"
    ),
    "failures.parquet": Kind(
        key="failures", media_type=PARQUET, roles=("metadata",), title="Tiles that failed, with their reasons"
    ),
    "run.json": Kind(key="run", media_type=JSON, roles=("metadata",), title="What ran, on what, with what"),
    MANIFEST: Kind(key="manifest", media_type=JSON, roles=("metadata",), title="The files, their sizes and checksums"),
}
"""Files of a result by name, in the order in which they are told."""
MEDIA_TYPES = {
    "parquet": PARQUET,
    "tif": "image/tiff; application=geotiff",
    "json": JSON,
    "geojson": "application/geo+json",
    "png": "image/png",
    "fgb": "application/vnd.flatgeobuf",
}
"""Of files that are in no list yet, by suffix."""


def assets(scene_id: str, manifest: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The assets of one scene's item by key; addresses are relative to the item's place, two folders below OUT."""
    files = {**manifest["files"], MANIFEST: {}}
    names = [name for name in KINDS if name in files] + sorted(set(files) - set(KINDS))
    told = {}
    for name in names:
        kind = kind_of(name)
        asset: dict[str, Any] = {"href": f"../../{scene_id}/{name}", **_described(kind)}
        if "bytes" in files[name]:
            asset["file:size"] = files[name]["bytes"]
        if "sha256" in files[name]:
            asset["file:checksum"] = MULTIHASH_SHA256 + files[name]["sha256"]
        if kind.key == "detections":
            asset |= _table(record)
        elif kind.media_type == COG:
            asset |= _grid(record)
        told[kind.key] = asset
    return told


def kind_of(name: str) -> Kind:
    """What a file is, by its name; of names that no list holds, as much as the suffix tells."""
    if name in KINDS:
        return KINDS[name]
    stem, _, suffix = name.rpartition(".")
    media_type = MEDIA_TYPES.get(suffix, "application/octet-stream")
    key = "".join(letter if letter.isalnum() else "_" for letter in name)
    return Kind(key=key, media_type=media_type, roles=("data",) if stem == "detections" else ("metadata",), title=name)


def item_assets() -> dict[str, dict[str, Any]]:
    """What the assets of all items have in common, for their collection; the columns with their meaning."""
    told = {kind.key: _described(kind) for kind in KINDS.values()}
    columns = [
        {"name": field.name, "type": str(field.type), "description": MEANINGS[field.name]} for field in DETECTION_SCHEMA
    ]
    told["detections"] |= {"table:columns": columns, "table:primary_geometry": "geometry"}
    return told


def _described(kind: Kind) -> dict[str, Any]:
    return {"title": kind.title, "type": kind.media_type, "roles": list(kind.roles)}


def _table(record: Mapping[str, Any]) -> dict[str, Any]:
    """The table of detections, as far as its run has written down which columns it wrote."""
    about: dict[str, Any] = {"table:primary_geometry": "geometry", "table:row_count": record["detections"]}
    types = {field.name: str(field.type) for field in DETECTION_SCHEMA}
    if record.get("columns"):
        about["table:columns"] = [
            {"name": name, **({"type": types[name]} if name in types else {})} for name in record["columns"]
        ]
    return about


def _grid(record: Mapping[str, Any]) -> dict[str, Any]:
    """Shape and transform of the maps over a scene, which are not the scene's; where the record knows the lattice."""
    lattice, transform = record.get("lattice"), record["scene"].get("transform")
    if not lattice or not transform:
        return {}
    x, y = (float(lattice[name]) * MAP_PX for name in ("scale_x", "scale_y"))
    a, b, c, d, e, f = map(float, transform)
    shape = [-(-int(lattice[name]) // MAP_PX) for name in ("height", "width")]
    return {"proj:shape": shape, "proj:transform": [a * x, b * y, c, d * x, e * y, f]}


MEANINGS = {
    "geometry": "oriented box: a closed ring of its four corners, in the scene's CRS",
    "detection_id": "content hash; the same run gives the same id",
    "scene_id": "scene it was found in",
    "class_id": "index into the classes of the model",
    "class_name": "name of the class",
    "score": "what the network says, 0 to 1; not a probability",
    "precision": "expected share of right boxes among single boxes of that score; null without a calibration",
    "length_m": "length on the ground, metres; null in a pixel scene",
    "width_m": "width on the ground, metres; null in a pixel scene",
    "area_m2": "area on the ground, square metres; null in a pixel scene",
    "azimuth_deg": "of the long side, degrees clockwise from true north, 0 to 180",
    "px_cx": "centre, full-resolution scene pixels, to the right",
    "px_cy": "centre, full-resolution scene pixels, downwards",
    "px_w": "longer side, full-resolution scene pixels",
    "px_h": "shorter side, full-resolution scene pixels",
    "px_angle_rad": "of the longer side, radians clockwise on screen",
    "stage": "global, crop or fused: which look saw it",
    "edge": "the box may be cut at an inner tile edge",
    "n_merged": "looks that agreed on it",
    "entropy": "of the attention in the crop that saw it, 0 to 1; null where no crop did",
    "tile_id": "tile it was found in",
    "model_id": "model that found it",
    "run_id": "run that found it",
    "acquired": "when the scene was taken, ISO 8601; null when it does not say",
    "bbox": "bounds of the box, in the scene's CRS",
}
"""Columns of the table of detections, in a sentence each."""
