"""The simulated fleet against what can be worked out by hand."""

from __future__ import annotations

import pytest

from tests.benchmarks.bench_fleet import (
    BLOCK_REQUESTS,
    END_REQUESTS,
    HAND_S,
    PLAN_REQUESTS,
    SCENE_REQUESTS,
    START_S,
    STORE_S,
    Costs,
    Fleet,
)

COSTS = Costs(plan_s=1.0, end_s=2.0, tiles=8, blocks=4, ledger_s=0.0, row_bytes=0.0, row_s=0.0, file_bytes=0)
ALONE_S = START_S + STORE_S + 1.0 + PLAN_REQUESTS * STORE_S + 2.0 + END_REQUESTS * STORE_S
"""A scene by itself, but for its blocks."""


def fleet(workers: int, landed: list[float], tile_s: float = 10.0) -> Fleet:
    return Fleet(workers, COSTS, tile_s, every_s=600.0, minutes=50.0).run(landed)


def test_one_scene_takes_its_plan_its_blocks_one_after_another_and_its_end() -> None:
    one = fleet(1, [0.0, 0.1])  # the second lands after the first tick has listed
    assert one.lags == [pytest.approx(ALONE_S + 4 * (HAND_S + 20.0))]
    assert one.left == 1
    assert one.looked_s == 80.0
    assert one.driver_s == pytest.approx(1.0 + 4 * HAND_S + 2.0)
    assert one.requests.sum() == SCENE_REQUESTS + 4 * BLOCK_REQUESTS


def test_four_detectors_take_four_blocks_at_once_and_the_driver_hands_them_out_in_turn() -> None:
    four = fleet(4, [0.0, 0.1])
    assert four.lags == [pytest.approx(ALONE_S + 4 * HAND_S + 20.0)]


def test_with_detectors_to_spare_the_driver_is_what_scenes_wait_for() -> None:
    """A scene is 3.1 s of its one thread, whoever looks: 50 of them cannot be through before that."""
    many = fleet(500, [0.0] * 50 + [0.1], tile_s=0.001)
    assert len(many.lags) == 50
    assert many.driver_s == pytest.approx(50 * 3.1)
    assert 50 * 3.1 < max(many.lags) - START_S < 50 * 3.1 + 5
