"""The losses' settings: the paper's numbers, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.errors import ConfigError
from pipeline.training.losses.settings import FCOSLosses, RTDETRLosses


def test_nothing_is_switched_on_by_itself_and_the_numbers_are_the_papers() -> None:
    losses = RTDETRLosses()
    switches = (losses.sample_refinement, losses.scale_aligned, losses.sample_weights, losses.better_class_loss)
    assert not any(switches)
    assert losses.eta == (1.5, 1.3, 1.2, 1.1, 1.05, 1.0)
    assert (losses.beta, losses.theta, losses.gamma, losses.alpha) == (0.73, 6.0, 1.5, 0.5)
    assert (losses.offset_weight, losses.attention_weight) == (1.0, 1.0)
    assert losses.negatives == (0.75, 2.0)
    assert RTDETRLosses(better_class_loss=True).negatives == (0.5, 1.5)


@pytest.mark.parametrize(
    ("switch", "looks"),
    [("sample_refinement", True), ("sample_weights", True), ("scale_aligned", False), ("better_class_loss", False)],
)
def test_the_decoder_is_looked_into_only_where_that_is_needed(switch: str, looks: bool) -> None:
    assert not RTDETRLosses().look_inside
    assert RTDETRLosses(**{switch: True}).look_inside is looks  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("eta", (), "eta must be numbers of at least 1"),
        ("eta", 1.5, "eta must be numbers of at least 1"),
        ("eta", (1.5, 0.9), "eta must be at least 1, not 0.9"),
        ("eta", (1.5, float("nan")), "eta must be at least 1, not nan"),
        ("beta", 1.1, "beta must be at least 0 and at most 1, not 1.1"),
        ("beta", "much", "beta must be at least 0 and at most 1, not 'much'"),
        ("theta", -1.0, "theta must be at least 0, not -1.0"),
        ("gamma", float("inf"), "gamma must be at least 0, not inf"),
        ("alpha", float("nan"), "alpha must be at least 0, not nan"),
        ("offset_weight", -0.1, "offset_weight must be at least 0"),
        ("attention_weight", None, "attention_weight must be at least 0, not None"),
    ],
)
def test_a_number_out_of_its_range_is_refused_in_one_sentence(field: str, value: Any, said: str) -> None:
    with pytest.raises(ConfigError, match="must be") as refused:
        RTDETRLosses(**{field: value})
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("aligned_points", "yes", "aligned_points must be true or false, not 'yes'"),
        ("foreground_weight", -1.0, "foreground_weight must be at least 0, not -1.0"),
        ("reconstruction_weight", float("nan"), "reconstruction_weight must be at least 0, not nan"),
    ],
)
def test_those_of_the_oriented_fcos_are_refused_likewise(field: str, value: Any, said: str) -> None:
    assert not FCOSLosses().aligned_points
    with pytest.raises(ConfigError, match=r"^losses: ") as refused:
        FCOSLosses(**{field: value})
    assert said in str(refused.value)
