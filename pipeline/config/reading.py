"""Settings of reading: pixels, and how a scene is cut into tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.config.checks import require
from pipeline.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class RasterConfig:
    """How pixels are read and brought to 8 bit."""

    bands: tuple[int, ...] | None = None
    """Bands to read, counted from 1, in the model's channel order. Default: those that the file declares red, green and
    blue, else the first three, or the only one thrice."""
    page: int | None = None
    """Page of a TIFF that has several, counted from 1. Default: the first, with a warning."""
    stretch: Literal["percentile", "none", "minmax", "fixed"] = "percentile"
    """How 16-bit and float pixels become 8-bit, once per scene; 8-bit scenes are left alone unless ``fixed``."""
    stretch_low_percent: float = 1.0
    """Percentile of the valid pixels that becomes 0, percent."""
    stretch_high_percent: float = 99.0
    """Percentile of the valid pixels that becomes 255, percent."""
    stretch_range: tuple[float, float] | None = None
    """With ``stretch=fixed``: the pixel values that become 0 and 255."""
    nodata: float | None = None
    """Pixel value that means "no data", in place of the file's own, in every band."""
    mask: Literal["auto", "none"] = "auto"
    """``none`` ignores masks and alpha bands, as for near infrared that a writer flagged as alpha."""
    mask_file: str | None = None
    """A raster of classes that covers what the scene covers, at any resolution, such as Sentinel-2's SCL."""
    mask_values: tuple[int, ...] = ()
    """Values of ``mask_file`` where the scene shows nothing: of SCL e.g. [3, 8, 9, 10], shadows and clouds."""
    crs: str | None = None
    """CRS of the scene, in place of its own: EPSG:32633, WKT, a PROJ string; ``none`` detects in pixels alone."""
    rpc_height_m: float | None = None
    """Height of the ground where RPCs place a scene, metres above the WGS84 ellipsoid. Default: their HEIGHT_OFF."""
    allow_vrt: bool = False
    """Accept VRT files. They can make this machine read any file or address, so only for files you trust."""
    allow_vsi: bool = False
    """Accept GDAL's names of virtual files (/vsizip/…, /vsigs/…). Only for names that you wrote yourself."""
    requester_pays: bool = False
    """Say to S3 that who reads pays for it, which some buckets want (NAIP's): AWS_REQUEST_PAYER, for these scenes."""
    max_gigapixels: float = 500.0
    """Refuse a scene that promises more pixels than this, itself or resampled to the lattice; billions."""
    max_bands: int = 1024
    """Refuse a scene that promises more bands than this."""
    max_block_mb: int = 512
    """Refuse a scene, or an overview, whose unit of decoding (a tile or strip of the file) is larger, megabytes."""
    gdal_cache_mb: int = 64
    """GDAL's block cache per process, megabytes."""

    def __post_init__(self) -> None:
        require(
            self.bands is None or (len(self.bands) > 0 and min(self.bands) >= 1), "raster.bands: bands count from 1"
        )
        require(self.page is None or 1 <= self.page <= 65_535, "raster.page: pages count from 1")
        require(
            0 <= self.stretch_low_percent < self.stretch_high_percent <= 100,
            "raster.stretch_low_percent must be below raster.stretch_high_percent, both in [0, 100]",
        )
        require(
            self.stretch != "fixed" or self.stretch_range is not None,
            "raster.stretch=fixed needs raster.stretch_range, e.g. --raster.stretch_range '[0, 4000]'",
        )
        require(
            self.stretch_range is None or self.stretch_range[0] < self.stretch_range[1],
            "raster.stretch_range: the first value must be below the second",
        )
        require(
            self.mask_file is None or len(self.mask_values) > 0,
            "raster.mask_file needs raster.mask_values, the values that are holes, as in --raster.mask_values 3 8 9",
        )
        require(self.crs is None or bool(self.crs.strip()), "raster.crs is empty; give a code such as EPSG:32633")
        require(
            self.rpc_height_m is None or -12_000 <= self.rpc_height_m <= 100_000,
            "raster.rpc_height_m must be metres in [-12000, 100000]",
        )
        require(self.max_gigapixels > 0, "raster.max_gigapixels must be positive")
        require(self.max_bands >= 1, "raster.max_bands must be at least 1")
        require(self.max_block_mb >= 1, "raster.max_block_mb must be at least 1")
        require(self.gdal_cache_mb >= 8, "raster.gdal_cache_mb must be at least 8")


@dataclass(frozen=True, kw_only=True)
class TilingConfig:
    """How a scene is cut into tiles, and at which ground sample distance."""

    gsd: str = "model"
    """``model`` resamples the scene to the model's GSD, ``native`` leaves it, a number is a GSD in metres."""
    tile_px: int | None = None
    """Side of a tile in lattice pixels, halo included. Default: the model's input size times global_factor."""
    halo_px: int | None = None
    """Overlap kept around a tile's core, lattice pixels. Default: the model's longest object."""
    halo_m: float | None = None
    """The same in metres on the ground; excludes halo_px."""
    global_factor: float = 1.0
    """Each tile is shrunk by this for a first look, and looked at again where that was unsure; 1 is one look at all."""
    block_mpx: float = 24.0
    """Largest block (tiles read in one go), millions of lattice pixels. Bounds memory per worker."""
    skip_empty: bool = True
    """Skip tiles that hold no valid pixel (nodata, mask, alpha), judged on an overview."""

    def __post_init__(self) -> None:
        if self.gsd not in ("model", "native"):
            try:
                metres = float(self.gsd)
            except ValueError as error:
                raise ConfigError(f"tiling.gsd must be model, native or metres, not {self.gsd!r}") from error
            require(0 < metres < 1e6, "tiling.gsd: metres must be positive")
        require(self.tile_px is None or self.tile_px >= 32, "tiling.tile_px must be at least 32 pixels")
        require(self.halo_px is None or self.halo_px >= 0, "tiling.halo_px must not be negative")
        require(self.halo_m is None or self.halo_m >= 0, "tiling.halo_m must not be negative")
        require(self.halo_px is None or self.halo_m is None, "give tiling.halo_px or tiling.halo_m, not both")
        require(1.0 <= self.global_factor <= 16, "tiling.global_factor must be in [1, 16]")
        require(self.block_mpx > 0, "tiling.block_mpx must be positive")
