"""What work took is one value that adds."""

from __future__ import annotations

from dataclasses import fields

import pytest

from pipeline.types import BlockOutcome, Cost

ONE = Cost(read_s=1.5, detect_s=2.0, peak_rss_bytes=70, tiles_refined=1, network_px=100, bytes_read=9)
OTHER = Cost(read_s=0.25, detect_s=4.0, peak_rss_bytes=50, tiles_refined=2, network_px=10, bytes_read=1)


@pytest.mark.parametrize("name", [one.name for one in fields(Cost)])
def test_costs_add_up_but_memory_is_that_of_the_largest_process(name: str) -> None:
    both = getattr(ONE + OTHER, name)
    assert both == getattr(OTHER + ONE, name)
    join = max if name == "peak_rss_bytes" else lambda a, b: a + b
    assert both == join(getattr(ONE, name), getattr(OTHER, name))


def test_nothing_costs_nothing() -> None:
    assert sum([ONE, OTHER], Cost()) == ONE + OTHER
    assert Cost() + ONE == ONE
    assert sum((), Cost()) == BlockOutcome(7, (), ()).cost == Cost()
