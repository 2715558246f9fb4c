"""STAC items in the documented form of real catalogues, written by us; and static trees of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PRODUCT = "S2A_MSIL2A_20230701T105629_N0509_R094_T31UFU_20230701T171358.SAFE"


def item(name: str, collection: str, assets: dict[str, Any], **properties: Any) -> dict[str, Any]:
    """An item of STAC 1.0 over a square degree in Holland."""
    ring = [[4.0, 51.0], [5.0, 51.0], [5.0, 52.0], [4.0, 52.0], [4.0, 51.0]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": collection,
        "bbox": [4.0, 51.0, 5.0, 52.0],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"datetime": "2023-07-01T11:01:05.123000Z", **properties},
        "links": [],
        "assets": {key: value if isinstance(value, dict) else {"href": value} for key, value in assets.items()},
    }


def earth_search(name: str = "S2A_31UFU_20230701_0_L2A", *, applied: bool = True, **more: Any) -> dict[str, Any]:
    """Of Earth Search v1: its COGs have the offset taken off, and ``raster:bands`` still names it."""
    root = "https://sentinel-cogs.s3.us-west-2.amazonaws.com/sentinel-s2-l2a-cogs/31/U/FU/2023/7/" + name
    names = {"red": "B04", "green": "B03", "blue": "B02", "nir": "B08", "scl": "SCL", "visual": "TCI"}
    assets = {
        key: {
            "href": f"{root}/{band}.tif",
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "proj:shape": [10980, 10980] if band != "SCL" else [5490, 5490],
            "raster:bands": [{"nodata": 0, "scale": 0.0001, "offset": -0.1}],
        }
        for key, band in names.items()
    }
    facts: dict[str, Any] = {
        "platform": "sentinel-2a", "constellation": "sentinel-2", "eo:cloud_cover": 12.5, "gsd": 10,
        "updated": "2023-07-02T05:00:00.000Z", "s2:processing_baseline": "05.09", "s2:product_uri": PRODUCT,
        "s2:sequence": "0", "earthsearch:boa_offset_applied": applied, "grid:code": "MGRS-31UFU",
    }  # fmt: skip
    return item(name, "sentinel-2-l2a", assets, **{**facts, **more})


def planetary_computer(signature: str = "") -> dict[str, Any]:
    """Of the Planetary Computer: the agency's values with their offset, addresses signed for an hour."""
    root = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/31/U/FU/2023/07/01/x.SAFE/GRANULE/IMG_DATA/R10m"
    assets = {band: f"{root}/T31UFU_{band}_10m.tif{signature}" for band in ("B02", "B03", "B04", "SCL")}
    return item(
        "S2A_MSIL2A_20230701T105629_R094_T31UFU_20230701T171358", "sentinel-2-l2a", assets,
        **{"platform": "Sentinel-2A", "s2:processing_baseline": "05.09", "s2:product_uri": PRODUCT,
           "eo:cloud_cover": 12.5},
    )  # fmt: skip


def maxar(tile: str = "031133102003") -> dict[str, Any]:
    """Of Maxar's open data: one tile of an acquisition; addresses relative to the item."""
    name = "10300100DFC06D00"
    assets = {key: f"./{name}-{key}.{end}" for key, end in
              {"visual": "tif", "pan_analytic": "tif", "data-mask": "gpkg", "cloud-mask": "gpkg"}.items()}  # fmt: skip
    return item(f"31/{tile}/{name}", name, assets, **{"platform": "WV02", "gsd": 0.36, "tile:clouds_percent": 3})


def umbra() -> dict[str, Any]:
    """Of Umbra's open data: assets are called by their files."""
    stem = "2023-07-23-18-02-43_UMBRA-05"
    assets = {f"{stem}_{kind}": f"{stem}_{kind}" for kind in ("GEC.tif", "SICD.nitf", "METADATA.json")}
    return item("6f9a2b4c", "umbra-sar", assets, platform="UMBRA_05")


def naip() -> dict[str, Any]:
    """Of Earth Search's NAIP: in a bucket whose readers pay."""
    href = "s3://naip-analytic/ct/2021/60cm/rgbir_cog/41075/m_4107501_ne_18_060_20210828.tif"
    return item("ct_m_4107501_ne_18_060_20210828", "naip", {"image": href}, gsd=0.6)


def aerial(**asset: Any) -> dict[str, Any]:
    """Of OpenAerialMap: any sensor and size of pixel in one collection."""
    image = {"href": "https://oin-hotosm.s3.amazonaws.com/64/0/64.tif", "type": "image/tiff", **asset}
    return item("64b0", "openaerialmap", {"image": image, "thumbnail": "64.png"}, gsd=0.05, license="CC-BY-4.0")


def write_static(root: Path, items: list[dict[str, Any]], *, circular: bool = True) -> Path:
    """A catalogue with a collection for each of the items' own, links relative; the root's address is returned."""
    names = sorted({str(one["collection"]) for one in items})
    for name in names:
        links = [{"rel": "root", "href": "../catalog.json"}]
        links += [{"rel": "child", "href": "../catalog.json"}] if circular else []
        for place, one in enumerate(entry for entry in items if entry["collection"] == name):
            links.append({"rel": "item", "href": f"./items/{place}.json"})
            file = root / name / "items" / f"{place}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(one))
        content = {"type": "Collection", "stac_version": "1.0.0", "id": name, "links": links}
        (root / name / "collection.json").write_text(json.dumps(content))
    links = [{"rel": "child", "href": f"{name}/collection.json"} for name in names]
    (root / "catalog.json").write_text(json.dumps({"type": "Catalog", "stac_version": "1.0.0", "id": "root",
                                                   "links": links}))  # fmt: skip
    return root / "catalog.json"
