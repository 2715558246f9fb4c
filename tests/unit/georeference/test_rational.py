"""RPCs against GDAL's own transformer: both ways, at any height, and those that place nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rasterio.rpc import RPC
from rasterio.transform import RPCTransformer

from pipeline.errors import SceneNotGeoreferenced
from pipeline.georeference.georeference import Georeference
from pipeline.georeference.pixel_maps import pixel_grid
from pipeline.georeference.rational import RationalMap, rational_map
from pipeline.types import RationalPolynomials, Scene
from tests.support.rpcs import WORLD_WKT, as_gdal, rational_polynomials

SIZE = (4000, 3000)


def scene(rpc: RationalPolynomials) -> Scene:
    return Scene(
        scene_id="s", uris=("s.tif",), width=SIZE[0], height=SIZE[1], bands=(1,), band_count=1, dtype="uint8",
        driver="GTiff", crs_wkt=WORLD_WKT, transform=None, rpc=rpc,
    )  # fmt: skip


def gdal_pixels(rpc: RPC, lonlat: np.ndarray, height_m: float) -> np.ndarray:
    """(N, 2) scene pixels (corner convention) as GDAL has them."""
    heights = [height_m] * len(lonlat)
    with RPCTransformer(rpc) as transformer:
        rows, columns = transformer.rowcol(lonlat[:, 0], lonlat[:, 1], zs=heights, op=lambda value: value)
    return np.column_stack([columns, rows])


@pytest.mark.parametrize("height_m", [-50.0, 310.0, 1200.0])
@pytest.mark.parametrize("lon", [7.8, -71.3, 179.99])
def test_both_ways_agree_with_gdal_to_a_hundredth_of_a_pixel(height_m: float, lon: float) -> None:
    rpc = rational_polynomials(*SIZE, lon=lon, height_m=height_m)
    made = rational_map(scene(rpc), "s.tif")
    pixels = pixel_grid(*SIZE)
    lonlat = made.forward(pixels)
    assert np.ptp(lonlat, axis=0).min() > 0.01
    assert np.abs(gdal_pixels(as_gdal(rpc), lonlat, height_m) - pixels).max() < 0.01
    assert np.abs(made.backward(lonlat) - pixels).max() < 1e-6
    turned = lonlat + np.array([360.0, 0.0])
    assert np.abs(made.backward(turned) - pixels).max() < 1e-6


def test_the_height_moves_places_where_the_view_is_oblique() -> None:
    low = rational_map(scene(rational_polynomials(*SIZE, height_m=0.0)), "s.tif")
    high = rational_map(scene(rational_polynomials(*SIZE, height_m=500.0)), "s.tif")
    centre = np.array([[2000.0, 1500.0]])
    assert np.abs(low.forward(centre) - high.forward(centre)).max() > 1e-4


def test_a_scene_has_its_size_on_the_ground() -> None:
    made = Georeference.of(scene(rational_polynomials(*SIZE)))
    assert made is not None
    assert isinstance(made.pixel_map, RationalMap)
    assert made.ground_gsd() == pytest.approx((0.5, 0.5), rel=0.05)
    assert made.crs_projjson()["id"] == {"authority": "EPSG", "code": 4326}


@pytest.mark.parametrize(
    "changes",
    [
        {"lat": (44.0, 0.0)},
        {"sample_den": (0.0,) * 20},
        {"line_num": (0.0,) * 20},
        {"line_num": (float("nan"),) * 20},
        {"line_num": (1.0, 2.0)},
        {"lon": (float("inf"), 0.01)},
        {"line": (1e30, 1e-30)},
    ],
)
def test_rpcs_that_place_nothing_are_refused_with_what_to_do(changes: dict[str, tuple[float, ...]]) -> None:
    broken = replace(rational_polynomials(*SIZE), **changes)  # type: ignore[arg-type]
    with pytest.raises(SceneNotGeoreferenced, match=r"RPCs do not place it .*--raster.crs none"):
        Georeference.of(scene(broken))


def test_a_position_without_an_answer_is_an_error_not_a_guess() -> None:
    made = rational_map(scene(rational_polynomials(*SIZE)), "s.tif")
    with pytest.raises(SceneNotGeoreferenced, match="no answer at 1 of 2 positions"):
        made.forward(np.array([[5.0, 5.0], [np.nan, 5.0]]))
