"""Which scenes are wanted: each reason is one sentence, and what a scene does not tell is no reason."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.ingest.feed_file import Filter, feed_of
from pipeline.ingest.filters import why_skipped
from pipeline.ingest.scene_to_do import SceneToDo

FIJI = (177.0, -20.0, -178.0, -15.0)


def scene(**told: Any) -> SceneToDo:
    return SceneToDo(key="f/c/a", scene_id="a-1", uri="a.tif", hint="h", **told)


def wanted(**filters: Any) -> Filter:
    return feed_of({"name": "f", "source": {"kind": "folder", "address": "in"}, "filter": filters}).filter


@pytest.mark.parametrize(
    ("told", "filters", "said"),
    [
        ({"cloud_cover": 83.0}, {"cloud_cover": 20}, "clouds cover 83 % of it, more than filter.cloud_cover, 20 %"),
        ({"cloud_cover": 20.0}, {"cloud_cover": 20}, None),
        ({"gsd_m": 10.0}, {"gsd_m": 1}, "its GSD is 10 m"),
        ({"gsd_m": 0.3}, {"gsd_m": [0.5, 10]}, "its GSD is 0.3 m"),
        ({"gsd_m": 0.5}, {"gsd_m": 1}, None),
        ({"bbox": (0.0, 0.0, 1.0, 1.0)}, {"bbox": list(FIJI)}, "outside filter.bbox"),
        ({"bbox": (-179.0, -17.0, -178.5, -16.0)}, {"bbox": list(FIJI)}, None),
        ({"bbox": (179.5, -17.0, -179.5, -16.0)}, {"bbox": [-179.9, -18, -179, -15]}, None),
        ({"bbox": (359.0, 0.0, 359.5, 1.0)}, {"bbox": [-1, 0, 0, 1]}, None),
        ({}, {"bbox": list(FIJI), "cloud_cover": 0, "gsd_m": 1, "since": "2020-01-01"}, None),
    ],
)
def test_each_filter_says_why(told: dict[str, Any], filters: dict[str, Any], said: str | None) -> None:
    reason = why_skipped(scene(**told), wanted(**filters))
    assert reason == said if said is None else said in str(reason)


def test_times_are_compared_in_one_zone() -> None:
    """Half past midnight in India is still the day before in UTC; a day that ends a filter counts whole."""
    india = timezone(timedelta(hours=5, minutes=30))
    early, late = datetime(2023, 7, 1, 0, 30, tzinfo=india), datetime(2023, 7, 31, 23, 59, 59, tzinfo=UTC)
    month = wanted(since="2023-07-01", until="2023-07-31")
    assert "before filter.since" in str(why_skipped(scene(acquired=early), month))
    assert why_skipped(scene(acquired=late), month) is None
    assert "after filter.until" in str(why_skipped(scene(acquired=late + timedelta(seconds=1)), month))
    local = wanted(since="2023-07-01T00:00:00+05:30")
    assert why_skipped(scene(acquired=early), local) is None


def test_an_area_in_any_crs_across_the_antimeridian(tmp_path: Path) -> None:
    area = tmp_path / "fiji.geojson"
    west = [[177, -20], [180, -20], [180, -15], [177, -15], [177, -20]]
    east = [[-180, -20], [-178, -20], [-178, -15], [-180, -15], [-180, -20]]
    area.write_text(json.dumps({"type": "MultiPolygon", "coordinates": [[west], [east]]}))
    filters = wanted(area=str(area))
    assert why_skipped(scene(bbox=(179.8, -17.0, -179.8, -16.0)), filters) is None
    assert why_skipped(scene(bbox=(-178.5, -17.0, -178.2, -16.0)), filters) is None
    assert "outside filter.area" in str(why_skipped(scene(bbox=(170.0, -17.0, 171.0, -16.0)), filters))
    with pytest.raises(ConfigError, match="no file"):
        why_skipped(scene(bbox=FIJI), wanted(area=str(tmp_path / "none.gpkg")))


longitudes, latitudes = st.integers(-180, 180), st.integers(-90, 90)


@st.composite
def boxes(draw: st.DrawFn) -> tuple[float, float, float, float]:
    west, width = draw(longitudes), draw(st.integers(1, 179))
    south = draw(st.integers(-90, 89))
    east = west + width
    return west, south, east - 360 if east > 180 else east, draw(st.integers(south + 1, 90))


@given(boxes(), boxes())
def test_boxes_touch_where_they_share_a_degree_whoever_asks(one: Any, other: Any) -> None:
    """Against counting: the cells of one degree that each covers, around the Earth."""

    def cells(box: Any) -> set[tuple[int, int]]:
        west, south, east, north = box
        columns = range(west, east if east > west else east + 360)
        return {(column % 360, row) for column in columns for row in range(south, north)}

    def passes(where: Any, box: Any) -> bool:
        return why_skipped(scene(bbox=where), Filter(bbox=box)) is None

    if cells(one) & cells(other):
        assert passes(one, other)
    assert passes(one, other) == passes(other, one)
    wider = (other[0] - 1, other[1] - 1, other[2] + 1, other[3] + 1)
    if not cells(one) & cells(wider) and other[0] > -180 and -180 < other[2] < 180 and wider[0] < wider[2]:
        assert not passes(one, other)
