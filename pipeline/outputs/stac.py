"""A published scene as a STAC 1.1 item: a pure function of its record, its manifest and its place on Earth.

Sources: the STAC specification 1.1.0 and its extensions table 1.2.0, file 2.1.0, processing 1.1.0, projection 2.0.0
and version 1.2.0; result items follow the best practices of the extension for models (MLM). Fields of ours begin with
``kestrel:``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.outputs.stac_assets import assets
from pipeline.outputs.stac_models import model_file, model_name
from pipeline.outputs.times import span

STAC_VERSION = "1.1.0"
TABLE, FILE, PROCESSING, PROJECTION = (
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in ("table/v1.2.0", "file/v2.1.0", "processing/v1.1.0", "projection/v2.0.0")
)
VERSIONING = "https://stac-extensions.github.io/version/v1.2.0/schema.json"
GEOJSON = "application/geo+json"
EARLIEST = "1800-01-01T00:00:00Z"
"""No picture is older: photography is not."""
SOURCE_ITEM = "item"
"""Key of ``output.meta`` whose value is the address of the STAC item that the scene came from."""
SOFTWARE = ("kestrel", "torch", "onnxruntime", "transformers", "rasterio", "pyproj")
"""Of the versions in a record, those that can change what is found, or where."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placement:
    """Where the scene of an item lies; all None for a scene of pixels alone."""

    geometry: Mapping[str, Any] | None = None
    """GeoJSON, longitude and latitude."""
    bbox: tuple[float, float, float, float] | None = None
    """West, south, east, north, degrees; west > east across the antimeridian."""
    code: str | None = None
    """Of the scene's CRS, as ``EPSG:32632``."""
    wkt2: str | None = None
    """The scene's CRS, where it has no code."""
    gsd_m: float | None = None
    """Of the scene's own pixels."""


def result_item(
    record: Mapping[str, Any], manifest: Mapping[str, Any], place: Placement, *, collection_id: str, version: str
) -> dict[str, Any]:
    """The item of one published scene, ready for JSON; its place is ``OUT/_catalogue/items/{scene_id}.json``.

    ``version`` is of the result, and changes with it. A scene without a place has the geometry ``null`` and no bbox,
    which STAC allows. Without a time of acquisition ``datetime`` is null and an interval stands that it lies in.
    """
    scene_id = str(record["scene_id"])
    extensions = [TABLE, FILE, PROCESSING] + ([PROJECTION] if place.code or place.wkt2 else [])
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": extensions,
        "id": scene_id,
        "geometry": None if place.geometry is None else dict(place.geometry),
        **({} if place.bbox is None else {"bbox": list(place.bbox)}),
        "properties": {
            "title": scene_id,
            **times(record["scene"].get("acquired"), record.get("finished")),
            **_made(record),
            **_projection(record, place),
            **_ours(record, version),
        },
        "links": _links(record),
        "assets": assets(scene_id, manifest, record),
        "collection": collection_id,
    }


def deprecated(item: Mapping[str, Any], sentence: str, *, since: str, successor: str | None) -> dict[str, Any]:
    """The item of a result that counts no more, though its files are there; ``sentence`` says why.

    ``since`` is an ISO time; ``successor`` the id of the item of the collection that counts instead.
    """
    link = {"rel": "successor-version", "href": f"./{successor}.json", "type": GEOJSON, "title": successor}
    return {
        **item,
        "stac_extensions": [*item["stac_extensions"], VERSIONING],
        "properties": {
            **item["properties"],
            "deprecated": True,
            "kestrel:withdrawn": sentence,
            "kestrel:withdrawn_since": stamp(_moment(since)),
        },
        "links": [*item["links"], *([] if successor is None else [link])],
    }


