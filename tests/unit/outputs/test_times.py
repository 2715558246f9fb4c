"""Moments as scenes tell them."""

from __future__ import annotations

import pytest

from pipeline.outputs.stac import times
from pipeline.outputs.times import exact_s, month_at, month_of, span


@pytest.mark.parametrize(
    ("text", "first", "after"),
    [
        ("2023", "2023-01-01T00:00:00", "2024-01-01T00:00:00"),
        ("2023-12", "2023-12-01T00:00:00", "2024-01-01T00:00:00"),
        ("2023-02", "2023-02-01T00:00:00", "2023-03-01T00:00:00"),
        ("2023-07-14", "2023-07-14T00:00:00", "2023-07-15T00:00:00"),
        ("2023-07-14T01:20:30+02:00", "2023-07-13T23:20:30", "2023-07-13T23:20:31"),
        ("2023-07-14T01:20:30Z", "2023-07-14T01:20:30", "2023-07-14T01:20:31"),
        ("2023-07-14 01:20", "2023-07-14T01:20:00", "2023-07-14T01:20:01"),
    ],
)
def test_a_text_means_a_span_of_time(text: str, first: str, after: str) -> None:
    known = span(text)
    assert known is not None
    assert [f"{one:%Y-%m-%dT%H:%M:%S%z}" for one in known] == [f"{first}+0000", f"{after}+0000"]


@pytest.mark.parametrize(
    "text", ["", "soon", "2023-13", "0000", "9999", "2023-02-30", "9999-12-31", "2023-07-14T25:00"]
)
def test_what_is_no_time_means_none(text: str) -> None:
    assert span(text) is None


def test_a_month_is_known_of_a_day_and_a_second_of_a_time_alone() -> None:
    """The month is UTC's: a summer night in Berlin is of the month before."""
    assert month_of("2023-08-01T01:00:00+02:00") == month_of("2023-07") == month_of("2023-07-14") == "2023-07"
    assert month_of("2023") == month_of(None) == month_of("summer") == "unknown"
    assert exact_s("1970-01-01T00:01:00Z") == 60
    assert exact_s("1970-01-01") is exact_s(None) is None


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00", "9999-12-31T23:59:30"])
def test_the_ends_of_the_calendar_have_neighbours(text: str) -> None:
    """A camera whose clock was never set writes the first of them; scenes of its minute are looked for all the same."""
    second = exact_s(text)
    assert second is not None
    assert {month_at(second - 60), month_at(second + 60)} >= {"unknown"}


@pytest.mark.parametrize(
    ("acquired", "moment", "first", "last"),
    [
        ("2023-07-14T01:20:30+02:00", "2023-07-13T23:20:30Z", None, None),
        ("2023-07-14", "2023-07-14T00:00:00Z", "2023-07-14T00:00:00Z", "2023-07-14T23:59:59Z"),
        ("2023-02", None, "2023-02-01T00:00:00Z", "2023-02-28T23:59:59Z"),
        ("2023", None, "2023-01-01T00:00:00Z", "2023-12-31T23:59:59Z"),
        ("9999-12-31", None, "1800-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("0001-01-01T00:00:00+05:00", None, "1800-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("summer", None, "1800-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
    ],
)
def test_an_item_has_the_span_that_the_table_goes_by(
    acquired: str, moment: str | None, first: str | None, last: str | None
) -> None:
    told = times(acquired, "2026-01-01T00:00:00+00:00")
    assert (told["datetime"], told.get("start_datetime"), told.get("end_datetime")) == (moment, first, last)
