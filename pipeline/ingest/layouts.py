"""How sources lay out their scenes: a table of data. One row a source; nothing here is code.

A row says how its files or items are recognised, which of them are one scene, which are its bands, and what is to be
known of them that their headers do not say. What the columns mean stands in :class:`Layout`; where a row's facts come
from, in its ``documented``. Patterns are looked for in names below the feed's address, with ``/`` between folders, and
in the paths of assets; group ``scene`` is what tells scenes apart, and the names of other groups have one meaning:

    band      which band the file is; without it a file is a scene
    date      when it was taken, UTC
    sensor    the platform, as the name writes it
    gsd       ground sample distance: a key of the row's ``gsd_codes``
    group     what is the same acquisition, processed again or not;   rank: the highest is the one
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.raster.scene_files import RASTERS

Radiometry = Literal["as stored", "sentinel-2"]
Superseding = Literal["never", "by name", "sentinel-2"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One row."""

    name: str
    documented: str
    """Where its facts can be read."""
    files: re.Pattern[str] | None = None
    """Names of the files that are scenes or their bands."""
    owns: re.Pattern[str] | None = None
    """Where other files than those are no scenes either: masks, previews, the coarser bands."""
    collections: re.Pattern[str] | None = None
    """Ids of collections whose items are its; None where it has no items."""
    requires: tuple[str, ...] = ()
    """Assets that an item of it has beside its bands."""
    bands: tuple[tuple[str, ...], ...] = ()
    """Assets, or values of the group ``band``, in the order red, green, blue: the first tuple that is there whole.
    Nothing: the file is all bands."""
    validity: str = ""
    """Asset of an item that says which pixels show ground. It is recorded."""
    validity_files: re.Pattern[str] | None = None
    """The same, by its name in a folder, with a group ``scene``."""
    classes: bool = False
    """It is a raster of classes: applied where the feed says with ``raster.mask_values`` which of them are holes."""
    radiometry: Radiometry = "as stored"
    """Whether the archive added an offset; see :mod:`pipeline.ingest.sentinel2`."""
    superseding: Superseding = "never"
    """How a later version of the same acquisition is recognised."""
    sensor: str | None = None
    licence: str | None = None
    attribution: str | None = None
    gsd_m: float | None = None
    gsd_codes: Mapping[str, float] = field(default_factory=dict)
    """Group ``gsd`` of the name → metres."""
    sidecar: str = ""
    """A text file of ``key:value`` lines that says a scene's ``gsd``; ``{scene}`` stands for the scene's file name."""
    requester_pays: bool = False
    """Whether who reads it from S3 pays for it, which the request has to say."""
    signer: str | None = None
    """Where signatures for its files are to be had, see :mod:`pipeline.ingest.signing`."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Dotted keys of RunConfig for its scenes."""


COPERNICUS = "contains modified Copernicus Sentinel data"
SAFE_NAME = r"(?P<scene>(?P<sensor>S2[A-D])_MSIL(?:1C|2A)_(?P<date>\d{8}T\d{6})_N\d{4}_R\d{3}_T[0-9A-Z]{5}_\d{8}T\d{6})"

