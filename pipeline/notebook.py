"""The main path for people in a notebook: one scene in, a GeoDataFrame back, nothing written. geopandas' only home."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import shapely

from pipeline.config import RunConfig
from pipeline.detectors.protocol import Detector
from pipeline.engine.local import LocalExecutor
from pipeline.errors import PipelineError
from pipeline.reporting.journal import Journal
from pipeline.runs.context import WARNING
from pipeline.runs.scene import table_of

if TYPE_CHECKING:
    import geopandas


def detect_frame(uri: str, detector: Detector, config: RunConfig | None = None) -> geopandas.GeoDataFrame:
    """Detect the scene at ``uri`` in this process.

    Returns the columns of ``detections.parquet`` with polygons in the scene's own CRS (none for a pixel scene).
    What a run warns of is a UserWarning here, also where an error follows. Raises SceneError or ConfigError as a run
    does, PipelineError when a tile failed.
    """
    import geopandas

    config, said = config or RunConfig(), list[str]()
    try:
        table, crs_wkt, failures = table_of(
            uri, detector.card, LocalExecutor(lambda: detector), config, Journal(said.append)
        )
    finally:
        for line in dict.fromkeys(said):
            warnings.warn(line.removeprefix(WARNING), stacklevel=2)
    if failures:
        raise PipelineError(f"{len(failures)} tiles of {uri} failed, first {failures[0].tile_id}: {failures[0].reason}")
    geometry = shapely.from_wkb(table.column("geometry").to_pylist())
    plain = table.drop_columns(["geometry", "bbox"]).to_pandas()
    return geopandas.GeoDataFrame(plain, geometry=geometry, crs=crs_wkt)
