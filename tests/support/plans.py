"""What a plan is made of: scenes without pixels, cards, lattices."""

from __future__ import annotations

from pipeline.types import Lattice, ModelCard, Scene

STRIP = 10**9


def make_scene(width: int = 1000, height: int = 600, unit: tuple[int, int] = (256, 256)) -> Scene:
    return Scene(
        scene_id="s", uris=("s.tif",), width=width, height=height, bands=(1, 2, 3), band_count=3, dtype="uint8",
        driver="GTiff", crs_wkt=None, transform=None, block_width=min(unit[0], width), block_height=unit[1],
    )  # fmt: skip


def make_card(longest_object_m: float | None = None) -> ModelCard:
    return ModelCard(
        name="m", classes=("ship",), gsd_m=10.0, bands=("red", "green", "blue"), input_px=320, sha256="0" * 64,
        longest_object_m=longest_object_m,
    )  # fmt: skip


def native(width: int, height: int, gsd_m: float | None = None) -> Lattice:
    return Lattice(width=width, height=height, scale_x=1.0, scale_y=1.0, gsd_m=gsd_m)