ROWS: tuple[Layout, ...] = (
    Layout(
        name="sentinel-2-safe",
        documented="Sentinel-2 Products Specification Document; sentiwiki.copernicus.eu",
        files=re.compile(
            rf"(?:^|/){SAFE_NAME}\.SAFE/GRANULE/[^/]+/IMG_DATA/(?:R10m/)?"
            r"T[0-9A-Z]{5}_\d{8}T\d{6}_(?P<band>B0[2348])(?:_10m)?\.jp2$"
        ),
        owns=re.compile(r"\.SAFE/"),
        bands=(("B04", "B03", "B02"),),
        validity_files=re.compile(rf"(?:^|/){SAFE_NAME}\.SAFE/GRANULE/[^/]+/IMG_DATA/R20m/[^/]+_SCL_20m\.jp2$"),
        classes=True,
        radiometry="sentinel-2",
        superseding="sentinel-2",
        licence="Copernicus Sentinel data terms",
        attribution=COPERNICUS,
        gsd_m=10.0,
        settings={"raster.nodata": 0.0},
    ),
    Layout(
        name="earth-search",
        documented="earth-search.aws.element84.com/v1",
        collections=re.compile(r"sentinel-2-(?:pre-)?(?:c1-)?l(?:1c|2a)"),
        bands=(("red", "green", "blue"),),
        validity="scl",
        classes=True,
        radiometry="sentinel-2",
        superseding="sentinel-2",
        licence="Copernicus Sentinel data terms",
        attribution=COPERNICUS,
        gsd_m=10.0,
        settings={"raster.nodata": 0.0},
    ),
    Layout(
        name="planetary-computer",
        documented="planetarycomputer.microsoft.com/dataset/sentinel-2-l2a",
        collections=re.compile(r"sentinel-2-l2a"),
        bands=(("B04", "B03", "B02"),),
        signer="https://planetarycomputer.microsoft.com/api/sas/v1/token",
        validity="SCL",
        classes=True,
        radiometry="sentinel-2",
        superseding="sentinel-2",
        licence="Copernicus Sentinel data terms",
        attribution=COPERNICUS,
        gsd_m=10.0,
        settings={"raster.nodata": 0.0},
    ),
    Layout(
        name="naip",
        documented="registry.opendata.aws/naip",
        files=re.compile(
            r"(?:^|/)(?P<scene>(?P<group>m_\d{7}_[ns][ew]_\d{1,2}_(?P<gsd>h|\d{1,3})_(?P<date>\d{8}))"
            r"(?P<rank>_\d{8})?)\.tif$"
        ),
        collections=re.compile(r"naip"),
        bands=(("image",),),
        superseding="by name",
        sensor="NAIP",
        licence="public domain",
        attribution="USDA-FPAC-BC-APFO, National Agriculture Imagery Program",
        gsd_codes={"h": 0.5, "030": 0.3, "060": 0.6, "1": 1.0, "2": 2.0, "100": 1.0},
        requester_pays=True,
        settings={"raster.bands": (1, 2, 3), "raster.mask": "none"},  # some call the fourth, near infrared, alpha
    ),
    Layout(
        name="maxar",
        documented="registry.opendata.aws/maxar-open-data; analysis-ready data, one tile of an acquisition a scene",
        files=re.compile(
            r"(?:^|/)ard/(?P<scene>\d{2}/[0-3]{6,}/(?P<date>\d{4}-\d{2}-\d{2})/[0-9A-F]{12,})-(?P<band>visual)\.tif$"
        ),
        owns=re.compile(r"(?:^|/)ard/\d{2}/[0-3]{6,}/"),
        collections=re.compile(r".*"),
        requires=("visual", "data-mask"),
        bands=(("visual",),),
        validity="data-mask",
        validity_files=re.compile(
            r"(?:^|/)ard/(?P<scene>\d{2}/[0-3]{6,}/\d{4}-\d{2}-\d{2}/[0-9A-F]{12,})-data-mask\.gpkg$"
        ),
        licence="CC-BY-NC-4.0",
        attribution="Vantor (Maxar) Open Data Program",
    ),
    Layout(
        name="umbra",
        documented="registry.opendata.aws/umbra-open-data",
        files=re.compile(
            r"(?:^|/)(?P<scene>(?P<date>\d{4}-\d{2}-\d{2}-\d{2}-\d{2}-\d{2})_(?P<sensor>UMBRA-\d{2}))(?:/[^/]*)?_GEC\.tif$"
        ),
        owns=re.compile(r"_UMBRA-\d{2}[/_]"),
        collections=re.compile(r".*"),
        licence="CC-BY-4.0",
        attribution="Umbra Lab Inc.",
    ),
    Layout(
        name="openaerialmap",
        documented="api.imagery.hotosm.org",
        collections=re.compile(r"openaerialmap|vantor-opendata"),
        bands=(("visual",), ("image",)),
        attribution="OpenAerialMap",
    ),
    Layout(
        name="dota",
        documented="captain-whu.github.io/DOTA",
        files=re.compile(r"(?:^|/)images/(?P<scene>P\d{4,5})\.(?:png|tiff?|jpg)$"),
        owns=re.compile(r"(?:^|/)labelTxt[^/]*/"),
        sidecar="labelTxt/{scene}.txt",
        licence="academic use only",
        attribution="DOTA",
    ),
    Layout(
        name="plain-folder",
        documented="pipeline/ingest/README.md",
        files=re.compile(rf"^(?P<scene>.+)(?:{'|'.join(map(re.escape, RASTERS))})$", re.IGNORECASE),
    ),
    Layout(
        name="stac",
        documented="stacspec.org: any item whose assets say which bands they are",
        collections=re.compile(r".*"),
        bands=(("red", "green", "blue"), ("B04", "B03", "B02"), ("visual",), ("image",), ("data",)),
    ),
)
"""In the order in which ``auto`` tries them; the last two take what no other knows."""

LAYOUTS: Mapping[str, Layout] = {row.name: row for row in ROWS}

NO_SCENE = re.compile(r"(?:^|[/_.-])(?:udm2?|masks?|thumbnail|preview|browse)(?:[_./-]|$)", re.IGNORECASE)
"""Names in a plain folder that are no scenes though they are rasters: masks and small pictures."""

BAND_ORDERS: tuple[tuple[str, ...], ...] = (
    ("B04", "B03", "B02"),
    ("B4", "B3", "B2"),
    ("red", "green", "blue"),
    ("R", "G", "B"),
)
"""What the group ``band`` of a pattern may be, red, green, blue, where the feed names no ``source.bands``."""
