"""The one STAC collection over all results of an output folder, worked out from the table of its items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from pipeline.outputs.stac import FILE, GEOJSON, PROCESSING, STAC_VERSION, TABLE, stamp
from pipeline.outputs.stac_assets import MULTIHASH_SHA256, PARQUET, item_assets
from pipeline.outputs.stac_geoparquet import SIDES
from pipeline.outputs.stac_models import model_file, model_name
from pipeline.outputs.tables import Table
from pipeline.types import FloatArray

MIRROR_FILE = "items.parquet"
MIRROR = "items"
"""Key of the asset that holds all items."""
MOST_LINKS = 10_000
"""Items that the collection links one by one; of more, a reader takes the mirror, which is one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorFile:
    """How ``items.parquet`` is known."""

    size: int
    """Bytes."""
    sha256: str


def collection(items: Table, collection_id: str, mirror: MirrorFile | None = None) -> dict[str, Any]:
    """The collection of ``items``, a table as :mod:`pipeline.outputs.stac_geoparquet` has it, ready for JSON.

    Its place is ``OUT/_catalogue/collection.json``. ``mirror`` None: for the inside of the mirror itself, which cannot
    hold its own checksum.
    """
    models = _distinct(items, "kestrel:model_id")
    licences = "those of the models stand in their items, those of the scenes with whoever made them"
    asset: dict[str, Any] = {
        "href": f"./{MIRROR_FILE}",
        "type": PARQUET,
        "roles": ["collection-mirror"],
        "title": "All items as one table, stac-geoparquet 1.1",
    }
    if mirror is not None:
        asset |= {"file:size": mirror.size, "file:checksum": MULTIHASH_SHA256 + mirror.sha256}
    return {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "stac_extensions": [TABLE, FILE, PROCESSING],
        "id": collection_id,
        "title": "Detections by Kestrel",
        "description": "Oriented objects found in aerial and satellite scenes, one item a scene. Terms of use: "
        f"{licences}.",
        "license": "other",
        "providers": [
            {
                "name": "Kestrel",
                "roles": ["processor"],
                "description": "finds small things in very large images",
                "processing:level": "L4",
            }
        ],
        "extent": {"spatial": {"bbox": [extent(_bounds(items))]}, "temporal": {"interval": [_interval(items)]}},
        "summaries": _summaries(items, models),
        "item_assets": item_assets(),
        "assets": {MIRROR: asset},
        "links": _links(items, models),
    }


def extent(bounds: FloatArray) -> list[float]:
    """The smallest box around (N, 4) boxes (west, south, east, north; west > east across the antimeridian).

    Of all ways around the Earth the shortest, so it too may have west > east. The whole Earth where there is no box.
    """
    if not len(bounds):
        return [-180.0, -90.0, 180.0, 90.0]
    west, span = bounds[:, 0] % 360.0, (bounds[:, 2] - bounds[:, 0]) % 360.0
    span = np.where((span == 0) & (bounds[:, 2] > bounds[:, 0]), 360.0, span)
    order = np.argsort(west, kind="stable")
    # Two turns of the Earth: in the second, boxes that began in the first reach in.
    west = np.concatenate([west[order], west[order] + 360.0])
    reach = np.maximum.accumulate(west + np.tile(span[order], 2))
    free = west[len(bounds) :] - reach[len(bounds) - 1 : -1]
    widest = int(np.argmax(free))
    south, north = float(bounds[:, 1].min()), float(bounds[:, 3].max())
    if free[widest] <= 0:
        return [-180.0, south, 180.0, north]
    ends = float(west[widest]), float(reach[len(bounds) - 1 + widest])
    first, last = (round((degrees + 180.0) % 360.0 - 180.0, 7) for degrees in ends)
    return [first, south, 180.0 if last == -180.0 else last, north]


def _bounds(items: Table) -> FloatArray:
    """(N, 4) boxes of the items that have one."""
    column = items["bbox"].combine_chunks()
    boxes = np.column_stack([pc.struct_field(column, side).to_numpy(zero_copy_only=False) for side in SIDES])
    boxes = boxes.astype(np.float64).reshape(-1, 4)
    found: FloatArray = boxes[np.isfinite(boxes).all(axis=1)]
    return found


def _interval(items: Table) -> list[str | None]:
    """From the first acquisition to the last, of the items that know theirs; where none does, what bounds them."""
    known = items.filter(pc.is_valid(items["datetime"]))
    told = known if len(known) else items
    starts = pc.coalesce(told["start_datetime"], told["datetime"])
    ends = pc.coalesce(told["end_datetime"], told["datetime"])
    moments = [pc.min(starts).as_py(), pc.max(ends).as_py()]
    return [None if moment is None else stamp(moment) for moment in moments]


def _summaries(items: Table, models: Sequence[str]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "kestrel:model_id": list(models),
        "kestrel:status": _distinct(items, "kestrel:status"),
        "proj:code": _distinct(items, "proj:code"),
        "kestrel:sensor": _distinct(items, "kestrel:sensor"),
    }
    for name in ("gsd", "kestrel:detections"):
        if name in items.column_names and items[name].null_count < len(items):
            found = pc.min_max(items[name]).as_py()
            told[name] = {"minimum": found["min"], "maximum": found["max"]}
    return {name: value for name, value in told.items() if value}


def _links(items: Table, models: Sequence[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"rel": "root", "href": "./collection.json", "type": "application/json"}]
    found += [
        {
            "rel": "derived_from",
            "href": f"./models/{model_file(model)}",
            "type": GEOJSON,
            "title": model,
            "mlm:name": model_name(model.rpartition("@")[0]),
        }
        for model in models
    ]
    ids = items["id"].to_pylist()
    if len(ids) <= MOST_LINKS:
        found += [{"rel": "item", "href": f"./items/{one}.json", "type": GEOJSON, "title": one} for one in ids]
    return found


def _distinct(items: Table, name: str) -> list[str]:
    if name not in items.column_names:
        return []
    return sorted(one for one in pc.unique(items[name]).to_pylist() if one is not None)
