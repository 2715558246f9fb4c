"""Coordinate reference systems of every kind that files bring: used, or refused with what to do."""

from __future__ import annotations

import pytest
from pyproj import CRS

from pipeline.errors import ConfigError, SceneNotGeoreferenced
from pipeline.georeference.crs import crs_name, crs_wkt_of, horizontal_crs, same_crs
from pipeline.georeference.georeference import Georeference
from pipeline.types import Scene

TOWGS84 = "+proj=utm +zone=32 +ellps=intl +towgs84=-87,-98,-121"
UTM_WKT = CRS("EPSG:32632").to_wkt()
BASE = UTM_WKT.replace("PROJCRS[", "BASEPROJCRS[", 1).replace("BASEGEOGCRS", "BASEGEOGCRS", 1)
AFFINE = ('DERIVINGCONVERSION["Affine",METHOD["Affine parametric transformation",ID["EPSG",9624]],'
          'PARAMETER["A0",10,LENGTHUNIT["metre",1]],PARAMETER["A1",1,SCALEUNIT["unity",1]],'
          'PARAMETER["A2",0,SCALEUNIT["unity",1]],PARAMETER["B0",0,LENGTHUNIT["metre",1]],'
          'PARAMETER["B1",0,SCALEUNIT["unity",1]],PARAMETER["B2",1,SCALEUNIT["unity",1]]],'
          'CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]')  # fmt: skip
DERIVED = f'DERIVEDPROJCRS["shifted",{BASE[: BASE.index(",CS[")]}],{AFFINE}'
SITE = 'ENGCRS["Site",EDATUM["Site datum"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]'
MARS = "+proj=eqc +R=3396190 +units=m"
PLACED = (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_900_000.0)


def wkt(text: str) -> str:
    return str(CRS.from_user_input(text).to_wkt())


def scene(crs_wkt: str, transform: tuple[float, ...] = PLACED, size: tuple[int, int] = (100, 80)) -> Scene:
    return Scene(
        scene_id="s", uris=("s.tif",), width=size[0], height=size[1], bands=(1,), band_count=1, dtype="uint8",
        driver="GTiff", crs_wkt=crs_wkt, transform=transform,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("EPSG:32632", "WGS 84 / UTM zone 32N (EPSG:32632)"),
        ("EPSG:25832+7837", "ETRS89 / UTM zone 32N (EPSG:25832)"),
        (TOWGS84, "unknown with its own shift to WGS 84"),
        (TOWGS84 + " +geoidgrids=egm96_15.gtx +vunits=m", "unknown with its own shift to WGS 84"),
        ("+proj=longlat +ellps=intl +towgs84=-87,-98,-121", "unknown with its own shift to WGS 84"),
        (DERIVED, "shifted"),
        ("+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18", "unnamed"),
        ('GEOGCS["",DATUM["d",SPHEROID["s",6378137,298]],PRIMEM["g",0],UNIT["degree",0.0174532925199433]]', "unnamed"),
    ],
)
def test_a_crs_of_every_kind_has_a_name_and_a_place(text: str, name: str) -> None:
    crs = horizontal_crs(wkt(text), "s.tif")
    transform = PLACED if "metre" in {axis.unit_name for axis in crs.axis_info} else (1e-4, 0.0, 9.0, 0.0, -1e-4, 44.0)
    made = Georeference.of(scene(wkt(text), transform))
    assert made is not None
    assert made.crs_name.startswith(name)
    assert made.crs_projjson()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SITE, ("'Site'", "Engineering CRS", "neither projected nor geographic", "--raster.crs none")),
        ("EPSG:4978", ("neither projected nor geographic", "--raster.crs")),
        ("EPSG:5773", ("neither projected nor geographic", "--raster.crs")),
        (MARS, ("another body than the Earth", "3,396 km", "--raster.crs none")),
        ("IAU_2015:49900", ("another body than the Earth", "Mars", "--raster.crs none")),
        ("IAU_2015:30100", ("another body than the Earth", "1,737 km", "--raster.crs none")),
    ],
)
def test_a_crs_without_places_on_earth_is_refused_with_what_to_do(text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(SceneNotGeoreferenced) as caught:
        Georeference.of(scene(wkt(text)))
    for word in words:
        assert word in str(caught.value), caught.value
    assert "PROJ_IGNORE" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_centre_nowhere_on_earth_is_refused_with_what_to_do() -> None:
    with pytest.raises(SceneNotGeoreferenced, match=r"nowhere on Earth .*--raster.crs none"):
        Georeference.of(scene(UTM_WKT, (10.0, 0.0, 1e12, 0.0, -10.0, 1e12)))


EQUATOR_M, MERIDIAN_M = 40_075_017.0, 20_003_931.0


@pytest.mark.parametrize(
    ("transform", "size", "gsd"),
    [
        ((360.0, 0.0, -180.0, 0.0, -180.0, 90.0), (1, 1), (EQUATOR_M, MERIDIAN_M)),
        ((360.0, 0.0, 0.0, 0.0, -180.0, 90.0), (1, 1), (EQUATOR_M, MERIDIAN_M)),
        ((180.0, 0.0, -180.0, 0.0, -90.0, 90.0), (2, 2), (EQUATOR_M / 2, MERIDIAN_M / 2)),
        ((360.0, 0.0, -180.0, 0.0, -1.0, 90.0), (1, 180), (EQUATOR_M, 110_574.0)),
        ((1.0, 0.0, 0.0, 0.0, -1.0, 90.0), (360, 180), (EQUATOR_M / 360, 110_574.0)),
    ],
)
def test_a_raster_around_the_earth_has_its_size_on_the_ground(
    transform: tuple[float, ...], size: tuple[int, int], gsd: tuple[float, float]
) -> None:
    made = Georeference.of(scene(wkt("EPSG:4326"), transform, size))
    assert made is not None
    assert made.ground_gsd() == pytest.approx(gsd, rel=4e-3)  # a meridian is no circle


def test_the_same_crs_is_known_in_other_words() -> None:
    assert same_crs(wkt("EPSG:4326"), wkt("OGC:CRS84"))
    assert same_crs(wkt("EPSG:25832+7837"), wkt("EPSG:25832"))
    assert same_crs(UTM_WKT, CRS("EPSG:32632").to_wkt("WKT1_GDAL"))
    assert not same_crs(UTM_WKT, wkt("EPSG:32633"))
    assert not same_crs(UTM_WKT, "nonsense")


def test_a_crs_that_is_none_is_a_sentence() -> None:
    assert same_crs(crs_wkt_of("EPSG:32632"), UTM_WKT)
    assert crs_name(crs_wkt_of("+proj=utm +zone=32")).startswith("unknown")
    for text in ("EPSG:99999999", "harbour", "PROJCS[nonsense", "{}", ""):
        with pytest.raises(ConfigError, match=r"--raster.crs .*EPSG:32633"):
            crs_wkt_of(text)
