"""What is evaluated on: images and their annotations, from COCO json files and DOTA folders; copies shrunk once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.annotations.annotations import AnnotatedScenes, Annotations, for_classes
from pipeline.annotations.coco import read_annotations
from pipeline.annotations.dota import read_dota_folder
from pipeline.config import RasterConfig
from pipeline.errors import ConfigError
from pipeline.geometry.obb import scaled
from pipeline.names import listed
from pipeline.raster.overview import measure_stretch
from pipeline.raster.own_data import own_data
from pipeline.raster.reader import SceneReader
from pipeline.raster.scene import open_scene
from pipeline.raster.writer import write_scene
from pipeline.runs.identity import ADMISSION
from pipeline.types import Lattice, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationData:
    """Images with their truth."""

    classes: tuple[str, ...]
    """``class_ids`` of the truth are indices into it."""
    truth: dict[str, Annotations]
    """By image name; boxes in scene pixels. Images without annotations are there: what is found on them is wrong."""
    images: dict[str, Path]
    """By the same names."""
    notes: tuple[str, ...] = ()
    """What was left out or taken otherwise than written, one sentence each."""


def read_data(source: Path, split: str, images: Path | None = None) -> EvaluationData:
    """The annotated images of ``source``.

    That is a folder with ``images/`` and ``annotations/<split>.json``, a COCO json file (its images in ``images/``
    beside it or beside its folder), or a folder as DOTA is delivered (``[<split>/]images`` and ``[<split>/]labelTxt``).
    ``images`` overrides where the pictures are. Raises ConfigError when annotations cannot be read or an image is
    missing.
    """
    if source.is_file() or source.suffix == ".json":
        near = [folder / "images" for folder in (source.parent, source.parent.parent)]
        return _with_images(read_annotations(source), images or next((f for f in near if f.is_dir()), near[-1]))
    json_file = source / "annotations" / f"{split}.json"
    if json_file.exists():
        return _with_images(read_annotations(json_file), images or source / "images")
    for root in (source / split, source):
        if (root / "labelTxt").is_dir():
            annotated, paths = read_dota_folder(root / "labelTxt", images or root / "images")
            return EvaluationData(
                classes=annotated.classes, truth=annotated.scenes, images=paths, notes=annotated.notes
            )
    raise ConfigError(
        f"{source} holds neither annotations/{split}.json nor labelTxt/: give a COCO json file, a folder with "
        "images/ and annotations/, or a DOTA folder"
    )


def judged_by(data: EvaluationData, classes: Sequence[str]) -> EvaluationData:
    """``data`` as a model that finds ``classes`` is judged on it.

    Objects of other classes become ignore regions for every class, as in training: the model was never told what they
    are. Raises ConfigError when nothing is left to judge.
    """
    kept = tuple(name for name in data.classes if name in classes)
    if not kept:
        raise ConfigError(
            f"the model finds {listed(classes)} but the annotations name {listed(data.classes)}; "
            "give annotations that use the model's class names"
        )
    truth = {name: for_classes(one, data.classes, kept) for name, one in data.truth.items()}
    other = [name for name in data.classes if name not in kept]
    notes = (f"the model does not know {listed(other)}: ignore regions for every class",) if other else ()
    return replace(data, classes=kept, truth=truth, notes=(*data.notes, *notes))


@own_data()
def shrunk(data: EvaluationData, factor: float, folder: Path, raster: RasterConfig) -> EvaluationData:
    """``data`` with images ``factor`` times smaller, written to ``folder`` through the project's resampler.

    For pixel scenes that are to be judged on a coarser lattice. Of ``raster`` only what lets images in counts here.
    Raises ConfigError for georeferenced scenes, whose lattice ``tiling.gsd`` sets, SceneError for images that cannot be
    read.
    """
    images = {name: folder / f"{Path(name).stem}.tif" for name in data.images}
    if len(set(images.values())) < len(images):
        raise ConfigError("two images have names that differ in their suffix only; shrunk copies would be one file")
    for name, target in images.items():
        if not target.exists():
            _write_shrunk(data.images[name], factor, target, raster)
    truth = {name: replace(one, boxes=scaled(one.boxes, 1 / factor)) for name, one in data.truth.items()}
    return replace(data, images=images, truth=truth)


def _write_shrunk(source: Path, factor: float, target: Path, raster: RasterConfig) -> None:
    # Bands, stretch and nodata are for whoever reads the copy: it must not go through them twice.
    config = RasterConfig(
        allow_vrt=raster.allow_vrt, crs=raster.crs, **{key: getattr(raster, key) for key in ADMISSION}
    )
    scene = open_scene(str(source), config)
    if scene.georeferenced:
        raise ConfigError(f"{source} is georeferenced; choose its lattice with --gsd instead of --shrink")
    width, height = max(1, round(scene.width / factor)), max(1, round(scene.height / factor))
    lattice = Lattice(width=width, height=height, scale_x=factor, scale_y=factor, gsd_m=None)
    with SceneReader(scene, lattice, measure_stretch(scene, config), config) as reader:
        pixels, _ = reader.read(lattice.window)

    def render(window: Window) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
        return pixels[window.y : window.y1, window.x : window.x1]

    write_scene(target, width=width, height=height, bands=pixels.shape[2], dtype="uint8", crs=None, transform=None,
                render=render)  # fmt: skip


def _with_images(annotated: AnnotatedScenes, folder: Path) -> EvaluationData:
    images = {name: folder / name for name in annotated.scenes}
    _check_there(images.values())
    return EvaluationData(classes=annotated.classes, truth=annotated.scenes, images=images, notes=annotated.notes)


def _check_there(paths: Collection[Path]) -> None:
    if not paths:
        raise ConfigError("the annotations name no image: there is nothing to evaluate on")
    absent = [path for path in paths if not path.exists()]
    if absent:
        raise ConfigError(f"{len(absent)} annotated images are not there, first {absent[0]}; say where with --images")
