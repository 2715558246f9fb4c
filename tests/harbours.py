"""A small synthetic harbour on disk, with the oracle that knows its ships."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.detectors.base import Detector
from pipeline.harbour import Harbour
from pipeline.raster import write_scene
from pipeline.types import FloatArray, ModelCard

SIDE_PX = 360
SEED = 20_000_008


@dataclass(frozen=True)
class HarbourCase:
    """A harbour scene of 10 m pixels in UTM, and its truth."""

    path: Path
    boxes: FloatArray
    """(N, 5) in scene pixels."""
    card: ModelCard

    def load_oracle(self) -> Detector:
        """A detector that knows the truth; picklable as ``partial`` of its parts."""
        from pipeline.oracle import OracleDetector

        return OracleDetector(self.boxes, card=self.card, seed=1)


def small_harbour(path: Path) -> HarbourCase:
    """Write the scene: 0.5 Mpx of lattice at 5 m, so that the real network stays affordable."""
    harbour = Harbour(seed=SEED, width=SIDE_PX, height=SIDE_PX)
    write_scene(
        path, width=SIDE_PX, height=SIDE_PX, bands=3, dtype="uint16", crs="EPSG:32632",
        transform=(10.0, 0.0, 400_000.0, 0.0, -10.0, 5_000_000.0), render=harbour.render, block_px=128,
    )  # fmt: skip
    card = ModelCard(
        name="oracle", classes=("ship",), gsd_m=None, bands=("red", "green", "blue"), input_px=224, sha256="0" * 64,
        oriented=True, longest_object_m=480.0,
    )  # fmt: skip
    return HarbourCase(path=path, boxes=harbour.ships().boxes, card=card)
