"""STAC documents judged by the schemas of STAC and of the extensions that they declare, offline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
from pystac.validation.local_validator import get_local_schema_cache
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

SCHEMAS = Path(__file__).parent / "schemas"
STANDS_FOR = {
    "https://stac-extensions.github.io/mlm/v1.5.2/schema.json": "https://stac-extensions.github.io/mlm/v1.4.0/schema.json",
    "https://stac-extensions.github.io/classification/v1.1.0/schema.json": (
        "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
    ),
}
"""What is declared or referred to → the version whose schema is here."""


def _schemas() -> dict[str, dict[str, Any]]:
    found = dict(get_local_schema_cache())
    for path in sorted(SCHEMAS.glob("*.json")):
        schema = json.loads(path.read_text())
        found[schema["$id"].rstrip("#")] = schema
    return found | {uri: found[other] for uri, other in STANDS_FOR.items()}


_FOUND = _schemas()
_REGISTRY: Registry[Any] = Registry().with_resources(
    [(uri, Resource.from_contents(schema, default_specification=DRAFT7)) for uri, schema in _FOUND.items()]
)
CORE = {
    "Feature": "https://schemas.stacspec.org/v1.1.0/item-spec/json-schema/item.json",
    "Collection": "https://schemas.stacspec.org/v1.1.0/collection-spec/json-schema/collection.json",
}


def complaints(document: Mapping[str, Any]) -> list[str]:
    """What the schemas of STAC and of every declared extension have against a document; none where it is valid.

    An extension whose schema is not here is a complaint.
    """
    said = []
    for uri in [CORE[document["type"]], *document.get("stac_extensions", ())]:
        if uri not in _FOUND:
            said.append(f"no schema of {uri} is here")
            continue
        declared = STANDS_FOR.get(uri, uri)
        text = json.dumps(document).replace(uri, declared)
        checker = jsonschema.Draft7Validator(
            _FOUND[declared], registry=_REGISTRY, format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER
        )
        found = checker.iter_errors(json.loads(text))
        said += [f"{uri}: {'/'.join(map(str, error.path))}: {error.message[:300]}" for error in found]
    return said
