"""Procedural harbours as training scenes."""

from __future__ import annotations

import pytest

from pipeline.config import RasterConfig
from pipeline.errors import ConfigError
from pipeline.training.data.harbours import prepare_harbour


def test_harbours_are_prepared_at_the_models_gsd_and_the_demo_seed_is_refused() -> None:
    harbour = prepare_harbour(3, 128, 6.0, RasterConfig())
    assert harbour.pixels.shape == (213, 213, 3)
    assert (harbour.truth.boxes[:, :2] < 214).all()
    with pytest.raises(ConfigError, match="seeds for training"):
        prepare_harbour(20_260_007, 128, 6.0, RasterConfig())
