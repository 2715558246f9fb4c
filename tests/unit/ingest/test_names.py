"""What names say: products, dates, and the folders that scenes are published in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.layouts import LAYOUTS, ROWS
from pipeline.ingest.scene_to_do import scene_id_of_key, scene_key
from pipeline.ingest.sentinel2 import product_of_item, product_of_name
from pipeline.ingest.times import moment, moment_in_name
from pipeline.raster.addresses import DEVICES, LONGEST_ID

SINCE = datetime(2015, 6, 23, tzinfo=UTC)
moments = st.integers(0, 80 * 365 * 86_400).map(lambda seconds: SINCE + timedelta(seconds=seconds))


@given(
    st.sampled_from("ABCD"), st.sampled_from(["1C", "2A"]), moments, st.integers(0, 9999), st.integers(1, 143),
    st.from_regex(r"[0-6][0-9][A-Z]{3}", fullmatch=True), moments,
)  # fmt: skip
def test_a_products_name_is_read_back(
    which: str, level: str, taken: datetime, baseline: int, orbit: int, tile: str, made: datetime
) -> None:
    name = f"S2{which}_MSIL{level}_{taken:%Y%m%dT%H%M%S}_N{baseline:04}_R{orbit:03}_T{tile}_{made:%Y%m%dT%H%M%S}"
    product = product_of_name(f"{name}.SAFE")
    assert product is not None
    assert product.offset_dn == (1000.0 if baseline >= 400 else 0.0)
    again = product_of_name(name.replace(f"N{baseline:04}", "N9999"))
    assert again is not None
    assert again.acquisition == product.acquisition
    assert again.rank > product.rank or baseline == 9999
    row = LAYOUTS["sentinel-2-safe"]
    inside = (
        f"a/{name}.SAFE/GRANULE/L{level}_x/IMG_DATA/{'R10m/' if level == '2A' else ''}T{tile}_{taken:%Y%m%dT%H%M%S}"
    )
    match = row.files.search(f"{inside}_B04{'_10m' if level == '2A' else ''}.jp2") if row.files else None
    assert match is not None
    assert (match["scene"], match["band"], moment_in_name(match["date"])) == (name, "B04", taken)


@given(st.text(max_size=60))
def test_no_name_breaks_the_parsers(name: str) -> None:
    assert product_of_name(name) is None or name.startswith("S2")
    moment(name)
    moment_in_name(name)
    product_of_item({"s2:product_uri": name, "s2:processing_baseline": name, "platform": name})
    for row in ROWS:
        if row.files is not None:
            row.files.search(name)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("20230701", datetime(2023, 7, 1, tzinfo=UTC)),
        ("2023-02-08", datetime(2023, 2, 8, tzinfo=UTC)),
        ("2023-07-23-18-02-43", datetime(2023, 7, 23, 18, 2, 43, tzinfo=UTC)),
        ("20231301", None),
        ("20230230", None),
        ("20230701T250000", None),
        ("٢٠٢٣٠٧٠١", None),
    ],
)
def test_dates_in_names(text: str, found: datetime | None) -> None:
    assert moment_in_name(text) == found


@given(st.text(max_size=200), st.text(max_size=200))
def test_every_key_has_a_folder_of_its_own(one: str, other: str) -> None:
    """On any disk: ASCII, bounded, no name of a device, other where only capitals or accents differ."""
    first, second = (scene_id_of_key(scene_key("f", "c", name), name) for name in (one, other))
    assert (first.lower() == second.lower()) == (one == other)
    for name in (first, second):
        assert name.isascii()
        assert len(name) <= LONGEST_ID
        assert name[0] not in "_.-"
        assert DEVICES.fullmatch(name) is None
    assert DEVICES.fullmatch(scene_id_of_key("f/c/con.x", "con.x")) is None
