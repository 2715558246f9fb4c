"""The place of a scene is worked out from what its record says, as the run did from its headers."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from pipeline.catalogue.places import georeference_of, placement
from pipeline.georeference.georeference import Georeference
from pipeline.types import Scene
from tests.support.places import make_scene, warped_gcps
from tests.support.rpcs import WORLD_WKT, rational_polynomials

SCENES = {
    "affine": make_scene(),
    "sheared": make_scene(transform=(8.0, 3.0, 5e5, 2.0, -9.0, 5e6)),
    "gcps": make_scene("EPSG:4326", None, warped_gcps(20.0)),
    "rpc": replace(make_scene(WORLD_WKT, None), rpc=rational_polynomials(1000, 800)),
}


def record(scene: Scene) -> dict[str, Any]:
    """As it comes back from run.json."""
    found: dict[str, Any] = json.loads(json.dumps({"scene": asdict(scene)}))
    return found


@pytest.mark.parametrize("name", SCENES)
def test_a_record_places_its_scene_as_its_headers_did(name: str) -> None:
    scene = SCENES[name]
    corners = np.array([[0.0, 0], [scene.width, 0], [scene.width, scene.height], [0, scene.height]])
    wanted, found = Georeference.of(scene), georeference_of(record(scene))
    assert wanted is not None
    assert found is not None
    assert np.array_equal(found.scene_to_lonlat(corners), wanted.scene_to_lonlat(corners))
    where = placement(record(scene))
    assert where.gsd_m == pytest.approx(np.mean(wanted.ground_gsd()), rel=1e-5)
    assert where.bbox is not None


def test_a_crs_without_a_code_is_told_whole() -> None:
    scene = make_scene("+proj=laea +lat_0=10 +lon_0=20 +datum=WGS84", (10.0, 0.0, 0.0, 0.0, -10.0, 0.0))
    where = placement(record(scene))
    assert where.code is None
    assert str(where.wkt2).startswith("PROJCRS[")


def test_what_has_no_place_or_contradicts_itself_is_told_without_one() -> None:
    for scene in (make_scene(None, None), make_scene("EPSG:32633", None), make_scene(None)):
        where = placement(record(scene))
        assert (where.geometry, where.bbox, where.code, where.gsd_m) == (None,) * 4
