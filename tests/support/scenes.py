"""Real raster files of every kind, for tests: dtypes, layouts, masks and georeferences that scenes arrive in.

``write_geotiff`` writes the array it is given; ``KINDS`` names ready-made files, each with a reason to exist.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine

UTM = "EPSG:32633"
NORTH_UP = Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0)

GEOREFERENCES: dict[str, tuple[str, Affine]] = {
    "utm_north_up": (UTM, NORTH_UP),
    "utm_south_up": (UTM, Affine(10.0, 0.0, 500_000.0, 0.0, 10.0, 4_990_000.0)),
    "utm_rotated": (UTM, Affine.translation(500_000, 5_000_000) @ Affine.rotation(30) @ Affine.scale(10, -10)),
    "utm_sheared": (UTM, Affine.translation(500_000, 5_000_000) @ Affine.shear(12, 5) @ Affine.scale(10, -10)),
    "utm_anisotropic": (UTM, Affine(10.0, 0.0, 500_000.0, 0.0, -20.0, 5_000_000.0)),
    "utm_south_zone": ("EPSG:32733", Affine(0.5, 0.0, 260_000.0, 0.0, -0.5, 6_240_000.0)),
    "geographic": ("EPSG:4326", Affine(1e-4, 0.0, 24.9, 0.0, -1e-4, 60.2)),
    "geographic_south_up": ("EPSG:4326", Affine(1e-4, 0.0, -70.0, 0.0, 1e-4, -33.1)),
    "web_mercator": ("EPSG:3857", Affine(10.0, 0.0, 2_630_000.0, 0.0, -10.0, 4_575_000.0)),
}
"""Name → (CRS, affine): every kind of transform that has no ground control points."""


def ground_control_points(width: int, height: int, transform: Affine = NORTH_UP) -> list[GroundControlPoint]:
    """Nine points of a 3 x 3 grid over the scene, exact under ``transform``."""
    columns, rows = np.linspace(0, width, 3), np.linspace(0, height, 3)
    return [GroundControlPoint(row, col, *(transform @ (col, row))) for row in rows for col in columns]


def picture(height: int, width: int, bands: int = 3, dtype: str = "uint8", seed: int = 0) -> NDArray[Any]:
    """(H, W, C) pixels over the whole range of ``dtype`` (0 to 1 for floats): slow waves plus noise, all different."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(columns / (9.0 + band)) * np.cos(rows / (13.0 - band)) for band in range(bands)]
    unit = np.clip(0.5 + 0.4 * np.stack(waves, axis=-1) + 0.08 * rng.standard_normal((height, width, bands)), 0, 1)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return unit.astype(kind)
    limits = np.iinfo(kind)
    return (limits.min + unit * (float(limits.max) - limits.min)).round().astype(kind)


def write_geotiff(
    path: Path, pixels: NDArray[Any], *, crs: str | None = UTM, transform: Affine | None = NORTH_UP,
    gcps: Sequence[GroundControlPoint] = (), tiled: bool = True, block_px: int = 64, compress: str | None = "deflate",
    interleave: str = "pixel", nodata: float | None = None, mask: NDArray[Any] | None = None, alpha: bool = False,
    overviews: Sequence[int] = (), tags: dict[str, str] | None = None, driver: str = "GTiff",
) -> Path:  # fmt: skip
    """Write ``pixels`` (H, W, C) as they are. ``mask`` (H, W, nonzero = valid) becomes an internal mask;
    ``alpha`` declares the last band an alpha band; ``block_px`` is a tile's side or a strip's rows."""
    height, width, bands = pixels.shape
    profile: dict[str, Any] = {"driver": driver, "width": width, "height": height, "count": bands,
                               "dtype": pixels.dtype.name, "nodata": nodata}  # fmt: skip
    if crs is not None:
        profile["crs"] = crs
    if gcps:
        profile["gcps"] = list(gcps)
    elif transform is not None:
        profile["transform"] = transform
    if driver == "GTiff":
        profile |= {"tiled": tiled, "blockysize": block_px, "interleave": interleave}
        profile |= {"blockxsize": block_px} if tiled else {}
        profile |= {"compress": compress} if compress else {}
    with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile) as file:
            if alpha:
                colours = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
                others = [ColorInterp.gray, *[ColorInterp.undefined] * bands]
                file.colorinterp = [*(colours if bands == 4 else others)[: bands - 1], ColorInterp.alpha]
            file.write(pixels.transpose(2, 0, 1))
            if mask is not None:
                file.write_mask(np.asarray(mask) != 0)
            file.update_tags(**(tags or {}))
        if overviews:
            with rasterio.open(path, "r+") as file:
                file.build_overviews(list(overviews), Resampling.nearest)
    return path


def disc(height: int, width: int) -> NDArray[np.bool_]:
    """(H, W) True inside the ellipse that touches the edges: a ragged valid area, as swaths have."""
    rows, columns = np.mgrid[0:height, 0:width]
    return ((rows + 0.5) / height - 0.5) ** 2 + ((columns + 0.5) / width - 0.5) ** 2 <= 0.25


HEIGHT, WIDTH = 150, 210
"""Size of the scenes of ``KINDS``: not a multiple of any block."""