def times(acquired: str | None, finished: str | None) -> dict[str, Any]:
    """``datetime``, and the interval where the moment is not known: of a day that day, from its first moment on.

    ``acquired`` is a text as :func:`pipeline.outputs.times.span` takes it; of a month or a year the interval alone is
    known. Of what is not known (or not understood) the end is when the run ended: the picture was taken before.
    """
    made = {} if finished is None else {"created": stamp(_moment(finished))}
    known = span(acquired) if acquired else None
    if known is None:
        end = datetime.now(UTC) if finished is None else _moment(finished)
        return {"datetime": None, "start_datetime": EARLIEST, "end_datetime": stamp(end), **made}
    start, after = known
    if after - start <= timedelta(seconds=1):
        return {"datetime": stamp(start), **made}
    day = after - start <= timedelta(days=1)
    interval = {"start_datetime": stamp(start), "end_datetime": stamp(after - timedelta(seconds=1))}
    return {"datetime": stamp(start) if day else None, **interval, **made}


def stamp(moment: datetime) -> str:
    """RFC 3339, in UTC, as STAC wants it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _made(record: Mapping[str, Any]) -> dict[str, Any]:
    """How the result was made: L4 is what a model works out from measurements."""
    versions = record.get("versions", {})
    software = {name: str(versions[name]) for name in SOFTWARE if versions.get(name)}
    return {
        "processing:level": "L4",
        "processing:expression": {"format": "stac-mlm", "expression": f"../models/{model_file(record['model_id'])}"},
        **({"processing:software": software} if software else {}),
    }


def _projection(record: Mapping[str, Any], place: Placement) -> dict[str, Any]:
    """CRS and grid of the scene, which its detections are told in."""
    scene = record["scene"]
    told: dict[str, Any] = {} if place.gsd_m is None else {"gsd": place.gsd_m}
    if place.code or place.wkt2:
        told["proj:code"] = place.code
        if place.code is None:
            told["proj:wkt2"] = place.wkt2
        told["proj:shape"] = [int(scene["height"]), int(scene["width"])]
        if scene.get("transform"):
            told["proj:transform"] = [float(number) for number in scene["transform"]]
    return told


def _ours(record: Mapping[str, Any], version: str) -> dict[str, Any]:
    tiles, scene = record.get("tiles", {}), record["scene"]
    skipped = int(tiles.get("skipped_empty", 0)) + int(tiles.get("skipped_outside_aoi", 0))
    counts = {name: int(tiles.get(name, 0)) for name in ("planned", "done", "failed")}
    facts = {f"kestrel:{name}": scene.get(name) for name in ("sensor", "attribution")}
    facts["kestrel:scene_licence"] = _meta(record).get("licence")
    return {
        "kestrel:run_id": record["run_id"],
        "kestrel:model_id": record["model_id"],
        "kestrel:status": record["status"],
        "kestrel:detections": int(record["detections"]),
        "kestrel:score_threshold": record.get("score_threshold"),
        "kestrel:tiles": {**counts, "skipped": skipped},
        "kestrel:version": version,
        **{name: value for name, value in facts.items() if value},
    }


def _links(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """To the collection, to what it was made from, and to the model that made it."""
    collection = {"href": "../collection.json", "type": "application/json"}
    sources = [{"rel": "derived_from", "href": uri, "title": "scene"} for uri in _sources(record)]
    item = _meta(record).get(SOURCE_ITEM)
    if item:
        sources.append({"rel": "derived_from", "href": item, "type": GEOJSON, "title": "item of the scene"})
    model = {
        "rel": "derived_from",
        "href": f"../models/{model_file(record['model_id'])}",
        "type": GEOJSON,
        "title": "model",
        "mlm:name": model_name(record["model"]["name"]),
    }
    return [*({"rel": rel, **collection} for rel in ("root", "parent", "collection")), *sources, model]


def _meta(record: Mapping[str, Any]) -> dict[str, str]:
    """What was said of the scene with ``output.meta``."""
    entries = record.get("config", {}).get("output", {}).get("meta") or ()
    return dict(str(entry).split("=", 1) for entry in entries if "=" in str(entry))


def _sources(record: Mapping[str, Any]) -> list[str]:
    """Addresses of the scene's files without secrets; local ones absolute, where the record says so."""
    uris = list(record["scene"].get("uris", ()))
    origin = list(record.get("origin") or uris)
    return [uri if "://" in uri or len(origin) != len(uris) else origin[i] for i, uri in enumerate(uris)]
