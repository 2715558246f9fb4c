"""A small synthetic harbour on disk, with the oracle that knows its ships."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.detectors.protocol import Detector
from pipeline.raster.writer import write_scene
from pipeline.synth.harbour.harbour import Harbour
from pipeline.types import FloatArray, ModelCard, Window

SIDE_PX = 360
SEED = 20_000_008
HARBOUR = Harbour(seed=SEED, width=700, height=600)
"""One that is larger, and not written to disk."""


@dataclass(frozen=True)
class HarbourCase:
    """A harbour scene of 10 m pixels in UTM, and its truth."""

    path: Path
    boxes: FloatArray
    """(N, 5) in scene pixels."""
    card: ModelCard
    bounds: Window
    """The whole scene: an edge of a chip that is an edge of the scene cuts nothing."""

    def load_oracle(self) -> Detector:
        """A detector that knows the truth; picklable as ``partial`` of its parts."""
        from pipeline.synth.oracle import Jitter, OracleDetector

        jitter = Jitter(centre_px=0.4, size=0.04, angle_rad=0.03, score=0.05)
        return OracleDetector(self.boxes, card=self.card, bounds=self.bounds, seed=1, jitter=jitter)


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
    return HarbourCase(
        path=path, boxes=harbour.ships().boxes, card=card, bounds=Window(x=0, y=0, width=SIDE_PX, height=SIDE_PX)
    )
