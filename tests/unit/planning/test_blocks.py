"""How little is decoded twice."""

from __future__ import annotations

import pytest
import shapely

from pipeline.planning.blocks import GOOD_AMPLIFICATION, decoded_pixels, delivered_pixels, plan_blocks
from pipeline.planning.lattice import make_lattice
from pipeline.planning.tiles import plan_tiles, touching, with_valid_pixels
from tests.support.plans import STRIP, make_scene, native


def test_nothing_to_screen_or_read_is_fine() -> None:
    assert with_valid_pixels((), shapely.Polygon(), native(5, 5)) == ((), ())  # type: ignore[arg-type]
    assert plan_blocks((), make_scene(), native(1000, 600), 24) == ()
    assert delivered_pixels((), make_scene(), native(1000, 600)) == 0


TYPICAL = [
    (width, height, unit, tile_px)
    for width, height in ((10980, 10980), (20480, 20480), (5000, 7000), (2000, 2000), (40000, 30000), (1100, 900))
    for unit in ((256, 256), (512, 512), (STRIP, 1), (STRIP, 16))
    for tile_px in (512, 768, 1024)
    # Where a band of full-width strips as high as one tile is over the 24 Mpx of a block, strips are decoded again.
    if not (width == 40000 and unit[0] == STRIP and tile_px > 512)
]


@pytest.mark.parametrize(("width", "height", "unit", "tile_px"), TYPICAL)
def test_typical_files_are_decoded_at_most_1_3_times(
    width: int, height: int, unit: tuple[int, int], tile_px: int
) -> None:
    scene, lattice = make_scene(width, height, unit), native(width, height)
    tiles = plan_tiles(lattice, tile_px, 80)
    blocks = plan_blocks(tiles, scene, lattice, 24.0)
    assert delivered_pixels(tiles, scene, lattice) == width * height
    assert decoded_pixels(blocks, scene, lattice) / (width * height) <= GOOD_AMPLIFICATION
    assert max(block.window.pixels for block in blocks) <= 24e6


@pytest.mark.parametrize(
    ("unit", "scale"),
    # Not 512-pixel units magnified by two: 24 Mpx of lattice are only 6 Mpx, five such units square, of the file.
    [((256, 256), 0.5), ((STRIP, 1), 0.5)]
    + [(unit, scale) for unit in ((256, 256), (512, 512), (STRIP, 1)) for scale in (0.8, 1.7)],
)
def test_resampled_scenes_are_decoded_at_most_1_3_times(unit: tuple[int, int], scale: float) -> None:
    scene = make_scene(10980, 10980, unit)
    lattice = make_lattice(scene, "10", None, (10 / scale, 10 / scale))
    tiles = plan_tiles(lattice, 512, 80)
    blocks = plan_blocks(tiles, scene, lattice, 24.0)
    assert decoded_pixels(blocks, scene, lattice) / delivered_pixels(tiles, scene, lattice) <= GOOD_AMPLIFICATION


def test_a_scene_of_many_tiles_gives_several_workers_something_to_do() -> None:
    scene, lattice = make_scene(10980, 10980, (256, 256)), native(10980, 10980)
    assert len(plan_blocks(plan_tiles(lattice, 512, 80), scene, lattice, 1000.0)) >= 8


def test_a_scene_of_a_few_file_tiles_is_read_in_one_go_rather_than_decoded_four_times() -> None:
    scene, lattice = make_scene(900, 900, (1024, 1024)), native(900, 900)
    tiles = plan_tiles(lattice, 512, 80)
    assert (len(tiles), len(plan_blocks(tiles, scene, lattice, 24.0))) == (4, 1)


def test_two_far_islands_of_tiles_do_not_read_the_sea_between_them() -> None:
    scene, lattice = make_scene(4000, 4000, (256, 256)), native(4000, 4000)
    tiles = plan_tiles(lattice, 512, 80)
    islands = touching(
        tiles, shapely.MultiPolygon([shapely.box(10, 10, 600, 600), shapely.box(3500, 3500, 3900, 3900)])
    )
    blocks = plan_blocks(islands, scene, lattice, 24.0)
    assert decoded_pixels(blocks, scene, lattice) <= 1.5 * delivered_pixels(islands, scene, lattice)