def _nodata_zero(pixels: NDArray[Any]) -> NDArray[Any]:
    pixels = np.maximum(pixels, 1)
    pixels[~disc(*pixels.shape[:2])] = 0
    return pixels


def _float_with_nan() -> NDArray[Any]:
    pixels = picture(HEIGHT, WIDTH, 3, "float32")
    pixels[40:60, 30:90, 1] = np.nan
    return pixels


def _with_alpha(bands: int) -> NDArray[Any]:
    alpha = np.where(disc(HEIGHT, WIDTH), 255, 0).astype(np.uint8)
    return np.dstack([picture(HEIGHT, WIDTH, bands), alpha])


def _palette_png(path: Path) -> Path:
    pixels = (picture(HEIGHT, WIDTH, 1) // 64).astype(np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="PNG", width=WIDTH, height=HEIGHT, count=1, dtype="uint8") as file:
            file.write_colormap(1, {k: (60 * k, 255 - 60 * k, 7 * k, 255) for k in range(4)})
            file.write(pixels[..., 0], 1)
    return path


def _tiff(**options: Any) -> Callable[[Path], Path]:
    pixels = options.pop("pixels", None)

    def write(folder: Path) -> Path:
        made = pixels() if callable(pixels) else picture(HEIGHT, WIDTH)
        return write_geotiff(folder / "scene.tif", made, **options)

    return write


def _pixel_scene(driver: str, name: str, bands: int = 3) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        return write_geotiff(folder / name, picture(HEIGHT, WIDTH, bands), driver=driver, crs=None, transform=None)

    return write


def _dtype(dtype: str, bands: int = 3) -> Callable[[], NDArray[Any]]:
    return lambda: picture(HEIGHT, WIDTH, bands, dtype)


KINDS: dict[str, Callable[[Path], Path]] = {
    "tiled_uint8": _tiff(),
    "strip_uint8": _tiff(tiled=False, block_px=16),
    "one_strip_uint8": _tiff(tiled=False, block_px=HEIGHT),
    "uncompressed": _tiff(compress=None),
    "lzw": _tiff(compress="lzw"),
    "band_interleaved": _tiff(interleave="band"),
    "band_interleaved_strip": _tiff(interleave="band", tiled=False, block_px=8),
    "grey_uint8": _tiff(pixels=_dtype("uint8", 1)),
    "two_bands": _tiff(pixels=_dtype("uint8", 2)),
    "five_bands_uint16": _tiff(pixels=_dtype("uint16", 5)),
    "uint16": _tiff(pixels=_dtype("uint16")),
    "int16": _tiff(pixels=_dtype("int16")),
    "uint32": _tiff(pixels=_dtype("uint32")),
    "int32": _tiff(pixels=_dtype("int32")),
    "int8": _tiff(pixels=_dtype("int8")),
    "float32": _tiff(pixels=_dtype("float32")),
    "float64": _tiff(pixels=_dtype("float64")),
    "float32_nan": _tiff(pixels=_float_with_nan),
    "nodata_uint8": _tiff(pixels=lambda: _nodata_zero(picture(HEIGHT, WIDTH)), nodata=0),
    "nodata_uint16_strip": _tiff(pixels=lambda: _nodata_zero(picture(HEIGHT, WIDTH, 3, "uint16")), nodata=0,
                                 tiled=False, block_px=16),
    "all_nodata": _tiff(pixels=lambda: np.zeros((HEIGHT, WIDTH, 3), np.uint16), nodata=0),
    "mask": _tiff(mask=disc(HEIGHT, WIDTH)),
    "mask_uint16_overviews": _tiff(pixels=_dtype("uint16"), mask=disc(HEIGHT, WIDTH), overviews=(2, 4)),
    "rgba": _tiff(pixels=lambda: _with_alpha(3), alpha=True),
    "grey_alpha": _tiff(pixels=lambda: _with_alpha(1), alpha=True),
    "overviews": _tiff(overviews=(2, 4, 8)),
    "gcps": _tiff(gcps=ground_control_points(WIDTH, HEIGHT)),
    "jp2": _pixel_scene("JP2OpenJPEG", "scene.jp2"),
    "png": _pixel_scene("PNG", "scene.png"),
    "png_rgba": lambda folder: write_geotiff(folder / "scene.png", _with_alpha(3), driver="PNG", crs=None,
                                             transform=None),
    "png_palette": lambda folder: _palette_png(folder / "scene.png"),
    "jpeg": _pixel_scene("JPEG", "scene.jpg"),
    **{name: _tiff(crs=crs, transform=transform) for name, (crs, transform) in GEOREFERENCES.items()},
}  # fmt: skip
"""Name → function of a folder that writes one scene of HEIGHT x WIDTH pixels there and returns its path."""


def damage_block(path: Path, column: int, row: int) -> None:
    """Overwrite the bytes of one tile (or strip) of a GeoTIFF with zeros, as a bad sector does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            offset = int(file.get_tag_item(f"BLOCK_OFFSET_{column}_{row}", "TIFF", bidx=1))
            size = int(file.get_tag_item(f"BLOCK_SIZE_{column}_{row}", "TIFF", bidx=1))
    with path.open("r+b") as content:
        content.seek(offset)
        content.write(bytes(size))
