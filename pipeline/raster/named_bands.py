"""Which bands of a scene a model is shown that looks at other ones than red, green and blue: near infrared, say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rasterio.enums import ColorInterp

from pipeline.config import RasterConfig
from pipeline.errors import NoSuchBands
from pipeline.names import listed, public_uri
from pipeline.raster.colours import Bands, choose_bands, named_colours, white_is_zero
from pipeline.types.cards import NEAR_INFRARED, RGB

NOT_NEAR = {"swir", "shortwave", "short", "thermal", "tir", "mid", "far"}
"""Words that make another infrared of a name."""
CODES = {"nir", "nir1", "b08", "b8"}
"""Sentinel-2's among them; Landsat's B5 is red edge to Sentinel-2, so a bare number five says nothing."""


def band_names(datasets: Sequence[Any], uris: Sequence[str]) -> tuple[str, ...]:
    """What each band is: ``red``, ``green``, ``blue``, ``nir``, or nothing where the file does not say.

    By descriptions, else by colour interpretation; of one-band files without a description, by the files' names.
    """
    first = datasets[0]
    if len(datasets) > 1 or first.count == 1:
        pairs = zip(datasets, uris, strict=True)
        texts = {place: one.descriptions[0] or Path(uri).stem for place, (one, uri) in enumerate(pairs, 1)}
        kinds: dict[int, str] = {}
    else:
        texts = {band: text or "" for band, text in enumerate(first.descriptions, 1)}
        kinds = {band: kind.name for band, kind in enumerate(first.colorinterp, 1)}
    infrared = {band for band, text in texts.items() if _is_near_infrared(text)}
    spoken = named_colours({band: text for band, text in texts.items() if band not in infrared})
    kinds = {band: kind for band, kind in kinds.items() if kind in ("red", "green", "blue") and not spoken}
    named = {**kinds, **spoken, **dict.fromkeys(infrared, NEAR_INFRARED)}
    return tuple(named.get(band, "") for band in texts)


def _is_near_infrared(text: str) -> bool:
    words = set(re.split(r"[^a-z0-9]+", text.strip().lower()))
    near = "infrared" in words or {"infra", "red"} <= words
    return not words & NOT_NEAR and bool(words & CODES or near)


def shown_bands(datasets: Sequence[Any], uris: Sequence[str], config: RasterConfig, wanted: tuple[str, ...]) -> Bands:
    """The bands a model is shown that calls its own ``wanted``: those of the configuration; by their names; else all of
    the file, in its order, where they are as many; else, for three bands, as colours are chosen.

    Raises ConfigError for bands the file has not, NoSuchBands where it does not say which are meant, SceneUnreadable.
    """
    if wanted == RGB or config.bands is not None:
        return choose_bands(datasets, uris, config)
    names = band_names(datasets, uris)
    image = list(range(1, len(names) + 1))
    if len(datasets) == 1:
        image = [band for band in image if datasets[0].colorinterp[band - 1] != ColorInterp.alpha or names[band - 1]]
    negative = len(names) == 1 and white_is_zero(datasets[0])
    found = {name: [band for band in image if names[band - 1] == name] for name in wanted}
    if all(len(bands) == 1 for bands in found.values()):
        chosen = tuple(found[name][0] for name in wanted)
        is_all = len(image) == len(chosen)
        return Bands(bands=chosen, negative=negative, warnings=() if is_all else (_read(chosen, wanted),))
    if len(image) == len(wanted):
        return Bands(bands=tuple(image), negative=negative, warnings=tuple(_misnamed(names, image, wanted)))
    if len(wanted) == 3:
        return choose_bands(datasets, uris, config)
    one = len(wanted) == 1
    error = NoSuchBands(
        f"the model looks at {listed(wanted)}, and {public_uri(uris[0])} does not say which of its {len(names)} "
        f"{'bands' if len(names) > 1 else 'band'} {'that is' if one else 'those are'}: name {'it' if one else 'them'} "
        f"with --raster.bands, or choose a detector of other bands with --weights"
    )
    error.band_names = names
    raise error


def _read(bands: Sequence[int], wanted: Sequence[str]) -> str:
    plural = "band {} is read, which the file calls {}" if len(bands) == 1 else "bands {} are read, which it calls {}"
    return f"{plural.format(listed(bands), listed(wanted))}; --raster.bands chooses otherwise"


def _misnamed(names: Sequence[str], image: Sequence[int], wanted: Sequence[str]) -> Iterator[str]:
    """The file has as many bands as the model, but calls them otherwise."""
    other = [names[band - 1] for band, name in zip(image, wanted, strict=True) if names[band - 1] not in ("", name)]
    if other:
        yield (
            f"the model looks at {listed(wanted)}, but the file holds {listed(other)}, and scores will suffer: "
            f"choose a detector of these bands with --weights, or others of the scene"
        )
