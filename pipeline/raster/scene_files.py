"""Which files of a folder are scenes, told by their names alone; and what the others are, for a count of them.

A file that somebody names is always taken for a scene. Among those that were merely found, what is one is decided here:
the formats that scenes are read in, less what lies beside scenes in such formats too.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

RASTERS = (".tif", ".tiff", ".gtif", ".gtiff", ".btf", ".tf8", ".jp2", ".j2k", ".png", ".jpg", ".jpeg")
"""Endings of the formats that scenes are read in."""
PICTURES = (".png", ".jpg", ".jpeg")
PRODUCTS = (".safe", ".zarr")
"""Endings of folders that are one scene of many files."""

SIDECARS = (
    ".aux.xml", ".aux", ".xml", ".tfw", ".tifw", ".tiffw", ".jgw", ".pgw", ".j2w", ".wld", ".prj", ".rpb", ".imd",
    "_rpc.txt", ".json", ".geojson", ".txt", ".csv", ".md5", ".sha256", ".qml", ".cpg",
)  # fmt: skip
OVERVIEWS = (".ovr", ".rrd")
MASK_WORDS = frozenset({"mask", "masks", "msk", "cloudmask", "udm", "udm2", "scl", "qa"})
PICTURE_WORDS = frozenset({"thumb", "thumbnail", "browse", "quicklook", "ql", "preview", "overview"})
OURS = ("attention.tif", "difference.tif", "preview.png")
"""The rasters of a result."""

COLOURS = frozenset({"red", "green", "blue", "nir"})
NUMBERED = re.compile(r"[a-z]\d{1,2}a?")
"""A word that may name a band, as B04 and B8A do. On map sheets called A1, B1, C1 it does not."""

HIDDEN = "hidden files"
RESULT = "results of kestrel"
PRODUCT = "files of .SAFE and .zarr products, whose bands are to be joined with commas"
OVERVIEW = "overviews"
MASK = "masks"
SIDECAR = "side-cars and texts"
VRT = "VRT files, taken with --raster.allow_vrt true"
OTHER = "files of other formats"
BANDS = "bands of one scene, to be joined with commas"
PICTURE = "pictures of scenes"


def why_no_scene(names: Iterable[str], *, allow_vrt: bool = False) -> dict[str, str | None]:
    """Each name → what the file is instead of a scene, in a few words in the plural; None for a scene.

    ``names``: of files below one place, relative to it, parted by ``/``. Band files and pictures are told by what lies
    beside them. The order is kept.
    """
    reasons = {name: _by_itself(name, allow_vrt) for name in names}
    for name in _bands(name for name, reason in reasons.items() if reason is None):
        reasons[name] = BANDS
    rasters = [PurePosixPath(name) for name, reason in reasons.items() if reason is None]
    proper = {one.with_suffix("") for one in rasters if one.suffix.lower() not in PICTURES}
    for one in rasters:
        if one.suffix.lower() in PICTURES and one.with_suffix("") in proper:
            reasons[str(one)] = PICTURE
    return reasons


def is_product(folder: str) -> bool:
    """Whether a folder of this name is one scene of many files."""
    return folder.rstrip("/").lower().endswith(PRODUCTS)


def _by_itself(name: str, allow_vrt: bool) -> str | None:
    """As :func:`why_no_scene`, of what a name tells whatever lies beside it."""
    *folders, file = name.split("/")
    low, words = file.lower(), set(_words(file))
    if any(part.startswith(".") for part in (*folders, file)):
        return HIDDEN
    if file in OURS:
        return RESULT
    if any(map(is_product, folders)):
        return PRODUCT
    endings = {OVERVIEW: OVERVIEWS, MASK: (".msk",), SIDECAR: SIDECARS}
    known = next((reason for reason, ends in endings.items() if low.endswith(ends)), None)
    if known is not None:
        return known
    if low.endswith(".vrt"):
        return None if allow_vrt else VRT
    if not low.endswith(RASTERS):
        return OTHER
    if words & MASK_WORDS:
        return MASK
    return PICTURE if low.endswith(PICTURES) and words & PICTURE_WORDS else None


def _bands(names: Iterable[str]) -> Iterator[str]:
    """Those that differ from others beside them in the word that names a band, and in nothing else."""
    groups: dict[tuple[str, ...], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in names:
        folder, _, file = name.rpartition("/")
        words = _words(file)
        for position, word in enumerate(words):
            if word in COLOURS or NUMBERED.fullmatch(word):
                rest = (folder, *words[:position], "", *words[position + 1 :], file.rpartition(".")[2].lower())
                groups[rest][word].append(name)
    for group in groups.values():
        if len(group) > 1 and {word[0] for word in group if word not in COLOURS} <= {"b"}:
            for found in group.values():
                yield from found


def _words(file: str) -> list[str]:
    """Words of a file's name, small, without its ending."""
    return [word for word in re.split(r"[^a-z0-9]+", file.lower().rpartition(".")[0]) if word]
