"""Small trees in the layouts of real sources: real names, real GeoTIFF and JPEG 2000 files, few pixels."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

SAFE = "S2A_MSIL2A_20230701T105629_N0509_R094_T31UFU_20230701T171358"
SAFE_BEFORE = "S2A_MSIL2A_20230701T105629_N0301_R094_T31UFU_20230701T120000"
SAFE_L1C = "S2B_MSIL1C_20210705T105619_N0301_R094_T31UFU_20210705T130000"
NAIP = "m_4107501_ne_18_060_20210828"
MAXAR = "10300100DFC06D00"
UMBRA = "2023-07-23-18-02-43_UMBRA-05"
PX = 96


def write_band(
    path: Path, *, bands: int = 1, dtype: str = "uint16", gsd_m: float = 10.0, seed: int = 0, px: int = PX
) -> None:
    """A georeferenced GeoTIFF or (by its ending) JPEG 2000 file of ``px`` pixels a side, lossless, without nodata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(1, 250, (bands, px, px)).astype(dtype)
    driver = {".jp2": "JP2OpenJPEG", ".png": "PNG"}.get(path.suffix, "GTiff")
    options = {"QUALITY": "100", "REVERSIBLE": "YES"} if driver == "JP2OpenJPEG" else {}
    grid = Affine(gsd_m, 0, 600_000, 0, -gsd_m, 5_600_000)
    place = {} if driver == "PNG" else {"crs": "EPSG:32631", "transform": grid}
    size = {"width": px, "height": px, "count": bands, "dtype": dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver=driver, **size, **place, **options) as file:
            file.write(pixels)


def write_safe(root: Path, name: str = SAFE, *, bands: tuple[str, ...] = ("B02", "B03", "B04", "B08")) -> None:
    """A Sentinel-2 product: its 10 m bands, and of L2A coarser ones, the scene classification and a preview."""
    _, level, sensing, _, _, tile, _ = name.split("_")
    level = level.removeprefix("MSI")
    granule = root / f"{name}.SAFE" / "GRANULE" / f"{level}_{tile}_A041000_{sensing}"
    for place, band in enumerate(bands):
        fine = f"R10m/{tile}_{sensing}_{band}_10m.jp2" if level == "L2A" else f"{tile}_{sensing}_{band}.jp2"
        write_band(granule / "IMG_DATA" / fine, seed=place)
    if level == "L2A":
        write_band(granule / "IMG_DATA" / "R20m" / f"{tile}_{sensing}_B02_20m.jp2", gsd_m=20.0, px=PX // 2)
        write_band(
            granule / "IMG_DATA" / "R20m" / f"{tile}_{sensing}_SCL_20m.jp2", gsd_m=20.0, dtype="uint8", px=PX // 2
        )
        write_band(granule / "QI_DATA" / f"{tile}_{sensing}_PVI.jp2", dtype="uint8", bands=3)
    (root / f"{name}.SAFE" / "MTD_MSIL2A.xml").write_text("<xml/>")


def write_tree(root: Path) -> None:
    """One scene, or two, of every layout that folders have."""
    write_safe(root / "sentinel")
    write_safe(root / "sentinel", SAFE_L1C)
    naip = root / "naip" / "ct" / "2021" / "60cm" / "rgbir_cog" / "41075" / f"{NAIP}.tif"
    write_band(naip, bands=4, dtype="uint8", gsd_m=0.6)
    tile = root / "maxar" / "events" / "quake" / "ard" / "31" / "031133102003" / "2023-02-08"
    write_band(tile / f"{MAXAR}-visual.tif", bands=3, dtype="uint8", gsd_m=0.3)
    write_band(tile / f"{MAXAR}-ms.tif", bands=8, gsd_m=1.2)
    (tile / f"{MAXAR}-data-mask.gpkg").write_bytes(b"")
    umbra = root / "umbra" / "sar-data" / "tasks" / "port" / "6f9a" / UMBRA
    write_band(umbra / f"{UMBRA}_GEC.tif", dtype="uint8", gsd_m=0.5)
    (umbra / f"{UMBRA}_METADATA.json").write_text("{}")
    write_band(root / "dota" / "images" / "P0001.png", bands=3, dtype="uint8")
    labels = root / "dota" / "labelTxt" / "P0001.txt"
    labels.parent.mkdir(parents=True)
    labels.write_text("imagesource:GoogleEarth\ngsd:0.146343590398\n1 1 9 1 9 9 1 9 ship 0\n")
    write_band(root / "plain" / "harbour.tif", bands=3, dtype="uint8")
    write_band(root / "plain" / "harbour_udm2.tif", dtype="uint8")
    (root / "plain" / "harbour.tif.aux.xml").write_text("<PAMDataset/>")
