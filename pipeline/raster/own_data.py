"""The libraries' own data and settings of PROJ and GDAL, whatever the environment names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from rasterio._env import del_gdal_config, get_gdal_config, set_gdal_config, set_proj_data_search_path

from pipeline.config.environment import carried, hidden
from pipeline.georeference.crs import offline


@contextmanager
def own_data() -> Iterator[tuple[str, ...]]:
    """Inside, rasterio, pyproj and pyogrio use what they carry themselves; yields the names of variables ignored.

    The environment comes back as it was. A rasterio that somebody imported before us, with another installation's data
    named, keeps its own data from now on, which is what its wheel expects. May be nested; not for threads side by side.
    """
    with hidden() as names, offline(), _silent_threads():
        proj, gdal = carried("rasterio", "proj_data"), carried("rasterio", "gdal_data")
        if proj is not None:
            set_proj_data_search_path(str(proj))
        if gdal is not None:
            set_gdal_config("GDAL_DATA", str(gdal))
        yield names


@contextmanager
def _silent_threads() -> Iterator[None]:
    """What GDAL's own threads say goes nowhere: they have no handler of ours, and addresses would come to stderr.

    Options reach them from the main thread alone; scenes that are worked on at once have theirs in other threads.
    """
    before = get_gdal_config("CPL_LOG")
    set_gdal_config("CPL_LOG", os.devnull)
    try:
        yield
    finally:
        if before is None:
            del_gdal_config("CPL_LOG")
        else:
            set_gdal_config("CPL_LOG", before)


@cache
def settle() -> tuple[str, ...]:
    """:func:`own_data` for the rest of the life of this process, for processes that are ours alone: Ray's workers."""
    manager = own_data()
    _SETTLED.append(manager)
    return manager.__enter__()


_SETTLED: list[object] = []
"""Holds the context of :func:`settle`: a generator that is let go would end it."""
