"""A worker when things go wrong: memory that runs out, no attention, crops that fail, nodata, nothing to spend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import DetectorConfig, ExportConfig, RefineConfig, RunConfig, TilingConfig
from pipeline.detectors.loading import load_detector
from pipeline.detectors.protocol import Detector
from pipeline.detectors.weights import builtin_folder
from pipeline.engine.block import read_block
from pipeline.engine.ledger import Account, account
from pipeline.engine.worker import TileWorker
from pipeline.planning.plan import plan_scene, screen
from pipeline.second_look.look import NO_ATTENTION, NO_DIFFERENCE
from pipeline.types import Chip
from tests.support.checkpoints import save_checkpoint
from tests.support.faults import TorchOutOfMemory, Wrapped
from tests.support.harbours import HarbourCase, small_harbour
from tests.support.scenes import picture, write_geotiff

TWICE = TilingConfig(tile_px=224, halo_px=64, global_factor=2.0)


@pytest.fixture(scope="module")
def harbour(tmp_path_factory: pytest.TempPathFactory) -> HarbourCase:
    return small_harbour(tmp_path_factory.mktemp("harbour") / "harbour.tif")


@pytest.mark.parametrize("family", ["embedded", "rt_detr", "detr"])
def test_torch_out_of_memory_halves_the_batch_for_good(harbour: HarbourCase, family: str, tmp_path: Path) -> None:
    """Torch's own exception out of a real network: no tile is lost, and later blocks do not try again."""
    folder = builtin_folder("ships-s2") if family == "embedded" else save_checkpoint(family, tmp_path)
    detector = load_detector(folder)
    tiling = TilingConfig(tile_px=96, halo_px=16, block_mpx=0.1, gsd="native")
    config = RunConfig(scene=(str(harbour.path),), tiling=tiling, detector=DetectorConfig(batch=4))
    plan, order = screen(plan_scene(str(harbour.path), config, detector.card, None), config, detector.card)
    whole = TileWorker(detector)
    expected = [whole(order, block, read_block(order, block)) for block in plan.blocks]
    faulty = TorchOutOfMemory(detector, most=2)
    worker = TileWorker(faulty)
    outcomes = []
    for number, block in enumerate(plan.blocks):
        faulty.batches.clear()
        outcomes.append(worker(order, block, read_block(order, block)))
        assert (max(faulty.batches) > 2) == (number == 0), "only the first block meets the error"
    assert len(plan.blocks) > 1
    assert worker.largest_batch == 2
    assert faulty.still_held == 0, "what refused a batch must let go of it, for the halves need its room"
    assert [note.partition(" after")[0] for note in outcomes[0].notes] == ["batch halved to 2"]
    assert not any(outcome.failed or (number and outcome.notes) for number, outcome in enumerate(outcomes))
    for one, other in zip(outcomes, expected, strict=True):
        for mine, theirs in zip(one.done, other.done, strict=True):
            np.testing.assert_allclose(mine.detections.scores, theirs.detections.scores, atol=1e-4)


def test_out_of_memory_for_a_single_chip_fails_its_tile(harbour: HarbourCase) -> None:
    results = looked_at(
        harbour.path, TorchOutOfMemory(load_detector(builtin_folder("ships-s2")), most=0), RefineConfig()
    )
    assert results.tiles_done == 0
    assert {failed.error for failed in results.failures} == {"MemoryError"}
    assert "Tried to allocate" in results.failures[0].reason


def looked_at(path: Path, detector: Detector, refine: RefineConfig, tiling: TilingConfig = TWICE) -> Account:
    config = RunConfig(scene=(str(path),), tiling=tiling, refine=refine)
    plan, order = screen(plan_scene(str(path), config, detector.card, None), config, detector.card)
    outcomes = [TileWorker(detector)(order, block, read_block(order, block)) for block in plan.blocks]
    return account(plan.tiles, outcomes)


class Blindfolded(Wrapped):
    """A detector that stumbles over every chip smaller than a tile."""

    def before(self, chips: Sequence[Chip]) -> None:
        if any(chip.window.width < 200 for chip in chips):
            raise ValueError("too small to see anything")


@pytest.mark.parametrize(
    ("selector", "said"),
    [("sae", NO_ATTENTION), ("intensity", NO_ATTENTION), ("entropy", NO_ATTENTION), ("difference", NO_DIFFERENCE)],
)
def test_without_a_map_the_density_of_detections_stands_in_and_it_is_said_once(
    harbour: HarbourCase, selector: str, said: str
) -> None:
    """The oracle has no maps to give."""
    results = looked_at(harbour.path, harbour.load_oracle(), RefineConfig(selector=selector))  # type: ignore[arg-type]
    density = looked_at(harbour.path, harbour.load_oracle(), RefineConfig(selector="density"))
    assert results.crops
    assert [(c.window, c.row) for c in results.crops] == [(c.window, c.row) for c in density.crops]
    assert results.notes == (said,)
    assert density.notes == ()


