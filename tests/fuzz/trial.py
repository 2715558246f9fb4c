"""One case through the project's own code: a result that is right, or a listed error. Anything else is a defect."""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely

from pipeline.annotations.source import Asked
from pipeline.annotations.sources import read_source
from pipeline.config import RasterConfig, RunConfig, TilingConfig
from pipeline.detectors.card import card_from_mapping, read_card
from pipeline.detectors.loading import load_detector, read_model_card
from pipeline.engine.block import read_block
from pipeline.errors import ConfigError, ModelError, SceneNotGeoreferenced, SceneUnreadable
from pipeline.georeference.area_files import read_aoi
from pipeline.georeference.georeference import Georeference
from pipeline.planning.lattice import make_lattice
from pipeline.planning.plan import ScenePlan, plan_scene, screen
from pipeline.planning.tiles import plan_tiles, touching
from pipeline.raster.overview import read_thumbnail
from pipeline.raster.scene import open_scene
from pipeline.types import Chip, ModelCard, Window
from tests.fuzz.annotation_files import DATA_FILE, IMAGES, is_sound, write_sound
from tests.fuzz.mutations import Case
from tests.fuzz.templates import CARD, WEIGHTS, templates
from tests.support.onnx_files import CARD as MEANT

LISTED: dict[str, tuple[type[Exception], ...]] = {
    "scene": (SceneUnreadable, SceneNotGeoreferenced, ConfigError),
    "area": (ConfigError,),
    "card": (ModelError,),
    "model": (ModelError, MemoryError),
    "annotations": (ConfigError,),
}
"""The errors that a file of each kind may end in. A network may be too large for the memory that there is."""

RASTER = RasterConfig(max_gigapixels=0.05, max_block_mb=16)
"""Tight limits, so that a worker allowed little memory shows what is allocated before it is refused."""
CONFIG = RunConfig(raster=RASTER, tiling=TilingConfig(block_mpx=2.0))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one case."""

    opened: bool
    """The header, or the JSON, was accepted."""
    decoded: bool
    """A block of pixels, the geometries, or the values were asked for: they came, or their decoding failed."""
    ended: str
    """``result``, the class of a listed error, or ``DEFECT`` and what is wrong."""


class _Stage:
    opened = decoded = False


def try_case(case: Case, folder: Path) -> Outcome:
    """Write the case into the empty ``folder``, let the project read it, and look at what is left there."""
    stage = _Stage()
    work = WORK[case.template.kind]
    temporary = folder / "tmp"
    temporary.mkdir()
    usual, tempfile.tempdir = tempfile.tempdir, str(temporary)
    before = {"tmp"} | _write(case, folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            work(folder / case.template.file, stage)
        ended = "result"
    except LISTED[case.template.kind] as error:
        text = str(error)
        fit = text and "\n" not in text and len(text) < 1000
        ended = type(error).__name__ if fit else f"DEFECT no sentence: {text[:100]!r}"
    except BaseException as error:  # noqa: BLE001 - that is what is looked for
        ended = f"DEFECT {type(error).__name__}: {str(error)[:200]!r} at {_place(error)}"
    tempfile.tempdir = usual
    left = sorted((_names(folder) - before) | _names(temporary))
    if left:
        ended = f"DEFECT left behind: {left}"
    shutil.rmtree(temporary)
    return Outcome(stage.opened, stage.decoded, ended)


def _write(case: Case, folder: Path) -> set[str]:
    if case.template.kind == "card":
        (folder / "model.safetensors").write_bytes(WEIGHTS)
    if case.template.kind == "model":
        (folder / "case.card.json").write_text(json.dumps(MEANT))
    if case.template.kind == "annotations":
        write_sound(folder, templates()[0].data)
    (folder / case.template.file).write_bytes(case.data)
    return _names(folder)


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _place(error: BaseException) -> str:
    trace, place = error.__traceback__, ""
    while trace is not None:
        code = trace.tb_frame.f_code
        if "pipeline" in code.co_filename or "fuzz" in code.co_filename:
            place = f"{Path(code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _try_scene(path: Path, stage: _Stage) -> None:
    planned = plan_scene(str(path), CONFIG, _card(), None)
    stage.opened = True
    scene = planned.scene
    assert 1 <= scene.width * scene.height <= RASTER.max_gigapixels * 1e9
    if planned.georeference is not None:
        centre = np.array([scene.width / 2, scene.height / 2])
        assert np.isfinite(planned.georeference.scene_to_world(centre)).all()
        assert np.isfinite(planned.georeference.scene_to_lonlat(centre)).all()
    stage.decoded = True
    plan, order = screen(planned, CONFIG, _card())
    for block in plan.blocks[:2]:
        pixels = read_block(order, block)
        window = block.window
        assert pixels.pixels.shape == (window.height, window.width, 3)
        assert pixels.pixels.dtype == np.uint8
        assert pixels.valid.shape == (window.height, window.width)
        assert pixels.valid.dtype == np.bool_
        _check_pixels(path, plan, pixels)
    picture, _ = read_thumbnail(scene, order.stretch, RASTER, 64)
    assert picture.dtype == np.uint8
    assert max(picture.shape[:2]) <= 64


def _check_pixels(path: Path, plan: ScenePlan, read: Any) -> None:
    """8-bit pixels on the native grid are the file's own, as rasterio alone reads them."""
    scene, lattice, window = plan.scene, plan.lattice, read.window
    if scene.dtype != "uint8" or (lattice.scale_x, lattice.scale_y) != (1.0, 1.0):
        return
    with rasterio.open(path, driver="GTiff") as file:
        if file.colorinterp[0] == rasterio.enums.ColorInterp.palette:
            return
        area = rasterio.windows.Window(window.x, window.y, window.width, window.height)
        expected = file.read(list(scene.bands), window=area).transpose(1, 2, 0)
    assert (read.pixels[read.valid] == expected[read.valid]).all()
    assert not read.pixels[~read.valid].any()


