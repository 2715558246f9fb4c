"""Which bands of a scene are shown as red, green and blue, and what a file says its numbers mean."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from rasterio.enums import ColorInterp

from pipeline.config import RasterConfig
from pipeline.errors import ConfigError, SceneUnreadable
from pipeline.names import public_uri, shown
from pipeline.raster.addresses import is_remote, vsi_path
from pipeline.types import ByteArray
from pipeline.types.cards import RGB

OTHERS = {"edge", "coastal", "infra", "near", "nir", "swir", "shortwave", "thermal", "i"}
"""Words that make another band of a name with a colour in it: red edge, coastal blue, near infra red, green I."""
INFRARED = {"nir", "nir1", "nir2", "infrared", "swir", "b8", "b08", "b8a"}
CODES = {"b04": "red", "b4": "red", "b03": "green", "b3": "green", "b02": "blue", "b2": "blue"}
"""Sentinel-2's and Landsat 8's and 9's."""
NO_PICTURE = {5: "cyan, magenta, yellow and black", 8: "CIE L*a*b*", 9: "CIE L*a*b* (ICC)", 10: "CIE L*a*b* (ITU)"}
"""TIFF's PhotometricInterpretation, where the bands are no colours that a screen shows."""
NO_COLOURS = {
    ColorInterp.cyan, ColorInterp.magenta, ColorInterp.yellow, ColorInterp.black, ColorInterp.hue,
    ColorInterp.saturation, ColorInterp.lightness, ColorInterp.Y, ColorInterp.Cb, ColorInterp.Cr,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Bands:
    """The bands that are read, and what is to be known of them."""

    bands: tuple[int, ...]
    """Counted from 1, in the model's order."""
    palette: bool = False
    """The pixels are numbers of colours, and their colours are shown: 8 bit, whatever the numbers are."""
    negative: bool = False
    """White is stored as 0, black as the largest value."""
    warnings: tuple[str, ...] = ()


def choose_bands(datasets: Sequence[Any], uris: Sequence[str], config: RasterConfig) -> Bands:
    """The bands of the configuration; or those that are declared red, green and blue; or the first three that are no
    alpha (a single one thrice). A file that contradicts itself gives a warning.

    Raises ConfigError for bands the file has not, SceneUnreadable for a file without a band that can be shown.
    """
    first, count = datasets[0], len(datasets) if len(datasets) > 1 else datasets[0].count
    if config.bands is not None:
        missing = [band for band in config.bands if band > count]
        if missing:
            raise ConfigError(
                f"raster.bands asks for band {missing[0]}, but {public_uri(uris[0])} has {count} "
                f"band{'s' if count > 1 else ''}, counted from 1"
            )
        return Bands(bands=config.bands, negative=count == 1 and white_is_zero(first))
    if len(uris) > 1:
        return Bands(bands=_first_three(range(1, count + 1)), warnings=tuple(_misordered(uris)))
    image = [band for band, kind in enumerate(first.colorinterp, 1) if kind != ColorInterp.alpha]
    if not image and config.mask == "none":
        image = list(range(1, count + 1))
    if not image:
        raise SceneUnreadable(
            f"{public_uri(uris[0])} has only an alpha band; name a file with an image band, or read this one as an "
            f"image with --raster.mask none"
        )
    _check_photometric(first, uris[0], image)
    bands, warnings = _declared(first, image)
    numbers = first.colorinterp[bands[0] - 1] == ColorInterp.palette
    palette = numbers and has_colours(first, bands[0])
    return Bands(
        bands=bands,
        palette=palette,
        negative=len(image) == 1 and not palette and white_is_zero(first),
        warnings=(*warnings, *_odd_alpha(first, config), *_odd_numbers(numbers=numbers, palette=palette)),
    )


def _first_three(bands: Sequence[int]) -> tuple[int, ...]:
    return tuple(bands[:3]) if len(bands) >= 3 else (bands[0],) * 3


def _declared(dataset: Any, image: Sequence[int]) -> tuple[tuple[int, ...], list[str]]:
    """The bands that colours or descriptions declare, of three or more; else the first three."""
    default = _first_three(image)
    if len(image) < 3:
        return default, []
    kinds = {band: dataset.colorinterp[band - 1].name for band in image}
    by_kind = _unique({band: name for band, name in kinds.items() if name in RGB})
    by_name = _unique(named_colours({band: dataset.descriptions[band - 1] or "" for band in image}))
    chosen = by_name if len(by_name) == 3 else by_kind
    if len(chosen) < 3:
        return default, list(_undeclared({*by_kind, *by_name}, default, len(image)))
    bands = tuple(chosen[colour] for colour in RGB)
    if len(by_kind) == 3 and by_kind != by_name and len(by_name) == 3:
        other = _listed([by_kind[colour] for colour in RGB])
        said = (
            f"the file contradicts itself: by the descriptions of its bands {_listed(bands)} are red, green and blue, "
            f"by their colour interpretation {other}; the descriptions are followed; if they are wrong, add "
            f"--raster.bands {' '.join(str(by_kind[colour]) for colour in RGB)}"
        )
        return bands, [said]
    told = f"bands {_listed(bands)} are read, which the file declares red, green and blue"
    return bands, [] if bands == default else [f"{told}; --raster.bands chooses others"]


def _undeclared(known: set[str], default: Sequence[int], count: int) -> Iterator[str]:
    remedy = "if that is wrong, give the model's bands with --raster.bands, e.g. --raster.bands 3 2 1"
    if known:
        missing = " and ".join(colour for colour in RGB if colour not in known)
        missing = f"no {missing}" if missing else "not clearly which bands are red, green and blue"
        yield f"the file declares {missing}: bands {_listed(default)} are read in this order; {remedy}"
    elif count > 3:
        yield (
            f"the file does not say which of its {count} bands are red, green and blue: bands {_listed(default)} are "
            f"read in this order; {remedy}"
        )


def _unique(colours: dict[int, str]) -> dict[str, int]:
    """Colour → band, of the colours that stand for one band only."""
    names = list(colours.values())
    return {colour: band for band, colour in colours.items() if names.count(colour) == 1}


def named_colours(texts: dict[int, str]) -> dict[int, str]:
    """Band → red, green or blue by descriptions such as ``Red``, ``B04``, ``SR_B4`` or ``Band 1: blue``."""
    plain = {band: text.strip().lower() for band, text in texts.items()}
    exact = {band: text for band, text in plain.items() if text in RGB}
    letters = {band: dict(zip("rgb", RGB, strict=True))[text] for band, text in plain.items() if text in set("rgb")}
    words = {band: set(re.split(r"[^a-z0-9]+", text)) for band, text in plain.items()}
    spoken = {band: colour for band, said in words.items() for colour in RGB if colour in said and not said & OTHERS}
    for known in ({**spoken, **exact}, letters):
        if len(exact) == 3 and known:
            return exact
        if set(known.values()) == set(RGB):
            return known
    everything = set().union(*words.values())
    numbered = "b1" in everything and not everything & {"b8", "b8a"}  # then b4 may be just the fourth
    coded = {
        band: CODES[word]
        for band, said in words.items()
        for word in said & CODES.keys()
        if word[1] == "0" or not numbered
    }
    return coded if set(coded.values()) == set(RGB) else {**spoken, **exact}


def _misordered(uris: Sequence[str]) -> Iterator[str]:
    """Files that are joined are read in the order they are given in; their names may say that it is another."""
    named = named_colours({place: Path(uri).stem for place, uri in enumerate(uris)})
    order = [named.get(place) for place in range(min(3, len(uris)))]
    if set(order) == set(RGB) and tuple(order) != RGB:
        yield (
            f"the files are read in the order given, as red, green and blue, but by their names they are "
            f"{order[0]}, {order[1]} and {order[2]}: name them in the model's order, or give --raster.bands "
            f"{' '.join(str(order.index(colour) + 1) for colour in RGB)}"
        )


def _odd_alpha(dataset: Any, config: RasterConfig) -> Iterator[str]:
    for band, kind in enumerate(dataset.colorinterp, 1):
        text = dataset.descriptions[band - 1] or ""
        if (
            config.mask == "auto"
            and kind == ColorInterp.alpha
            and INFRARED & set(re.split(r"[^a-z0-9]+", text.lower()))
        ):
            yield (
                f"the file contradicts itself: band {band} is flagged as alpha and described as {shown(text)}; where "
                f"it is 0, pixels are taken for holes; if it is an image band, add --raster.mask none"
            )


def _odd_numbers(*, numbers: bool, palette: bool) -> Iterator[str]:
    if palette:
        yield (
            "the pixels are numbers of colours (a palette), as in maps of classes and drawings: the model is shown "
            "their colours, and what it finds on a map is worth nothing; name the image itself, or read the numbers as "
            "grey with --raster.bands 1 1 1"
        )
    elif numbers:
        yield (
            "the file says that its pixels are numbers of colours but holds no table of them: they are shown as grey; "
            "name the image itself"
        )


def has_colours(dataset: Any, band: int) -> bool:
    """Whether there is a colour table of ``band``, counted from 1."""
    try:
        return bool(dataset.colormap(band))
    except ValueError:
        return False


def colour_table(file: Any, band: int) -> ByteArray:
    """(N, 3) colours of a palette image, whose pixels are only numbers of colours."""
    colours = file.colormap(band)
    table = np.zeros((max(256, *colours) + 1, 3), np.uint8)
    for index, colour in colours.items():
        table[index] = colour[:3]
    return table


def colour_alpha(file: Any, band: int) -> ByteArray | None:
    """(N,) alpha of the colours of a palette image; None where every number shows something.

    The number that is the file's nodata is left to that rule: GDAL calls its colour transparent, whoever overrides it.
    """
    clear = [index for index, colour in file.colormap(band).items() if colour[3] == 0]
    alpha = np.full(max(256, *clear, 0) + 1, 255, np.uint8)
    alpha[[index for index in clear if index != file.nodatavals[band - 1]]] = 0
    return None if alpha.all() else alpha


def white_is_zero(dataset: Any) -> bool:
    """Whether the file says that its smallest number is white."""
    return str(dataset.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE", "")).upper() == "YES"


def _check_photometric(dataset: Any, uri: str, image: Sequence[int]) -> None:
    """Raise SceneUnreadable for bands in colours that neither GDAL nor we turn into red, green and blue.

    GDAL does for 8 bits of CMYK, YCbCr and L*a*b*, and says so; for other types it hands out what is stored.
    """
    kinds = [dataset.colorinterp[band - 1] for band in image[:3]]
    stored = _listed([kind.name for kind in kinds]) if NO_COLOURS & set(kinds) else None
    converted = "SOURCE_COLOR_SPACE" in dataset.tags(ns="IMAGE_STRUCTURE")
    if stored is None and dataset.driver == "GTiff" and not is_remote(uri) and not converted:
        stored = NO_PICTURE.get(_photometric(Path(vsi_path(uri))) or 0)
    if stored is not None:
        raise SceneUnreadable(
            f"{public_uri(uri)} stores its colours as {stored} in {dataset.dtypes[0]}, which is not turned into red, "
            f"green and blue; convert it to RGB first, or choose bands as they are with --raster.bands"
        )


def _photometric(path: Path) -> int | None:
    """PhotometricInterpretation of a TIFF's first page, which GDAL does not tell of all; None where it has none."""
    try:
        with path.open("rb") as file:
            return _tag(file, 262)
    except (OSError, ValueError, KeyError):
        return None


def _tag(file: BinaryIO, wanted: int) -> int | None:
    """A tag of one short number, of a classic or a big TIFF."""
    order = {b"II": "little", b"MM": "big"}[file.read(2)]

    def number(size: int) -> int:
        return int.from_bytes(file.read(size), "little" if order == "little" else "big")

    big = number(2) == 43
    if big:
        number(4)
    file.seek(number(8 if big else 4))
    for _ in range(min(number(8 if big else 2), 4096)):
        tag, _, _, value = number(2), number(2), number(8 if big else 4), number(2)
        if tag == wanted:
            return value
        number(6 if big else 2)
    return None


def _listed(words: Sequence[object]) -> str:
    *most, last = map(str, words)
    return f"{', '.join(most)} and {last}" if most else last
