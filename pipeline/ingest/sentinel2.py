"""What names and items of Sentinel-2 products say: which acquisition it is, how it was processed, the offset in it.

Facts: Sentinel-2 Products Specification Document (names, and RADIO_ADD_OFFSET of processing baseline 04.00, from
25 January 2022 on, which shifts all values by 1,000 so that dark ones are not cut off at 0).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

OFFSET_DN = 1000.0
OFFSET_SINCE = "04.00"
PRODUCT = re.compile(
    r"(?P<platform>S2[A-D])_MSI(?P<level>L1C|L2A)_(?P<sensing>\d{8}T\d{6})_N(?P<baseline>\d{4})_R(?P<orbit>\d{3})"
    r"_T(?P<tile>[0-9A-Z]{5})_(?P<made>\d{8}T\d{6})(?:\.SAFE)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A product, by its name or its item."""

    acquisition: str
    """The same for all processings of one acquisition: platform, level, sensing time, tile and relative orbit."""
    baseline: str
    """Processing baseline, as ``05.09``; empty where nobody says."""
    made: str = ""
    """What orders processings of one baseline."""
    offset_applied: bool = False
    """The archive has taken the offset off already."""

    @property
    def offset_dn(self) -> float:
        """What was added to the pixel values, and is still in them."""
        return OFFSET_DN if self.baseline >= OFFSET_SINCE and not self.offset_applied else 0.0

    @property
    def rank(self) -> str:
        """Of one acquisition, the highest is the one to look at."""
        return f"{self.baseline or '00.00'} {self.made}"


def product_of_name(name: str) -> Product | None:
    """Of a product's name, with or without ``.SAFE``; None for other names."""
    match = PRODUCT.fullmatch(name)
    if match is None:
        return None
    acquisition = "_".join(match[part] for part in ("platform", "level", "sensing", "orbit", "tile"))
    return Product(
        acquisition=acquisition, baseline=f"{match['baseline'][:2]}.{match['baseline'][2:]}", made=match["made"]
    )


def product_of_item(properties: Mapping[str, Any]) -> Product | None:
    """Of an item's properties: by the name of its product, else by platform, time and tile. None where neither is told.

    Earth Search has taken the offset off the values of most of its items, and says so; their ``raster:bands`` go on
    naming it, and is not to be believed.
    """
    applied = properties.get("earthsearch:boa_offset_applied") is True
    baseline = _text(properties.get("s2:processing_baseline") or properties.get("processing:version"))
    named = product_of_name(_text(properties.get("s2:product_uri")))
    if named is not None:
        return Product(acquisition=named.acquisition, baseline=_baseline(baseline) or named.baseline, made=named.made,
                       offset_applied=applied)  # fmt: skip
    tile = _text(properties.get("s2:mgrs_tile") or properties.get("grid:code")).removeprefix("MGRS-")
    platform, taken = _text(properties.get("platform")).lower(), _text(properties.get("datetime"))
    if not (tile and platform and taken):
        return None
    made = _text(properties.get("s2:generation_time")) or _text(properties.get("s2:sequence"))
    level = _text(properties.get("processing:level") or properties.get("s2:product_type"))
    return Product(acquisition=f"{platform}_{level}_{taken[:19]}_{tile}", baseline=_baseline(baseline), made=made,
                   offset_applied=applied)  # fmt: skip


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _baseline(text: str) -> str:
    """``05.09`` of ``05.09``, ``5.9`` is none; of ``N0509`` too."""
    match = re.fullmatch(r"N?(\d{2})\.?(\d{2})", text)
    return f"{match[1]}.{match[2]}" if match else ""
