"""Polygons with their attributes, from any vector file: what people have drawn, or corrected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.georeference.crs import named_crs, transformer
from pipeline.georeference.parquet_files import MAGIC, read_geoparquet
from pipeline.georeference.vector_files import Layer, read_layers
from pipeline.names import complaint, listed, shown
from pipeline.storage.fetching import fetched_file
from pipeline.types import FloatArray

LAYER = "layer"
"""Column that says which layer of the file a feature stands in, where no column of the file has that name."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """Polygons of one vector file."""

    shapes: NDArray[Any]
    """(N,) shapely polygons, each of one part."""
    columns: dict[str, NDArray[Any]]
    """Their attributes, (N,) each; None where there is none."""
    crs: str | None
    """WKT, PROJJSON or a code; None: the file names none."""
    notes: tuple[str, ...] = ()
    """What was left out, one sentence each."""

    def points_in(self, crs_wkt: str | None) -> FloatArray:
        """(P, 2) all their vertices one shape after another, x first, in another CRS; as they are where either is None.

        Not finite where that CRS has no answer.
        """
        points = np.asarray(shapely.get_coordinates(self.shapes), np.float64)
        if self.crs is None or crs_wkt is None or not len(points):
            return points
        x, y = transformer(self.crs, crs_wkt).transform(points[:, 0], points[:, 1])
        return np.column_stack([x, y])


def read_features(uri: str, called: str) -> Features:
    """The polygons of a GeoJSON, GeoPackage, GeoParquet, Shapefile or FlatGeobuf, with their attributes.

    A feature of several polygons is as many. ``called`` begins the sentences of errors (``the annotations x.gpkg``).
    Raises ConfigError when there is no such file, it is none of these formats or damaged, is still open in a program
    that keeps its changes beside it, its layers differ in CRS, or its CRS means nothing; StorageError when a store
    cannot be read.
    """
    reason = complaint(uri)
    if reason is not None:
        raise ConfigError(f"{called} is refused: {reason}")
    with fetched_file(uri) as path:
        journal = path.with_name(f"{path.name}-wal")
        if journal.exists() and journal.stat().st_size:
            raise ConfigError(
                f"{called} is open in another program, which keeps changes in {journal.name}: save and close it there"
            )
        with path.open("rb") as file:
            parquet = file.read(len(MAGIC)) == MAGIC
        layers = {"": read_geoparquet(path, called)} if parquet else read_layers(str(path), called, None)
    parts = {name: _polygons(layer, called) for name, layer in layers.items()}
    used = {name: layer for name, layer in layers.items() if len(parts[name][0])}
    systems = {layer.crs for layer in used.values()}
    if len(systems) > 1:
        raise ConfigError(f"{called}: its layers differ in CRS ({listed(used)}): give a file of the one you mean")
    crs = systems.pop() if systems else None
    if crs is not None:
        crs = named_crs(crs, called)
    rows = sum(len(layer.geometry) for layer in layers.values())
    left = rows - sum(len(np.unique(row)) for _, row in parts.values())
    notes = (f"{left} of {rows} features are no polygon with an area and were left out",) if left else ()
    names = list(dict.fromkeys(name for layer in layers.values() for name in layer.columns))
    columns = {name: _gathered([_column(layer, name, parts[at][1]) for at, layer in layers.items()]) for name in names}
    if len(layers) > 1 and LAYER not in columns:
        columns[LAYER] = _gathered([np.full(len(parts[at][1]), at, object) for at in layers])
    return Features(shapes=_gathered([shapes for shapes, _ in parts.values()]), columns=columns, crs=crs, notes=notes)


def _polygons(layer: Layer, called: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The polygons of a layer, and the row of each."""
    rows = np.flatnonzero(layer.geometry != None).astype(np.int64)  # noqa: E711
    try:
        shapes = shapely.from_wkb(layer.geometry[rows])
    except (shapely.errors.GEOSException, NotImplementedError, TypeError) as error:  # damaged, curved, or no WKB
        raise ConfigError(f"{called} has a shape that cannot be read ({shown(str(error).strip())})") from error
    while (shapely.get_type_id(shapes) >= shapely.GeometryType.MULTIPOINT).any():
        shapes, of = shapely.get_parts(shapes, return_index=True)
        rows = rows[of]
    if not np.isfinite(shapely.get_coordinates(shapes)).all():
        raise ConfigError(f"{called} has a coordinate that is not finite")
    polygons = (shapely.get_type_id(shapes) == shapely.GeometryType.POLYGON) & ~shapely.is_empty(shapes)
    keep = polygons & (shapely.area(shapely.convex_hull(shapes)) > 0)
    return shapes[keep], rows[keep]


def _column(layer: Layer, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
    if name not in layer.columns:
        return np.full(len(rows), None, object)
    return layer.columns[name][rows].astype(object)


def _gathered(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, object)
