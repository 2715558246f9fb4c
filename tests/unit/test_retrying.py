"""Patience: how often, after which pauses, and whose numbers it holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.raster.gdal import gdal_options
from pipeline.retrying import PATIENCE, Patience, retried
from tests.support.patience import ONCE, QUICK
from tests.support.reading import CONFIG


@pytest.mark.parametrize(("patience", "times"), [(QUICK, 4), (ONCE, 1), (replace(QUICK, pauses_s=(0.0,)), 2)])
def test_a_thing_is_tried_as_often_as_the_patience_given_says(patience: Patience, times: int) -> None:
    tried: list[int] = []

    def fail() -> None:
        tried.append(1)
        raise TimeoutError

    with pytest.raises(TimeoutError):
        retried(fail, lambda _: True, "key", patience)
    assert len(tried) == times == patience.attempts


def test_pauses_are_the_same_for_a_key_and_grow_by_the_spread_at_most() -> None:
    assert list(PATIENCE.pauses("a")) == list(PATIENCE.pauses("a")) != list(PATIENCE.pauses("b"))
    assert list(replace(PATIENCE, spread=0.0).pauses("a")) == list(PATIENCE.pauses_s)
    assert all(
        base <= pause <= 1.25 * base for base, pause in zip(PATIENCE.pauses_s, PATIENCE.pauses("a"), strict=True)
    )


def test_gdal_has_the_patience_given_for_remote_files_and_none_for_local_ones() -> None:
    options = gdal_options(CONFIG, True, replace(PATIENCE, range_retries=7, range_pause_s=1.5))
    assert (options["GDAL_HTTP_MAX_RETRY"], options["GDAL_HTTP_RETRY_DELAY"]) == (7, 1.5)
    assert "GDAL_HTTP_MAX_RETRY" not in gdal_options(CONFIG, False)
