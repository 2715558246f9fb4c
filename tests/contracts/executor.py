"""What every executor promises, whoever does the work (:class:`pipeline.engine.executor.Executor`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import RunConfig, TilingConfig
from pipeline.detectors.protocol import Detector
from pipeline.engine.executor import Executor
from pipeline.engine.ledger import account
from pipeline.engine.worker import LoadDetector
from pipeline.errors import ModelError, SceneUnreadable
from pipeline.planning.plan import ScenePlan, WorkOrder, plan_scene, screen
from pipeline.synth.oracle import OracleDetector
from pipeline.threads import Halt, Halted
from pipeline.types import Block, BlockOutcome, ModelCard, Stretch, Window
from tests.support.faults import Refuses, refuses, slow_square
from tests.support.scenes import damage_block, picture, write_geotiff

Start = Callable[[LoadDetector], AbstractContextManager[Executor]]
"""Makes an executor, which is left when its work is done."""

WIDTH_PX, HEIGHT_PX, TILE_PX = 512, 256, 64
CARD = ModelCard(
    name="oracle", classes=("ship",), gsd_m=None, bands=("red", "green", "blue"), input_px=TILE_PX, sha256="0" * 64,
    oriented=True, longest_object_m=400.0,
)  # fmt: skip
REFUSED = Window(x=2 * TILE_PX, y=TILE_PX, width=TILE_PX, height=TILE_PX)
"""The tile that no detector of these tests can look at."""


def oracle() -> OracleDetector:
    """One object in the middle of every tile, none of them like another."""
    column, row = (one.ravel() for one in np.mgrid[0 : WIDTH_PX // TILE_PX, 0 : HEIGHT_PX // TILE_PX])
    place = np.arange(len(row))
    boxes = np.column_stack(
        [TILE_PX * (column + 0.5), TILE_PX * (row + 0.5), 20.0 + place / 2, 6.0 + place / 4, place * 0.1]
    )
    return OracleDetector(boxes, card=CARD, bounds=Window(x=0, y=0, width=WIDTH_PX, height=HEIGHT_PX), seed=1)


def faulty_oracle() -> Detector:
    """It raises for one tile, and answers for all others."""
    return Refuses(oracle(), REFUSED)


def no_model(sentence: str) -> Detector:
    """A loader whose weights do not fit."""
    raise ModelError(sentence)


@dataclass(frozen=True)
class Job:
    """What an executor is given."""

    path: Path
    plan: ScenePlan
    order: WorkOrder

    @property
    def blocks(self) -> tuple[Block, ...]:
        return self.plan.blocks

    @property
    def tile_ids(self) -> list[str]:
        return sorted(tile.tile_id for tile in self.plan.tiles)


def scene_job(folder: Path) -> Job:
    """Thirty-two tiles without overlap, in blocks of four; each is one block of the file, too."""
    path = write_geotiff(folder / "scene.tif", picture(HEIGHT_PX, WIDTH_PX), block_px=TILE_PX)
    tiling = TilingConfig(tile_px=TILE_PX, halo_px=0, block_mpx=8 * TILE_PX**2 / 1e6, gsd="native")
    config = RunConfig(scene=(str(path),), tiling=tiling)
    plan, order = screen(plan_scene(str(path), config, CARD, None), config, CARD)
    assert len(plan.tiles) == 32
    assert {len(block.tiles) for block in plan.blocks} == {4}
    return Job(path, plan, order)


def ended(outcomes: list[BlockOutcome]) -> list[str]:
    """Name of every tile that was done or failed, once for each time."""
    return sorted(one.tile_id for outcome in outcomes for one in (*outcome.done, *outcome.failed))


class ExecutorContract:
    """Subclasses override :meth:`start`."""

    @pytest.fixture(scope="class")
    @classmethod
    def start(cls) -> Start:
        """How an executor is made for a loader."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls, start: Start) -> Iterator[Executor]:
        """One executor for several tests, as it is one for the scenes of a run; its detector refuses one tile."""
        with start(faulty_oracle) as executor:
            yield executor

    @pytest.fixture(scope="class")
    @classmethod
    def job(cls, tmp_path_factory: pytest.TempPathFactory) -> Job:
        return scene_job(tmp_path_factory.mktemp("contract"))

    def test_no_blocks_no_outcomes_and_no_detector(self, start: Start, job: Job) -> None:
        with start(partial(no_model, "nobody asked for it")) as executor:
            assert list(executor.map(job.order, ())) == []

    def test_weights_that_do_not_load_end_the_work(self, start: Start, job: Job) -> None:
        with start(partial(no_model, "these weights do not fit")) as executor:
            outcomes = executor.map(job.order, job.blocks)
            with pytest.raises(ModelError, match="these weights do not fit"):
                list(outcomes)

    def test_every_tile_ends_once_and_one_that_is_refused_fails_alone(self, executor: Executor, job: Job) -> None:
        outcomes = list(executor.map(job.order, job.blocks))
        assert ended(outcomes) == job.tile_ids
        (failed,) = (one for outcome in outcomes for one in outcome.failed)
        (refused,) = (tile for tile in job.plan.tiles if tile.window == REFUSED)
        assert (failed.tile_id, failed.error, failed.attempts) == (refused.tile_id, "ModelError", 1)
        assert {outcome.block_id for outcome in outcomes} == {block.block_id for block in job.blocks}

    def test_the_order_of_the_blocks_leaves_no_trace(self, executor: Executor, job: Job) -> None:
        """What was found is the same to the bit; outcomes may come in any order."""
        there = account(job.plan.tiles, executor.map(job.order, job.blocks))
        back = account(job.plan.tiles, executor.map(job.order, job.blocks[::-1]))
        assert len(there.detections) == 31
        for name in ("boxes", "scores", "tile_index"):
            assert getattr(there.detections, name).tobytes() == getattr(back.detections, name).tobytes()
        assert there.failures == back.failures

    def test_scenes_at_once_get_their_own_outcomes_and_counts(self, executor: Executor, job: Job) -> None:
        """Three threads, a third of the blocks each: what one asks for comes to no other, and is counted for it."""
        thirds = [job.blocks[start::3] for start in range(3)]
        counts = [executor.metrics.scene() for _ in thirds]
        before = executor.metrics.numbers.counts["blocks_bisected"]
        with ThreadPoolExecutor(3) as threads:
            answers = list(threads.map(lambda blocks, own: list(executor.map(job.order, blocks, own)), thirds, counts))
        for blocks, outcomes in zip(thirds, answers, strict=True):
            assert ended(outcomes) == sorted(tile.tile_id for block in blocks for tile in block.tiles)
        assert executor.metrics.numbers.counts["blocks_bisected"] == before, "a refused tile is found in its block"
        damaged = replace(job.order, stretch=Stretch(kind="fixed", low=(0.0,) * 2, high=(9.0,) * 2, source="no fit"))
        good, bad = executor.metrics.scene(), executor.metrics.scene()
        with ThreadPoolExecutor(2) as threads:
            fine = threads.submit(lambda: list(executor.map(job.order, job.blocks[:1], good)))
            list(executor.map(damaged, job.blocks[1:2], bad))
            assert ended(fine.result()) == sorted(tile.tile_id for tile in job.blocks[0].tiles)
        assert (good.numbers.counts["blocks_bisected"], bad.numbers.counts["blocks_bisected"]) == (0, 3)

    def test_a_scene_that_nobody_wants_any_more_leaves_the_others_alone(self, executor: Executor, job: Job) -> None:
        """As when its store fails: what was on its way then comes to nobody else."""
        outcomes = executor.map(job.order, job.blocks)
        next(outcomes)
        outcomes.close()  # type: ignore[attr-defined]
        others = list(executor.map(job.order, job.blocks[-2:]))
        assert ended(others) == sorted(tile.tile_id for block in job.blocks[-2:] for tile in block.tiles)

    def test_who_is_told_to_stop_stops(self, executor: Executor, job: Job) -> None:
        halt = Halt()
        with halt.heeded():
            outcomes = executor.map(job.order, job.blocks)
            next(outcomes)
            halt.tell()
            with pytest.raises(Halted):
                list(outcomes)

    def test_a_damaged_block_is_named_by_one_tile(self, executor: Executor, tmp_path: Path) -> None:
        """A bad sector under one tile: its block is taken apart until that tile is alone, and the others are done."""
        job = scene_job(tmp_path)
        damage_block(job.path, 0, 0)
        outcomes = list(executor.map(job.order, job.blocks))
        assert ended(outcomes) == job.tile_ids
        damaged = next(tile for tile in job.plan.tiles if (tile.window.x, tile.window.y) == (0, 0))
        failed = {one.tile_id: one for outcome in outcomes for one in outcome.failed}
        assert len(failed) == 2, "the damaged and the refused one"
        assert failed[damaged.tile_id].error == SceneUnreadable.__name__
        assert failed[damaged.tile_id].attempts == 2

    def test_what_is_no_error_of_ours_costs_tiles_and_not_the_run(self, executor: Executor, job: Job) -> None:
        """Numbers for two bands where the scene has three: numpy cannot read any block of it."""
        unfit = Stretch(kind="fixed", low=(0.0, 0.0), high=(9.0, 9.0), source="two bands of three")
        outcomes = list(executor.map(replace(job.order, stretch=unfit), job.blocks))
        assert ended(outcomes) == job.tile_ids
        failed = [one for outcome in outcomes for one in outcome.failed]
        assert len(failed) == len(job.tile_ids)
        assert {(one.error, one.attempts) for one in failed} == {("ValueError", 2)}
        assert all(one.reason and "\n" not in one.reason for one in failed)

    def test_answers_come_in_the_order_of_the_parts_which_are_drawn_as_work_goes_on(self, executor: Executor) -> None:
        drawn: list[int] = []

        def parts() -> Iterator[int]:
            for number in range(24):
                drawn.append(number)
                yield number

        answers = iter(executor.run(slow_square, parts()))
        assert next(answers) == 0
        assert len(drawn) < 24
        assert list(answers) == [number * number for number in range(1, 24)]
        assert list(executor.run(slow_square, ())) == []

    def test_what_a_function_raises_is_raised_here(self, executor: Executor) -> None:
        with pytest.raises(ValueError, match="boxes must be finite"):
            list(executor.run(refuses, [Path()]))

    def test_a_path_that_is_there_is_visible(self, executor: Executor, job: Job) -> None:
        executor.check_visible([job.path])
        executor.check_visible([])

    def test_the_record_says_who_did_the_work(self, executor: Executor, job: Job) -> None:
        list(executor.map(job.order, job.blocks[:1]))
        record = json.loads(json.dumps(executor.record()))
        assert isinstance(record["executor"], str)
        assert record["workers"] >= 1

    def test_what_was_taken_apart_is_counted(self, executor: Executor, tmp_path: Path) -> None:
        """Four tiles, one of them damaged: halved, and halved again."""
        job = scene_job(tmp_path)
        damage_block(job.path, 0, 0)
        (block,) = (block for block in job.blocks if any(tile.window.x == tile.window.y == 0 for tile in block.tiles))
        before = executor.metrics.numbers.counts["blocks_bisected"]
        list(executor.map(job.order, [block]))
        assert executor.metrics.numbers.counts["blocks_bisected"] - before == 2
