"""What is known of a scene before its pixels are read, and how they become 8 bit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundControlPoint:
    """A scene pixel position (corner convention) whose world position is known."""

    column: float
    row: float
    x: float
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RationalPolynomials:
    """RPCs (RPC00B): from the ground to the image of a scene that is not rectified, as quotients of cubic polynomials.

    Offsets and scales come in pairs: a value is normalised as ``(value - offset) / scale``. Line 0 and sample 0 are the
    *centre* of the first pixel, half a pixel from ours; longitudes and latitudes are WGS84 degrees, heights metres
    above its ellipsoid.
    """

    line_num: tuple[float, ...]
    """Twenty coefficients, and so are the others."""
    line_den: tuple[float, ...]
    sample_num: tuple[float, ...]
    sample_den: tuple[float, ...]
    line: tuple[float, float]
    sample: tuple[float, float]
    lat: tuple[float, float]
    lon: tuple[float, float]
    height: tuple[float, float]
    height_m: float
    """The one height at which the whole scene is taken to lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What the headers of one scene say. Holds no open file; pickles small; made by ``raster.open_scene``."""

    scene_id: str
    """Name of the output folder: the file stem, made safe for file systems."""
    uris: tuple[str, ...]
    """One raster, or several one-band rasters of one grid, in band order."""
    width: int
    """Scene pixels."""
    height: int
    """Scene pixels."""
    bands: tuple[int, ...]
    """1-based bands delivered, in order. With several ``uris``: band 1 of each."""
    band_count: int
    """Bands in the file (or the number of files)."""
    band_names: tuple[str, ...] = ()
    """``red``, ``green``, ``blue``, ``nir`` or nothing, of every band in the file, as far as it says. In no digest."""
    dtype: str
    """numpy name of the pixels' type, e.g. ``uint16``; of a palette image, of its colours: ``uint8``."""
    driver: str
    """GDAL driver name, e.g. ``GTiff``."""
    crs_wkt: str | None
    """WKT of the CRS; None for a pixel scene."""
    transform: tuple[float, float, float, float, float, float] | None
    """Affine (a, b, c, d, e, f): world = (a*col + b*row + c, d*col + e*row + f). None with GCPs or none at all."""
    gcps: tuple[GroundControlPoint, ...] = ()
    rpc: RationalPolynomials | None = None
    """Only where there is neither a transform nor control points; the CRS is then that of longitude and latitude."""
    palette: bool = False
    """Pixels are numbers of colours, and the colours are shown."""
    negative: bool = False
    """White is stored as 0: the stretch turns it over."""
    nodata: float | None = None
    """Of all bands that are read; None, too, where they differ."""
    band_nodata: tuple[float | None, ...] = ()
    """Of each of ``bands``, where they differ; else empty."""
    has_mask: bool = False
    """A mask, of the file or of single bands, an alpha band or transparent colours say which pixels are valid."""
    block_width: int = 1
    """Width in pixels of the unit the file is decoded in (the scene's width for strips)."""
    block_height: int = 1
    overviews: tuple[int, ...] = ()
    """Decimation factors of the overviews, e.g. (2, 4, 8)."""
    acquired: str | None = None
    """Acquisition time, ISO 8601, when tags or ``--meta`` give one."""
    sensor: str | None = None
    attribution: str | None = None
    warnings: tuple[str, ...] = ()
    """What the headers lack or contradict, one sentence each, with the remedy. In no digest."""

    @property
    def georeferenced(self) -> bool:
        return self.crs_wkt is not None and (self.transform is not None or bool(self.gcps) or self.rpc is not None)

    @property
    def tiled(self) -> bool:
        return self.block_width < self.width


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """One linear map to 8 bit per band, taken once per scene: ``255 * (v - low) / (high - low)``, clipped."""

    kind: str
    """none | percentile | minmax | fixed"""
    low: tuple[float, ...]
    high: tuple[float, ...]
    source: str
    """Where the numbers come from, e.g. ``overview 8``, ``decimated read 1/16``, ``config``."""
