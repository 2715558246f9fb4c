"""Settings of looking."""

from __future__ import annotations

import pytest

from pipeline.config.looking import one_look_factor


@pytest.mark.parametrize(
    ("global_factor", "budget", "factor"), [(2.0, 0.25, 2 / 1.25**0.5), (2.0, 3.0, 1.0), (2.0, 8.0, 1.0), (4.0, 0, 4.0)]
)
def test_one_look_of_the_same_price_shows_as_many_pixels(global_factor: float, budget: float, factor: float) -> None:
    assert one_look_factor(global_factor, budget) == pytest.approx(factor)
    if factor > 1:
        assert 1 / factor**2 == pytest.approx((1 + budget) / global_factor**2)
