"""Ground control points become a map that goes through them or close by."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import SceneNotGeoreferenced
from pipeline.georeference.pixel_maps import AffineMap, SplineMap
from pipeline.types import GroundControlPoint
from tests.support.places import place, warped_gcps


class TestGroundControlPoints:
    def test_nearly_affine_ones_become_affine(self) -> None:
        made = place("EPSG:4326", None, warped_gcps(0.4))
        assert isinstance(made.pixel_map, AffineMap)

    def test_others_are_met_exactly_by_a_spline(self) -> None:
        gcps = warped_gcps(20)
        made = place("EPSG:4326", None, gcps)
        assert isinstance(made.pixel_map, SplineMap)
        pixels = np.array([(gcp.column, gcp.row) for gcp in gcps])
        world = np.array([(gcp.x, gcp.y) for gcp in gcps])
        # 1e-9 degrees is a tenth of a millimetre.
        np.testing.assert_allclose(made.scene_to_world(pixels), world, atol=1e-9, rtol=0)

    def test_across_the_antimeridian_stay_one_scene(self) -> None:
        gcps = tuple(
            GroundControlPoint(column=c, row=r, x=(179.95 + c * 1e-4 + 180) % 360 - 180, y=10 - r * 1e-4)
            for c in (0.0, 500.0, 1000.0) for r in (0.0, 400.0, 800.0)
        )  # fmt: skip
        made = place("EPSG:4326", None, gcps)
        assert made.ground_gsd()[0] == pytest.approx(1e-4 * 111_320 * np.cos(np.radians(10)), rel=2e-3)

    def test_that_fold_the_scene_are_refused(self) -> None:
        gcps = list(warped_gcps(0))
        a, b = gcps[12], gcps[60]
        gcps[12] = GroundControlPoint(column=a.column, row=a.row, x=b.x, y=b.y)
        gcps[60] = GroundControlPoint(column=b.column, row=b.row, x=a.x, y=a.y)
        with pytest.raises(SceneNotGeoreferenced, match="81 ground control points fold the scene"):
            place("EPSG:4326", None, tuple(gcps))

    def test_a_position_without_an_inverse_is_an_error_not_a_guess(self) -> None:
        made = place("EPSG:4326", None, warped_gcps(20))
        with pytest.raises(SceneNotGeoreferenced, match="no inverse at 1 of 1 positions"):
            made.world_to_scene(np.array([[np.nan, np.nan]]))
