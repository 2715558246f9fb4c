"""Real results of tiny scenes, published by the main path with a detector that knows the truth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.control import GroundControlPoint
from rasterio.transform import Affine

from pipeline.config import ExportConfig, OutputConfig, RunConfig, TilingConfig
from pipeline.engine.local import LocalExecutor
from pipeline.runs.context import SILENT
from pipeline.runs.run import detect
from pipeline.synth.oracle import OracleDetector
from pipeline.types import ModelCard, Window
from tests.support.scenes import picture, write_geotiff

WIDTH, HEIGHT = 96, 64
UPRIGHT = Affine(10, 0, 400_000, 0, -10, 5_000_000)
CARD = ModelCard(
    name="tiny", classes=("ship", 'quay "crane"'), gsd_m=None, bands=("red", "green", "blue"), input_px=64,
    sha256="fedcba9876543210" * 4, oriented=True, score_threshold=0.4, licence="CC0-1.0", mean=(0.5, 0.4, 0.3),
    std=(0.25, 0.25, 0.25), network=("backbone of none", "head of truth"), training_data="nothing",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How a scene lies, and what it says of itself."""

    crs: str | None = "EPSG:32632"
    transform: Affine | None = UPRIGHT
    gcps: bool = False
    meta: tuple[str, ...] = ()
    attention: bool = False
    """Whether a map is exported too."""


def _turned(degrees: float) -> Affine:
    return Affine.translation(400_000, 5_100_000) @ Affine.rotation(degrees) @ Affine.scale(10, -10)


KINDS: Mapping[str, Kind] = {
    "upright": Kind(meta=("acquired=2023-07-14T10:20:30+02:00", "sensor=MSI", "attribution=Them", "licence=CC-BY-4.0")),
    "turned": Kind(
        transform=_turned(30), attention=True, meta=("acquired=2023-07-15", "item=https://example.com/items/turned")
    ),
    "points": Kind(crs="EPSG:4326", transform=None, gcps=True),
    "pixels": Kind(crs=None, transform=None),
    "fiji": Kind(
        crs="EPSG:32760", transform=Affine(500, 0, 815_000, 0, -500, 8_100_000), meta=("acquired=2024-01-02",)
    ),
}
"""Scene ids → scenes: one of each way in which a scene lies, or does not; ``fiji`` lies across the antimeridian."""


def card(**changes: Any) -> ModelCard:
    """That of another model."""
    return replace(CARD, **changes)


def publish(folder: Path, out: str, scene_id: str, kind: Kind | None = None, model: ModelCard = CARD) -> None:
    """Write a scene to ``folder``, upright if nothing else is said, and detect its three objects into ``out``."""
    kind = kind or Kind()
    path = folder / f"{scene_id}.tif"
    write_geotiff(
        path, picture(HEIGHT, WIDTH), crs=kind.crs, transform=kind.transform, gcps=_points() if kind.gcps else ()
    )
    boxes = np.array([[20.0, 20, 12, 5, 0.3], [60, 40, 14, 6, -0.8], [75, 15, 10, 4, 1.2]])
    bounds = Window(x=0, y=0, width=WIDTH, height=HEIGHT)
    oracle = OracleDetector(boxes, np.array([0, 1, 0]), card=model, bounds=bounds)
    config = RunConfig(
        scene=(str(path),), out=out, force=True, tiling=TilingConfig(tile_px=64, halo_px=16),
        output=OutputConfig(preview_px=64, meta=kind.meta), export=ExportConfig(attention=kind.attention),
    )  # fmt: skip
    report = detect(config, model, LocalExecutor(lambda: oracle), SILENT)
    assert report.exit_code == 0, report


def _points() -> list[GroundControlPoint]:
    """Control points of a scene that is bent by two pixels, about 10 m a pixel."""
    return [
        GroundControlPoint(row=row, col=column, x=20 + 1e-4 * (column + 2 * math.sin(row / 20)), y=55 - 1e-4 * row, z=0)
        for column in np.linspace(0, WIDTH, 5).tolist()
        for row in np.linspace(0, HEIGHT, 5).tolist()
    ]
