"""Scenes and annotations → :class:`TrainingScene` files, read with the code that detection reads with.

Runs once, where rasterio is; training itself needs the npz files only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from math import ceil
from pathlib import Path

import numpy as np

from pipeline.annotations.annotations import Annotations, annotations_on_lattice
from pipeline.config import RasterConfig
from pipeline.errors import ConfigError
from pipeline.georeference.georeference import Georeference
from pipeline.names import listed, quoted
from pipeline.planning.lattice import make_lattice
from pipeline.raster.overview import measure_stretch
from pipeline.raster.own_data import own_data
from pipeline.raster.reader import SceneReader
from pipeline.raster.scene import open_scene
from pipeline.training.data.scenes import TrainingScene, save_scene
from pipeline.types import Lattice, Scene
from pipeline.types.cards import RGB


def chosen(
    annotated: Iterable[tuple[Path, Annotations]], only: Sequence[str], without: Sequence[str]
) -> list[tuple[Path, Annotations]]:
    """The images whose stem matches a pattern of ``only`` (none given: every one) and none of ``without``.

    Patterns are the shell's (``*``, ``?``, ``[0-9]``). Raises ConfigError for one that matches nothing: what it was to
    keep apart would be trained on; and when nothing is left.
    """
    every = list(annotated)
    for pattern in (*only, *without):
        if not any(fnmatchcase(image.stem, pattern) for image, _ in every):
            raise ConfigError(f"none of the {len(every)} annotated images is called {quoted(pattern)}")
    kept = [
        (image, truth)
        for image, truth in every
        if (not only or any(fnmatchcase(image.stem, one) for one in only))
        and not any(fnmatchcase(image.stem, one) for one in without)
    ]
    if not kept:
        raise ConfigError(f"--only and --without leave none of the {len(every)} annotated images")
    return kept


@own_data()
def prepare_scene(
    image: Path,
    truth: Annotations,
    gsd_m: float | None,
    raster: RasterConfig,
    shrink: float = 1.0,
    bands: tuple[str, ...] = RGB,
) -> TrainingScene:
    """Read ``image`` on the lattice of ``gsd_m`` metres (None: native) and bring its truth there.

    ``shrink`` makes lattice pixels that many times larger: a scene without a GSD can be shrunk by this only.
    ``bands`` are those of the model that will learn from it, chosen from the file as detection chooses them. What is
    valid and black in all of them becomes 1, as 0 means a hole: in near infrared much of the water is that dark.
    Raises SceneError for what detection would refuse too, ConfigError for bands that the file has not.
    """
    scene = open_scene(str(image), raster, model_bands=bands)
    lattice = lattice_of(scene, Georeference.of(scene), gsd_m, shrink)
    with SceneReader(scene, lattice, measure_stretch(scene, raster), raster) as reader:
        pixels, valid = reader.read(lattice.window)
    dark = valid & (pixels == 0).all(-1)
    pixels = np.where(valid[..., None], pixels, np.uint8(0)) + dark[..., None].astype(np.uint8)
    return TrainingScene(image.stem, pixels, annotations_on_lattice(truth, lattice))


def lattice_of(scene: Scene, place: Georeference | None, gsd_m: float | None, shrink: float = 1.0) -> Lattice:
    """The grid that a scene is prepared on. Raises SceneError, and ConfigError for a ``shrink`` below 1."""
    return shrunk(make_lattice(scene, "model", gsd_m, place.ground_gsd() if place else None), shrink)


def raster_config(bands: Sequence[str], numbers: Sequence[int] | None, crs: str | None = None) -> RasterConfig:
    """How scenes are read: ``numbers`` (from 1) say where ``bands`` stand in files that do not, ``crs`` where those lie
    that have none. Raises ConfigError."""
    if numbers and len(numbers) != len(bands):
        raise ConfigError(f"--band-numbers names {len(numbers)} for the {len(bands)} of --bands ({listed(bands)})")
    return RasterConfig(bands=tuple(numbers) if numbers else None, crs=crs)


def shrunk(lattice: Lattice, factor: float) -> Lattice:
    """``lattice`` with pixels ``factor`` times larger; the last may hang over the edge. Raises ConfigError below 1."""
    if not factor >= 1:
        raise ConfigError(f"scenes are shrunk by a factor of at least 1, not {factor:g}")
    width, height = (max(1, ceil(side / factor - 1e-6)) for side in (lattice.width, lattice.height))
    gsd_m = None if lattice.gsd_m is None else lattice.gsd_m * factor
    return Lattice(
        width=width, height=height, scale_x=lattice.scale_x * factor, scale_y=lattice.scale_y * factor, gsd_m=gsd_m
    )


def save_all(scenes: Iterable[TrainingScene], out: Path) -> list[str]:
    """Write every scene to ``out``; returns one line per scene for the user."""
    lines = []
    for scene in scenes:
        save_scene(out / f"{scene.name}.npz", scene)
        height, width = scene.pixels.shape[:2]
        lines.append(f"{scene.name}: {width} x {height} px, {np.count_nonzero(~scene.truth.ignore)} objects")
    return lines
