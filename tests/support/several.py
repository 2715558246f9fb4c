"""Six small scenes for one run, one of them broken and one damaged, and a job over them that may be killed.

``python -m tests.support.several SCENES OUT ADDRESS``: the job, whose detector takes its time.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from pipeline.config import ClusterConfig, OutputConfig, RunConfig, TilingConfig
from pipeline.detectors.protocol import Detector
from pipeline.reporting.journal import Journal
from pipeline.runs.report import RunReport
from pipeline.runs.run import detect
from tests.contracts.executor import CARD, HEIGHT_PX, TILE_PX, WIDTH_PX, oracle
from tests.support.faults import Sleepy
from tests.support.scenes import NORTH_UP, UTM, damage_block, picture, write_geotiff

BROKEN, DAMAGED = "2", "3"
SCENES = ("0", "1", BROKEN, DAMAGED, "4", "5")
"""Their names, in input order."""
SAME_BYTES = ("detections.parquet", "detections.geojson", "detections.gpkg", "failures.parquet")


def write_scenes(folder: Path) -> tuple[str, ...]:
    """Addresses. Each has another width and another place; in scenes of one picture none would be told from others."""
    folder.mkdir()
    for number, name in enumerate(SCENES):
        pixels = picture(HEIGHT_PX, WIDTH_PX - 48 * number, seed=number)
        place = NORTH_UP @ NORTH_UP.translation(1000 * number, 0)
        path = write_geotiff(folder / f"{name}.tif", pixels, crs=UTM, transform=place, block_px=TILE_PX)
        if name == DAMAGED:
            damage_block(path, 0, 0)
        if name == BROKEN:
            path.write_bytes(path.read_bytes()[:100])
    return tuple(str(folder / f"{name}.tif") for name in SCENES)


def config_of(paths: tuple[str, ...], out: Path, **cluster: object) -> RunConfig:
    """Blocks of two tiles; the damaged scene is published with a hole."""
    return RunConfig(
        scene=paths, out=str(out), output=OutputConfig(preview_px=0, max_failed_tiles=1),
        tiling=TilingConfig(tile_px=TILE_PX, halo_px=0, block_mpx=2 * TILE_PX**2 / 1e6, gsd="native"),
        cluster=ClusterConfig(**{"device": "cpu", "workers": 2, "start_s": 240.0, **cluster}),  # type: ignore[arg-type]
    )  # fmt: skip


def slow_oracle(delay_s: float) -> Detector:
    """The same answers after a while."""
    return Sleepy(oracle(), delay_s)


def run(config: RunConfig, delay_s: float = 0.0, journal: Journal | None = None) -> RunReport:
    """On Ray: the cluster that is there, or that of the configuration."""
    from pipeline.cluster.executor import RayExecutor

    journal = journal or Journal()
    with RayExecutor(partial(slow_oracle, delay_s), config.cluster, journal) as executor:
        return detect(config, CARD, executor, journal)


if __name__ == "__main__":
    paths = tuple(str(Path(sys.argv[1]) / f"{name}.tif") for name in SCENES)
    run(config_of(paths, Path(sys.argv[2]), address=sys.argv[3], scenes=4), delay_s=0.2)
