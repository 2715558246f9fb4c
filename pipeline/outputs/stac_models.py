"""A model as a STAC item of its own: the Machine Learning Model extension (MLM) 1.5.2.

A pure function of what the record of a run says of the model. Records that say little (older ones) give an item that
says as little: unknown sizes are -1, which the extension has for them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MLM, CLASSIFICATION = (
    f"https://stac-extensions.github.io/{name}/schema.json" for name in ("mlm/v1.5.2", "classification/v2.0.0")
)
PATH = "../models/"
WORLD = [-180.0, -90.0, 180.0, 90.0]
"""A model looks wherever it is pointed."""
FIRST, LAST = "1900-01-01T00:00:00Z", "9999-12-31T23:59:59Z"
"""The extension forbids open ends; these say that nothing bounds it in time."""
SPDX = re.compile(r"[\w.+-]+")
SAFETENSORS, ONNX = "safetensors.torch.save_file", "onnx.save"
"""``mlm:artifact_type``: what wrote the file of weights, and so what reads it."""


def model_file(model_id: str) -> str:
    """Name of a model's item, which any file system takes; ids differ by the hash at their end."""
    return re.sub(r"[^A-Za-z0-9._@-]", "-", model_id).lstrip(".") + ".json"


def model_name(name: str) -> str:
    """A name as the extension takes it: it begins with a letter, ends with a letter or digit, and has three or more."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "-", name).strip("-_.")
    plain = plain if plain[:1].isalpha() else f"model-{plain}".rstrip("-")
    return plain if len(plain) > 2 else f"{plain}-model"


def model_item(record: Mapping[str, Any]) -> dict[str, Any]:
    """The item of the model that made a result; its place is ``OUT/_catalogue/models/``."""
    model = record["model"]
    bands = [str(name) for name in model.get("bands") or ()]
    address = weights_href(record)
    onnx = address.lower().endswith(".onnx")
    licence = str(model.get("licence") or "")
    west, south, east, north = WORLD
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [MLM, CLASSIFICATION],
        "id": record["model_id"],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": list(WORLD),
        "properties": {
            "title": str(model["name"]),
            "description": _described(model),
            "datetime": None,
            "start_datetime": FIRST,
            "end_datetime": LAST,
            "license": licence if SPDX.fullmatch(licence) and licence != "unknown" else "other",
            **({"bands": [{"name": name} for name in bands]} if bands else {}),
            **({} if model.get("gsd_m") is None else {"gsd": float(model["gsd_m"])}),
            "mlm:name": model_name(str(model["name"])),
            "mlm:architecture": ", ".join(model.get("network") or ()) or "unknown",
            **_framework(model, onnx=onnx),
            "mlm:tasks": ["object-detection"],
            "mlm:input": [_input(model, bands)],
            "mlm:output": [_output(model)],
            "kestrel:sha256": model["sha256"],
            **({"kestrel:licence": licence} if licence else {}),
        },
        "links": [
            {"rel": rel, "href": "../collection.json", "type": "application/json"} for rel in ("root", "related")
        ],
        "assets": {
            "weights": {
                "href": address,
                "title": "weights, as --weights takes them",
                "type": "application/octet-stream; framework=" + ("onnx" if onnx else "pytorch"),
                "roles": ["mlm:model", "mlm:weights", "data"],
                "mlm:artifact_type": ONNX if onnx else SAFETENSORS,
                **({"bands": [{"name": name} for name in bands]} if bands else {}),
            }
        },
    }


def weights_href(record: Mapping[str, Any]) -> str:
    """Where the weights lie: an address, an absolute path, a page of the hub, or ``builtin:NAME`` of the package and
    ``hub:owner/name/file`` as they are.

    Where nobody wrote down more than a relative path, the hash that they are known by.
    """
    model, given = record["model"], str(record.get("config", {}).get("weights") or "")
    if model.get("address"):
        return str(model["address"])
    if "://" in given or given.startswith(("builtin:", "hub:", "/")):
        return given
    return f"urn:sha256:{model['sha256']}"


def _described(model: Mapping[str, Any]) -> str:
    data = model.get("training_data")
    trained = f" Trained on: {data}" if data else ""
    return f"Detects {', '.join(map(str, model['classes'][:10]))} in aerial and satellite images.{trained}"


def _framework(model: Mapping[str, Any], *, onnx: bool) -> dict[str, str]:
    """What the weights are for, and its version where it is what ran them: three numbers and what a build adds."""
    ran = re.match(r"torch (\d+\.\d+\.\d+(?:\+[0-9A-Za-z.-]+)?)", str(model.get("runtime") or ""))
    return {
        "mlm:framework": "ONNX" if onnx else "PyTorch",
        **({} if onnx or ran is None else {"mlm:framework_version": ran.group(1)}),
    }


def _input(model: Mapping[str, Any], bands: list[str]) -> dict[str, Any]:
    """Chips as the network takes them: pixels of 8 bit, less the mean, over the deviation, band by band."""
    side = int(model.get("input_px") or -1)
    scaling = [
        {"type": "z-score", "mean": 255 * float(mean), "stddev": 255 * float(deviation)}
        for mean, deviation in zip(model.get("mean") or (), model.get("std") or (), strict=False)
    ]
    return {
        "name": "chip",
        "bands": bands,
        "input": {
            "shape": [-1, len(bands) or -1, side, side],
            "dim_order": ["batch", "bands", "height", "width"],
            "data_type": "float32",
        },
        **({"value_scaling": scaling} if scaling else {}),
    }


def _output(model: Mapping[str, Any]) -> dict[str, Any]:
    """What a look answers: one row a box."""
    classes = [
        {"value": value, "name": _class_name(str(name), value), "title": str(name)}
        for value, name in enumerate(model["classes"])
    ]
    return {
        "name": "boxes",
        "description": "cx, cy, w, h (pixels of the chip), angle (radians, clockwise), score, class",
        "tasks": ["object-detection"],
        "result": {"shape": [-1, 7], "dim_order": ["detection", "value"], "data_type": "float64"},
        "classification:classes": classes,
    }


def _class_name(name: str, value: int) -> str:
    """A name as the classification extension takes it, one for each class."""
    plain = re.sub(r"[^0-9A-Za-z_-]+", "-", name).strip("-")
    return plain if plain == name else "-".join([*([plain] if plain else []), str(value)])
