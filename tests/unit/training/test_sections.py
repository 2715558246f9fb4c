"""Mappings of keys to values become frozen dataclasses, or one sentence that names the key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from pipeline.errors import ConfigError
from pipeline.training.sections import defaults, make, typed


@dataclass(frozen=True, slots=True, kw_only=True)
class Oven:
    heat: float = 1.0
    trays: int = 2
    fan: bool = False
    name: str = "small"
    doors: tuple[int, ...] = (1,)
    window: tuple[float, float] = (0.0, 1.0)
    timer: int | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.heat < 0:
            raise ValueError("an oven is not cold")


@pytest.mark.parametrize(
    ("key", "given", "wanted"),
    [
        ("heat", 2, 2.0),
        ("heat", "6e-4", 6e-4),
        ("trays", 3, 3),
        ("fan", True, True),
        ("doors", [3, 4], (3, 4)),
        ("window", [1, 2], (1.0, 2.0)),
        ("timer", None, None),
        ("timer", 4, 4),
        ("notes", {"a": 1}, {"a": 1}),
    ],
)
def test_values_become_what_the_field_wants(key: str, given: object, wanted: object) -> None:
    value = typed(Oven, {key: given}, "oven")[key]
    assert value == wanted
    assert type(value) is type(wanted)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"haet": 1}, r"oven\.haet is no setting; did you mean heat\?"),
        ({"colour": 1}, "oven.colour is no setting; there is doors, fan, heat"),
        ({"heat": "hot"}, "oven.heat must be a number, not 'hot'"),
        ({"heat": True}, "oven.heat must be a number, not True"),
        ({"trays": 1.5}, "oven.trays must be a whole number, not 1.5"),
        ({"trays": True}, "oven.trays must be a whole number"),
        ({"fan": 1}, "oven.fan must be true or false, not 1"),
        ({"name": 3}, "oven.name must be a text"),
        ({"doors": 3}, "oven.doors must be a list, not 3"),
        ({"doors": ["a"]}, "oven.doors must be a whole number, not 'a'"),
        ({"window": [1, 2, 3]}, "oven.window must be a list of 2, not of 3"),
        ({"notes": [1]}, "oven.notes must be a section"),
        ({"trays": None}, "oven.trays must be a whole number, not None"),
    ],
)
def test_what_does_not_fit_is_named(given: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        typed(Oven, given, "oven")


def test_what_a_dataclass_says_against_its_values_names_the_section() -> None:
    with pytest.raises(ConfigError, match="oven: an oven is not cold"):
        make(Oven, {"heat": -1.0}, "oven")


def test_defaults_are_those_of_every_field() -> None:
    assert make(Oven, defaults(Oven), "oven") == Oven()
