"""The executor of one process keeps the promises of every executor."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.engine.executor import Executor
from pipeline.engine.local import LocalExecutor
from pipeline.engine.worker import LoadDetector
from pipeline.second_look.windows import Glance, Windows
from pipeline.types import FloatArray
from tests.contracts.executor import ExecutorContract, Start, oracle, scene_job


class TestLocalExecutor(ExecutorContract):
    """One process, blocks one after another."""

    @pytest.fixture(scope="class")
    @classmethod
    def start(cls) -> Start:
        @contextlib.contextmanager
        def started(load: LoadDetector) -> Iterator[Executor]:
            yield LocalExecutor(load)

        return started


class StumblesOnce:
    """Leads the second look nowhere, and raises what is no error of ours the first time it is asked."""

    asked = 0

    def __call__(self, glances: Sequence[Glance], windows: Sequence[Windows]) -> FloatArray:
        self.asked += 1
        if self.asked == 1:
            raise OSError("the disk was away")
        return np.zeros(sum(len(one.boxes) for one in windows))


@pytest.mark.parametrize("max_attempts", [1, 3])
def test_a_block_is_tried_again_before_it_is_halved(tmp_path: Path, max_attempts: int) -> None:
    """Where more than one attempt is allowed; either way nothing is lost to what passes."""
    job = scene_job(tmp_path)
    executor = LocalExecutor(oracle, gain=StumblesOnce(), max_attempts=max_attempts)
    outcomes = list(executor.map(replace(job.order, global_factor=2.0), job.blocks[:1]))
    assert sum(len(outcome.done) for outcome in outcomes) == len(job.blocks[0].tiles)
    counts = executor.metrics.numbers.counts
    assert (counts["blocks_recomputed"], counts["blocks_bisected"]) == ((0, 1) if max_attempts == 1 else (1, 0))
    assert len(outcomes) == (2 if max_attempts == 1 else 1)
