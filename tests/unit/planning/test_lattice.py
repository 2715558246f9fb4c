"""The lattice: which pixels, how many."""

from __future__ import annotations

import pytest

from pipeline.errors import ConfigError
from pipeline.planning.lattice import make_lattice
from tests.support.plans import make_scene, native


class TestLattice:
    def test_of_a_native_run_is_the_scene_itself(self) -> None:
        assert make_lattice(make_scene(), "native", 10.0, (3.0, 3.0)) == native(1000, 600, 3.0)

    def test_of_a_model_without_gsd_is_the_scene_itself(self) -> None:
        assert make_lattice(make_scene(), "model", None, (3.0, 3.0)) == native(1000, 600, 3.0)

    def test_of_a_scene_without_gsd_is_the_scene_itself(self) -> None:
        assert make_lattice(make_scene(), "model", 10.0, None) == native(1000, 600)
        assert make_lattice(make_scene(), "2.5", 10.0, None) == native(1000, 600)

    def test_is_not_resampled_for_less_than_a_thousandth(self) -> None:
        lattice = make_lattice(make_scene(), "model", 10.0, (9.9964, 10.0096))
        assert (lattice.scale_x, lattice.scale_y, lattice.width) == (1.0, 1.0, 1000)
        assert make_lattice(make_scene(), "model", 10.0, (10.0, 9.98)).scale_y == pytest.approx(10 / 9.98)

    def test_has_square_pixels_on_the_ground_when_the_scene_has_not(self) -> None:
        lattice = make_lattice(make_scene(), "model", 10.0, (5.0, 8.0))
        assert (lattice.scale_x, lattice.scale_y, lattice.gsd_m) == (2.0, 1.25, 10.0)
        assert (lattice.width, lattice.height) == (500, 480)

    def test_hangs_over_the_edge_by_less_than_a_pixel(self) -> None:
        lattice = make_lattice(make_scene(1001, 599), "7", None, (2.0, 2.0))
        for size, cells, scale in ((1001, lattice.width, lattice.scale_x), (599, lattice.height, lattice.scale_y)):
            assert 0 <= cells * scale - size < scale

    def test_gains_no_pixel_from_rounding(self) -> None:
        """2100 / (0.7 / 0.1) is 300.0000…4 in floating point; the lattice has 300 pixels."""
        assert make_lattice(make_scene(2100, 2100), "0.7", None, (0.1, 0.1)).width == 300

    def test_of_a_scene_far_too_coarse_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"s\.tif has pixels of 1113 x 1113 m .* 10 m: 111 times magnified"):
            make_lattice(make_scene(), "model", 10.0, (1113.0, 1113.0))

    def test_of_a_scene_with_pixels_of_nothing_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"s\.tif has pixels of 10 x 4\.\d+e-07 m .* is its transform right"):
            make_lattice(make_scene(), "model", 10.0, (10.0, 4.47e-7))

    def test_of_a_tiny_scene_keeps_one_pixel(self) -> None:
        assert make_lattice(make_scene(3, 3), "100", None, (1.0, 1.0)).window.pixels == 1
