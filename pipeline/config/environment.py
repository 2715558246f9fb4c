"""Variables of the environment that make PROJ and GDAL use what another installation left there, to be ignored.

The wheels of rasterio, pyproj and pyogrio each carry a PROJ or GDAL of their own, with its own data. A shell that was
made ready for another one (conda, QGIS, a system's GDAL) names data of another version, plug-ins, and ways to read
files differently: good scenes are then called bad, or lie elsewhere. Each library reads some of these when it is
imported, some when a file is opened; so they are hidden both while it is imported and while we work, and put back.
Addresses, proxies, certificates and credentials are left alone, and so are sizes of caches and what is logged.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path

DATA = {
    "PROJ_DATA": (("rasterio", "proj_data"), ("pyogrio", "proj_data"), ("pyproj", "proj_dir")),
    "PROJ_LIB": (("rasterio", "proj_data"), ("pyogrio", "proj_data"), ("pyproj", "proj_dir")),
    "GDAL_DATA": (("rasterio", "gdal_data"), ("pyogrio", "gdal_data")),
}
"""Variables that name data → the folders that libraries carry in its place. Where one carries none (built from source,
or by conda), the variable may be how it finds any, and stays."""

NAMES = frozenset({
    "PROJ_AUX_DB", "PROJ_NETWORK", "PROJ_NETWORK_ENDPOINT", "PROJ_USER_WRITABLE_DIRECTORY", "PROJ_ONLY_BEST_DEFAULT",
    "PROJ_IGNORE_CELESTIAL_BODY", "PROJ_IGNORE_INSTANTIATION_ERRORS", "PROJ_FORCE_SEARCH_PIVOT",
    "PROJ_USE_PROJ4_INIT_RULES",
    "GDAL_DRIVER_PATH", "OGR_DRIVER_PATH", "GDAL_PYTHON_DRIVER_PATH", "GDAL_SKIP", "OGR_SKIP",
    "GDAL_GEOREF_SOURCES", "GDAL_IGNORE_AXIS_ORIENTATION", "GDAL_USE_GEOJP2", "GDAL_USE_GMLJP2",
    "GDAL_JP2K_ALT_OFFSETVECTOR_ORDER", "GDAL_JPEG_TO_RGB", "GDAL_ENABLE_TIFF_SPLIT", "GDAL_RASTERIO_RESAMPLING",
    "GDAL_OVERVIEW_OVERSAMPLING_THRESHOLD", "GDAL_NO_COSTLY_OVERVIEW", "GDAL_TIFF_INTERNAL_MASK",
    "GDAL_TIFF_INTERNAL_MASK_TO_8BIT", "GDAL_TIFF_ENDIANNESS", "GDAL_STRUCTURAL_METADATA", "TIFF_USE_OVR",
    "USE_TILE_AS_BLOCK", "USE_RRD", "CPL_CSV", "OGR_CURRENT_DATE", "OGR_WKT_PRECISION",
})  # fmt: skip
PREFIXES = ("GTIFF_", "OSR_", "OGR_CT_", "OGR_SQLITE_", "OGR_GPKG_", "OGR_GEOJSON_", "GDAL_PAM_", "GDAL_VRT_", "VRT_",
            "JP2OPENJPEG_", "OPJ_")  # fmt: skip
"""More names, and beginnings of names, that change which files are read, how, or where they lie."""


def foreign() -> tuple[str, ...]:
    """The variables in the environment that are not for the libraries we use, sorted."""
    return tuple(sorted(name for name in os.environ if _is_foreign(name)))


@contextmanager
def hidden() -> Iterator[tuple[str, ...]]:
    """Inside, :func:`foreign` variables are gone from this process and from those it starts; yields their names."""
    names = foreign()
    kept = {name: os.environ.pop(name) for name in names}
    try:
        yield names
    finally:
        for name, value in kept.items():
            os.environ.setdefault(name, value)


def ignored_sentence(names: tuple[str, ...]) -> str:
    """The warning for variables that were hidden."""
    return (
        f"{', '.join(names)} in the environment {'is' if len(names) == 1 else 'are'} ignored: data, plug-ins and "
        "settings of another installation's PROJ or GDAL would change results; unset them to be rid of this line"
    )


def carried(package: str, folder: str) -> Path | None:
    """A folder of data that an installed package carries; None when it carries none."""
    spec = find_spec(package)
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    return next((Path(place) / folder for place in places if (Path(place) / folder).is_dir()), None)


@cache
def _carries_all(folders: tuple[tuple[str, str], ...]) -> bool:
    return all(carried(package, folder) is not None for package, folder in folders)


def _is_foreign(name: str) -> bool:
    if name in DATA:
        return _carries_all(DATA[name])
    return name in NAMES or name.startswith(PREFIXES)
