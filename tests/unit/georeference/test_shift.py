"""What PROJ loses on the way to longitude and latitude is known, and said: never a guess, never silence."""

from __future__ import annotations

import pytest
from pyproj import CRS

from pipeline.georeference.shift import datum_shift, shift_warning

UTM_PLACE = (500_000.0, 4_900_000.0)


def wkt(text: str) -> str:
    return str(CRS.from_user_input(text).to_wkt())


@pytest.mark.parametrize(
    ("crs", "place", "accuracy_m"),
    [
        ("EPSG:32632", UTM_PLACE, 0.0),
        ("EPSG:4326", (10.0, 50.0), 0.0),
        ("EPSG:3857", UTM_PLACE, 0.0),
        ("EPSG:3413", (0.0, -1_500_000.0), 0.0),
        ("EPSG:25832", UTM_PLACE, 1.0),
        ("EPSG:4258", (10.0, 50.0), 1.0),
        ("EPSG:2056", (2_600_000.0, 1_200_000.0), 1.0),
    ],
)
def test_good_transformations_are_recorded_without_a_warning(
    crs: str, place: tuple[float, float], accuracy_m: float
) -> None:
    shift = datum_shift(wkt(crs), place)
    assert (shift.accuracy_m, shift.ballpark, shift.missing_grids) == (accuracy_m, False, ())
    assert shift.exact is (accuracy_m == 0)
    assert shift_warning(shift, crs) is None


@pytest.mark.parametrize(
    ("crs", "place", "accuracy_m", "grid"),
    [
        ("EPSG:26715", (780_000.0, 3_320_000.0), 5.0, None),
        ("EPSG:4267", (-90.1, 29.98), 5.0, None),
        ("EPSG:27700", (400_000.0, 300_000.0), 2.0, "uk_os_OSTN15_NTv2_OSGBtoETRS.tif"),
        ("EPSG:26910", UTM_PLACE, 4.0, "us_noaa_WO.tif"),
    ],
)
def test_a_grid_that_is_not_installed_is_named_with_what_it_costs(
    crs: str, place: tuple[float, float], accuracy_m: float, grid: str | None
) -> None:
    shift = datum_shift(wkt(crs), place)
    assert shift.accuracy_m is not None
    assert shift.accuracy_m >= accuracy_m
    assert shift.better_accuracy_m is not None
    assert shift.better_accuracy_m < shift.accuracy_m
    said = shift_warning(shift, crs)
    assert said is not None
    for word in (
        f"{shift.accuracy_m:g} m",
        crs,
        "which this machine lacks",
        "pyproj sync --file",
        grid or "us_noaa_conus.tif",
    ):
        assert word in said, said


def test_a_shift_that_nobody_knows_is_not_called_exact() -> None:
    shift = datum_shift(wkt("+proj=utm +zone=32 +ellps=intl"), UTM_PLACE)
    assert (shift.accuracy_m, shift.ballpark, shift.exact) == (None, True, False)
    assert "ballpark" in str(shift_warning(shift, "x"))


def test_an_accuracy_that_nobody_knows_is_called_unknown() -> None:
    shift = datum_shift(wkt("+proj=utm +zone=32 +ellps=intl +towgs84=-87,-98,-121"), UTM_PLACE)
    assert (shift.accuracy_m, shift.ballpark, shift.exact) == (None, False, False)
    assert "unknown" in str(shift_warning(shift, "x"))
