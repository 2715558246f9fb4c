"""The page of ``evaluate_detector.py --report`` for prepared scenes. Imported late: it reads and writes rasters."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.config import RasterConfig
from pipeline.evaluation.judged import Judged
from pipeline.evaluation.report import figures
from pipeline.evaluation.report_folder import write_report
from pipeline.evaluation.seams import seam_distance
from pipeline.planning.tiles import plan_tiles
from pipeline.raster.writer import write_scene
from pipeline.training.data.scenes import TrainingScene
from pipeline.training.validation import lattice_of
from pipeline.types import ByteArray, Detections, Frame, ModelCard, Window


def write_validation_report(
    scenes: Sequence[TrainingScene],
    detections: Sequence[Detections],
    card: ModelCard,
    *,
    score_threshold: float,
    halo_px: int,
    data: str,
    folder: Path,
) -> str:
    """Write the page and its files to ``folder``; returns a sentence. ``data`` says for people where scenes are from.

    ``detections`` are those of :func:`~pipeline.training.validation.detect_whole`, one for each scene. Raises
    ConfigError for a folder that holds something else than an earlier report, StorageError where it cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="kestrel-") as pictures:
        seams = {}
        for scene in scenes:
            lattice = lattice_of(scene, card.gsd_m)
            tiles = plan_tiles(lattice, card.input_px, halo_px)
            seams[scene.name] = seam_distance(scene.truth.boxes[:, :2], tiles, lattice)
        judged = Judged(
            detector=card.name,
            data=data,
            classes=card.classes,
            found={
                scene.name: replace(found, frame=Frame.SCENE) for scene, found in zip(scenes, detections, strict=True)
            },
            truth={scene.name: scene.truth for scene in scenes},
            score_threshold=score_threshold,
            notes=("coordinates are in pixels of the prepared scenes",),
            images={scene.name: _picture(scene, Path(pictures) / f"{n}.tif") for n, scene in enumerate(scenes)},
            raster=RasterConfig(stretch="none"),
            seam_px=seams,
        )
        report = figures(judged.found, judged.truth, classes=judged.classes, score_threshold=score_threshold)
        return write_report(judged, report, folder)


def _picture(scene: TrainingScene, path: Path) -> str:
    """A prepared scene as a file that the report's own reader takes crops from."""
    pixels = scene.pixels

    def render(window: Window) -> ByteArray:
        return pixels[window.y : window.y1, window.x : window.x1]

    height, width, bands = pixels.shape
    write_scene(path, width=width, height=height, bands=bands, dtype="uint8", crs=None, transform=None, render=render)
    return str(path)
