"""Procedural harbours as training scenes."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.config import RasterConfig
from pipeline.errors import ConfigError
from pipeline.training.data.harbours import prepare_harbour
from pipeline.types.cards import RGB


def test_harbours_are_prepared_at_the_models_gsd_and_the_demo_seed_is_refused() -> None:
    harbour = prepare_harbour(3, 128, 6.0, RasterConfig())
    assert harbour.pixels.shape == (213, 213, 3)
    assert (harbour.truth.boxes[:, :2] < 214).all()
    assert harbour.pixels.any(-1).all(), "no valid pixel looks like a hole"
    with pytest.raises(ConfigError, match="seeds for training"):
        prepare_harbour(20_260_007, 128, 6.0, RasterConfig())


def test_a_harbour_in_near_infrared_has_the_same_ships_on_blacker_water() -> None:
    colour, infrared = (prepare_harbour(3, 256, 6.0, RasterConfig(), bands) for bands in (RGB, ("nir",)))
    assert infrared.pixels.shape == (*colour.pixels.shape[:2], 1)
    np.testing.assert_array_equal(infrared.truth.boxes, colour.truth.boxes)
    grey = infrared.pixels[..., 0]
    at = infrared.truth.boxes[:, :2].astype(int).clip(0, len(grey) - 1)
    assert np.median(grey[at[:, 1], at[:, 0]]) > 3 * np.percentile(grey, 10)
    with pytest.raises(ConfigError, match="in red, green, blue or in nir, not in swir"):
        prepare_harbour(3, 128, 6.0, RasterConfig(), ("swir",))