def _try_area(path: Path, stage: _Stage) -> None:
    try:
        stage.opened = isinstance(json.loads(path.read_bytes()), dict)
    except (ValueError, RecursionError):
        stage.opened = False
    try:
        geometry, crs = read_aoi(str(path))
    except ConfigError as error:
        stage.decoded = _came_through(error, "_read", "_polygons", "_union")
        raise
    stage.decoded = True
    assert geometry.is_valid
    assert geometry.area > 0
    assert np.isfinite(geometry.bounds).all()
    georeference, tiles = _ground()
    area = georeference.area_to_scene(geometry, crs or georeference.crs_wkt)
    assert np.isfinite(shapely.get_coordinates(area)).all()
    assert len(touching(tiles, area)) <= len(tiles)


def _try_card(path: Path, stage: _Stage) -> None:
    try:
        stage.opened = stage.decoded = isinstance(json.loads(path.read_bytes()), dict)
    except (ValueError, RecursionError):
        stage.opened = stage.decoded = False
    card = read_card(path.parent)
    assert card.sha256 == CARD["sha256"]
    assert np.isfinite([*card.mean, *card.std, card.gsd_m or 1, card.score_threshold]).all()


def _try_model(path: Path, stage: _Stage) -> None:
    try:
        card = read_model_card(path)
    except ModelError as error:
        stage.opened = "no readable ONNX" not in str(error)
        raise
    stage.opened = stage.decoded = True
    detector = load_detector(path)
    assert detector.card == card
    chips = [_chip(64, 64), _chip(40, 90)]
    looks = detector.detect(chips, score_threshold=0.0)
    for look, chip in zip(looks, chips, strict=True):
        height, width = chip.pixels.shape[:2]
        found = look.detections
        assert np.isfinite(found.boxes).all()
        assert ((found.boxes[:, 3] > 0) & (found.boxes[:, 2] >= found.boxes[:, 3])).all()
        assert ((found.boxes[:, :2] >= 0) & (found.boxes[:, :2] <= (width, height))).all()
        assert ((found.scores >= 0) & (found.scores <= 1)).all()
        assert ((found.class_ids >= 0) & (found.class_ids < len(card.classes))).all()


def _try_annotations(path: Path, stage: _Stage) -> None:
    stage.opened = stage.decoded = is_sound(path)
    asked = Asked(opened=lambda image: open_scene(str(image), RASTER), images=path.parent / IMAGES)
    given = path.parent.parent / DATA_FILE if path.suffix == ".txt" else path
    source = read_source(given, replace(asked, images=None) if given.name == DATA_FILE else asked)
    for _, truth in source.scenes:
        judged = ~truth.ignore
        assert np.isfinite(truth.boxes).all()
        assert ((truth.boxes[:, 2] >= truth.boxes[:, 3]) & (truth.boxes[:, 3] >= 0)).all()
        assert (truth.class_ids < len(source.classes)).all()
        assert (truth.class_ids[judged] >= 0).all()


WORK: dict[str, Callable[[Path, _Stage], None]] = {
    "scene": _try_scene,
    "area": _try_area,
    "card": _try_card,
    "model": _try_model,
    "annotations": _try_annotations,
}


def _chip(height: int, width: int) -> Chip:
    pixels = np.random.default_rng([height, width]).integers(0, 256, (height, width, 3), np.uint8)
    return Chip(pixels=pixels, window=Window(x=0, y=0, width=width, height=height))


def _came_through(error: BaseException, *functions: str) -> bool:
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_name in functions:
            return True
        trace = trace.tb_next
    return False


_made: dict[str, Any] = {}


def _card() -> ModelCard:
    if "card" not in _made:
        _made["card"] = card_from_mapping(CARD, source="template")
    return _made["card"]


def _ground() -> tuple[Georeference, Any]:
    """The sound scene that areas are laid over, and its tiles."""
    if "ground" not in _made:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "ground.tif"
            path.write_bytes(templates()[0].data)
            scene = open_scene(str(path), RASTER)
        georeference = Georeference.of(scene)
        assert georeference is not None
        tiles = plan_tiles(make_lattice(scene, "native", None, georeference.ground_gsd()), 64, 16)
        _made["ground"] = (georeference, tiles)
    return _made["ground"]
