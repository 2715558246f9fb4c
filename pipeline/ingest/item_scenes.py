"""STAC items → scenes. Whatever an item holds, the answer is a scene or one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pipeline.ingest.assembly import with_settings
from pipeline.ingest.feed_file import FeedConfig
from pipeline.ingest.hrefs import resolved, why_not_read, without_commas
from pipeline.ingest.item_assets import Odd, check_one_grid, chosen_assets
from pipeline.ingest.scene_to_do import SceneToDo, Unusable, hint_of, scene_id_of_key, scene_key
from pipeline.ingest.sentinel2 import Product, product_of_item
from pipeline.ingest.times import moment
from pipeline.names import public_uri, quoted, shown

ITEMS = "items"
"""Stands for the collection in keys of items that name none."""


def scene_of_item(feed: FeedConfig, item: Any, href: str) -> SceneToDo | Unusable:
    """The scene of a STAC item (1.0 or 1.1) that was read at ``href``, to which its addresses are relative."""
    name = item.get("id") if isinstance(item, Mapping) else None
    if not isinstance(name, str) or not name:
        return Unusable(key=scene_key(feed.name, ITEMS, public_uri(href)), reason=f"{shown(href)} is no STAC item")
    key = scene_key(feed.name, _collection(item), name)
    try:
        return _scene(feed, item, href, key)
    except Odd as error:
        return Unusable(key=key, reason=f"{quoted(name)} {error}")


def _scene(feed: FeedConfig, item: Mapping[str, Any], href: str, key: str) -> SceneToDo:
    properties, name = item.get("properties"), str(item["id"])
    if item.get("type") != "Feature" or not isinstance(properties, Mapping):
        raise Odd("is no STAC item: it has no properties, or is no GeoJSON feature")
    assets = _assets(item)
    chosen = chosen_assets(_collection(item), assets, feed.source.layout, feed.source.bands)
    row, told = chosen.row, [assets[one] for one in chosen.keys]
    check_one_grid(assets, chosen.keys)
    uris = [_uri(href, one) for one in told]
    product = product_of_item(properties) if row.radiometry == "sentinel-2" else None
    updated = moment(properties.get("updated"))
    licence = properties.get("license")
    scene = SceneToDo(
        key=key, scene_id=scene_id_of_key(key, name), uri=",".join(uris),
        hint=hint_of(updated=updated, hrefs=uris, marks=[one.get("file:checksum") for one in told]),
        acquired=_acquired(properties), updated=updated, bbox=_bbox(item),
        cloud_cover=_percent(properties), gsd_m=_gsd(properties, told) or row.gsd_m,
        sensor=_first_text(properties, ("platform", "constellation")) or row.sensor,
        licence=licence if isinstance(licence, str) and licence not in NO_LICENCE else row.licence,
        offset_dn=0.0 if product is None else product.offset_dn,
        supersedes=None if product is None else product.view, rank=_rank(product), item_href=href,
        signer=row.signer,
    )  # fmt: skip
    pays = row.requester_pays or any(one.get("storage:requester_pays") is True for one in (properties, *told))
    mask = assets.get(row.validity, {}).get("href")
    beside = resolved(href, mask) if isinstance(mask, str) else None
    if beside is not None and why_not_read(href, beside) is not None:
        beside = None
    return with_settings(feed, scene, row, pays=pays, mask=beside, facts={})


def _collection(item: Mapping[str, Any]) -> str:
    named = item.get("collection")
    return named if isinstance(named, str) and named else ITEMS


NO_LICENCE = ("proprietary", "other", "various")
"""What STAC has items say where a licence has no name; the row of the layout knows better."""


def _assets(item: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    assets = item.get("assets")
    if not isinstance(assets, Mapping):
        raise Odd("has no assets")
    return {
        str(key): one for key, one in assets.items() if isinstance(one, Mapping) and isinstance(one.get("href"), str)
    }


def _uri(base: str, asset: Mapping[str, Any]) -> str:
    uri = resolved(base, asset["href"])
    reason = why_not_read(base, uri)
    if reason is not None:
        raise Odd(reason)
    plain = without_commas(uri)
    if plain is None:
        raise Odd(f"names {shown(uri)}, and a comma in a name joins files: rename it")
    return plain


def _acquired(properties: Mapping[str, Any]) -> datetime | None:
    """``datetime``, or where it is null the beginning; Odd for what is no time."""
    value = properties.get("datetime")
    value = properties.get("start_datetime") if value is None else value
    found = moment(value)
    if found is None and value is not None:
        raise Odd(f"is dated {quoted(value)}, which is no time")
    return found


def _bbox(item: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    """West, south, east, north of two or three dimensions; Odd for what is no box on Earth."""
    box = item.get("bbox")
    if box is None:
        return None
    numbers = _numbers(box)
    if numbers is not None and len(numbers) == 6:
        numbers = [*numbers[:2], *numbers[3:5]]
    if numbers is None or len(numbers) != 4:
        raise Odd(f"has the bbox {quoted(str(box))}, which is none")
    west, south, east, north = numbers
    if not (-180 <= west <= 360 and -180 <= east <= 360 and -90 <= south <= north <= 90):
        raise Odd(f"has the bbox {quoted(str(box))}, which is no west, south, east, north in degrees")
    return west, south, east, north


def _numbers(value: Any) -> list[float] | None:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return None
    found = [_number(one) for one in value]
    return None if None in found else [one for one in found if one is not None]


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _percent(properties: Mapping[str, Any]) -> float | None:
    """Of clouds; the second name is that of Maxar's items."""
    return next((found for key in ("eo:cloud_cover", "tile:clouds_percent")
                 if (found := _number(properties.get(key))) is not None), None)  # fmt: skip


def _gsd(properties: Mapping[str, Any], assets: Sequence[Mapping[str, Any]]) -> float | None:
    """Metres: what the assets say, else the item."""
    found = next((one for source in (*assets, properties) if (one := _number(source.get("gsd"))) is not None), None)
    return found if found is not None and found > 0 else None


def _first_text(properties: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    return next((value for key in keys if isinstance(value := properties.get(key), str) and value), None)


def _rank(product: Product | None) -> str:
    return "" if product is None else product.rank
