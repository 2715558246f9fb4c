"""Which assets of a STAC item are the bands that a model is shown, by the table of layouts or by what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.ingest.layouts import LAYOUTS, ROWS, Layout
from pipeline.names import listed, public_uri, quoted

RGB = ("red", "green", "blue")
RASTERS = ("image/tiff", "image/jp2", "image/png", "image/jpeg")
GRID = ("proj:shape", "proj:transform", "proj:code", "proj:epsg")
"""What an asset says of its grid."""


class Odd(Exception):
    """What is wrong with an entry, as the end of a sentence that begins with its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What an item is read by."""

    row: Layout
    keys: tuple[str, ...]
    """Of the assets, in the order of the model's channels."""


def chosen_assets(
    collection: str, assets: Mapping[str, Mapping[str, Any]], layout: str, wanted: tuple[str, ...]
) -> Chosen:  # fmt: skip
    """The row of the item's layout, and its assets. ``wanted``: keys that the feed names itself. Raises Odd."""
    rows = ROWS if layout == "auto" else (LAYOUTS[layout],)
    own = [row for row in rows if row.collections is not None and row.collections.fullmatch(collection)
           and all(key in assets for key in row.requires)]  # fmt: skip
    if wanted:
        lacking = [key for key in wanted if key not in assets]
        if lacking:
            raise Odd(f"lacks the assets {listed(lacking)} (it has {listed(assets)})")
        row = next((row for row in own if _by_row(row, assets)), LAYOUTS["stac"])
        return Chosen(row=replace(row, settings=_unbanded(row)), keys=wanted)
    for row in own:
        keys = _by_row(row, assets)
        if keys:
            return Chosen(row=row, keys=keys)
    if layout not in ("auto", "stac"):
        raise Odd(f"is no item of the layout {layout} (collection {quoted(collection)}, assets {listed(assets)})")
    said = _by_names(assets)
    if said is None:
        raise Odd(f"does not say which of its assets are red, green and blue: name them in source.bands "
                  f"(it has {listed(assets) or 'none'})")  # fmt: skip
    keys, bands = said
    row = LAYOUTS["stac"]
    return Chosen(row=replace(row, settings={"raster.bands": bands}) if bands else row, keys=keys)


def check_one_grid(assets: Mapping[str, Mapping[str, Any]], keys: Sequence[str]) -> None:
    """Raise Odd for assets that say themselves that they cannot be the bands of one scene."""
    first = assets[keys[0]]
    for key in keys[1:]:
        for what in GRID:
            one, other = first.get(what), assets[key].get(what)
            if one is not None and other is not None and one != other:
                raise Odd(f"has assets of two grids: {what} is {quoted(str(one))} of {keys[0]} and "
                          f"{quoted(str(other))} of {key}")  # fmt: skip


def _by_row(row: Layout, assets: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """By the keys that the row knows, else by the names of the files; nothing where the item is none of its."""
    for order in row.bands:
        if all(key in assets for key in order):
            return order
    if row.files is None or row.bands:
        return ()
    matching = [key for key, asset in assets.items() if row.files.search(public_uri(str(asset.get("href", ""))))]
    return tuple(matching) if len(matching) == 1 else ()


def _unbanded(row: Layout) -> dict[str, Any]:
    return {key: value for key, value in row.settings.items() if key != "raster.bands"}


def _by_names(assets: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[str, ...], tuple[int, ...]] | None:
    """By the common names of bands, else the one raster among the data: its key, and which bands of it (all: none)."""
    names = {key: _band_names(asset) for key, asset in assets.items()}
    single = {band[0]: key for key, band in reversed(names.items()) if len(band) == 1}
    if all(colour in single for colour in RGB):
        return tuple(single[colour] for colour in RGB), ()
    for key, band in names.items():
        if all(colour in band for colour in RGB):
            return (key,), tuple(band.index(colour) + 1 for colour in RGB)
    for role in ("visual", "data"):
        found = [key for key, asset in assets.items() if role in _list(asset.get("roles")) and _is_raster(asset)]
        if len(found) == 1:
            return (found[0],), ()
    return None


def _band_names(asset: Mapping[str, Any]) -> list[str]:
    """Of STAC 1.1 (``bands``) or of its extension before (``eo:bands``); empty where a band has none."""
    bands = _list(asset.get("bands")) or _list(asset.get("eo:bands"))
    told = [band if isinstance(band, Mapping) else {} for band in bands]
    return [str(band.get("eo:common_name") or band.get("common_name") or band.get("name") or "") for band in told]


def _is_raster(asset: Mapping[str, Any]) -> bool:
    return str(asset.get("type", "")).split(";")[0].strip() in RASTERS


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
