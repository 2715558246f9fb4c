"""Every knob of a run, once. The config file, the command line and ``--print_config`` are made from these.

Units are in the names. Ranges are checked when a value is made, so a bad one never gets past the start of a run.
The docstring under a field is its ``--help``. (No slots: jsonargparse reads defaults through ``__dict__``.)
"""

from __future__ import annotations

from pipeline.config.cluster import ClusterConfig
from pipeline.config.looking import DetectorConfig, MergeConfig, RefineConfig, Selector
from pipeline.config.reading import RasterConfig, TilingConfig
from pipeline.config.run import RunConfig
from pipeline.config.writing import ExportConfig, OutputConfig, WorkConfig

__all__ = [
    "ClusterConfig",
    "DetectorConfig",
    "ExportConfig",
    "MergeConfig",
    "OutputConfig",
    "RasterConfig",
    "RefineConfig",
    "RunConfig",
    "Selector",
    "TilingConfig",
    "WorkConfig",
]