@pytest.mark.parametrize("name", ["attention", "difference"])
def test_a_map_that_is_to_be_exported_and_does_not_exist_is_said_to_be_empty_once(
    harbour: HarbourCase, name: str
) -> None:
    export = ExportConfig(**{name: True})
    config = RunConfig(scene=(str(harbour.path),), tiling=TWICE, export=export)
    plan, order = screen(plan_scene(str(harbour.path), config, harbour.card, None), config, harbour.card)
    worker = TileWorker(harbour.load_oracle())
    results = account(plan.tiles, (worker(order, block, read_block(order, block)) for block in plan.blocks))
    assert results.notes == (f"this detector gives no {name} map: {name}.tif is empty",)


def test_a_crop_that_fails_costs_its_tile_and_no_other(harbour: HarbourCase) -> None:
    whole = looked_at(harbour.path, harbour.load_oracle(), RefineConfig())
    results = looked_at(harbour.path, Blindfolded(harbour.load_oracle()), RefineConfig())
    assert results.tiles_done + len(results.failures) == whole.tiles_done
    assert len(results.failures) == whole.cost.tiles_refined
    assert {failed.reason for failed in results.failures} == {"too small to see anything"}


@pytest.mark.parametrize(
    ("refine", "tiling"),
    [
        (RefineConfig(budget=0.0), TWICE),
        (RefineConfig(selector="none"), TWICE),
        (RefineConfig(), TilingConfig(tile_px=224, halo_px=64)),
        (RefineConfig(), TilingConfig(tile_px=48, halo_px=16, global_factor=2.0)),
    ],
    ids=["no budget", "no selector", "tiles seen unshrunk", "tiles smaller than any window"],
)
def test_there_is_no_second_look(harbour: HarbourCase, refine: RefineConfig, tiling: TilingConfig) -> None:
    results = looked_at(harbour.path, harbour.load_oracle(), refine, tiling)
    assert results.crops == ()
    assert results.failures == ()
    assert not results.detections.stage.any()


@dataclass
class Watched(Wrapped):
    """A detector that remembers the chips it was shown."""

    chips: list[Chip] = field(default_factory=list)

    def before(self, chips: Sequence[Chip]) -> None:
        self.chips.extend(chips)


@pytest.mark.parametrize("zoom", [4.0, 2.5, 2.0, 9.0])
def test_shrunk_crops_show_more_ground_for_the_same_pixels_and_boxes_stay_where_they_are(
    harbour: HarbourCase, zoom: float
) -> None:
    """The oracle answers in pixels of what it is shown, so every box must come back to where the truth has it."""
    tiling = TilingConfig(tile_px=256, halo_px=64, global_factor=4.0, gsd="native")
    watched = Watched(harbour.load_oracle())
    refine = RefineConfig(selector="random", zoom=zoom, budget=4.0)
    results = looked_at(harbour.path, watched, refine, tiling)
    assert results.crops
    assert {crop.window.width for crop in results.crops} == {int(32 * max(1.0, 4.0 / zoom))}
    assert {chip.pixels.shape[:2] for chip in watched.chips} == {(64, 64), (32, 32)}
    assert {(chip.pixels.shape[0], chip.share) for chip in watched.chips} == {(64, 1.0), (32, 0.25)}
    whole = ~results.detections.edge & (results.detections.stage > 0)
    boxes = results.detections.boxes[whole]
    apart = np.hypot(*(boxes[:, None, :2] - harbour.boxes[None, :, :2]).transpose(2, 0, 1)).min(axis=1)
    assert len(boxes) > 0
    assert apart.max() < 2.0, "the oracle errs by a little itself"


def test_crops_lie_on_valid_pixels(tmp_path: Path, harbour: HarbourCase) -> None:
    """The left two thirds of the scene are nodata; a blind selector with money for everything takes the rest."""
    pixels = picture(448, 448)
    pixels[:, :300] = 0
    path = tmp_path / "half.tif"
    write_geotiff(path, np.maximum(pixels, (pixels > 0).any(axis=2, keepdims=True).astype(np.uint8)), nodata=0)
    tiling = TilingConfig(tile_px=224, halo_px=0, global_factor=2.0, gsd="native")
    results = looked_at(path, harbour.load_oracle(), RefineConfig(selector="uniform", budget=16.0, zoom=2.0), tiling)
    assert len(results.crops) == 3 * 8, "of the 8 columns of windows the first 5 hold no valid pixel"
    assert min(crop.window.x1 for crop in results.crops) > 300
