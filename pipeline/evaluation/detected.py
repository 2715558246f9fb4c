"""Detections to be judged: fresh ones by the product's main path, or those that a run has published."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from pipeline.config import RunConfig
from pipeline.detectors.weights import load
from pipeline.engine.local import LocalExecutor
from pipeline.errors import ConfigError
from pipeline.evaluation.report import detections_from_columns
from pipeline.outputs.geoparquet import read_detections
from pipeline.outputs.tables import Table
from pipeline.runs.context import SILENT
from pipeline.runs.scene import table_of
from pipeline.types import Detections, ModelCard


def detect_scenes(
    images: Mapping[str, Path], classes: Sequence[str], card: ModelCard, config: RunConfig
) -> tuple[dict[str, Detections], list[str]]:
    """Detections (frame SCENE, numbers of ``classes``) of every image, and a sentence for every tile that failed."""
    threads = config.cluster.threads
    executor = LocalExecutor(partial(load, config.weights, "auto", "float32", threads))
    found, notes = {}, []
    for name, path in images.items():
        table, _, failures = table_of(str(path), card, executor, config, SILENT)
        notes += [
            f"{name}: tile {one.tile_id} failed ({one.reason}): what it shows counts as missed" for one in failures
        ]
        found[name] = detections_from_columns(_columns(table), classes)
    return found, notes


def published_detections(files: Sequence[str], names: Iterable[str], classes: Sequence[str]) -> dict[str, Detections]:
    """Detections from Parquet files; each goes to the annotated scene whose file stem is its folder's name.

    Raises ConfigError for a scene that none is for.
    """
    tables = {Path(file).parent.name: read_detections(Path(file)) for file in files}
    wanted = list(names)
    absent = [name for name in wanted if Path(name).stem not in tables]
    if absent:
        raise ConfigError(
            f"no --detections for the annotated scene {absent[0]}: expected {Path(absent[0]).stem}/*.parquet"
        )
    return {name: detections_from_columns(_columns(tables[Path(name).stem]), classes) for name in wanted}


def _columns(table: Table) -> dict[str, list[object]]:
    parts = ("cx", "cy", "w", "h", "angle_rad")
    return {name: table.column(name).to_pylist() for name in ("class_name", "score", *(f"px_{p}" for p in parts))}
