"""One scene, its undisturbed result, and jobs on it that are disturbed: what the drill's tests are made of."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq
import rasterio
from rasterio.enums import Resampling

from pipeline.command_line import parse_run
from pipeline.config import RunConfig
from pipeline.detectors.weights import model_card
from pipeline.planning.plan import plan_scene, screen
from pipeline.raster.writer import write_scene
from pipeline.storage.files import file_names
from pipeline.synth.harbour.harbour import Harbour
from pipeline.types import Block, Tile, Window
from tests.conftest import ROOT

SAME_BYTES = ("detections.parquet", "detections.geojson", "detections.gpkg", "failures.parquet")
FLAGS = (
    "--tiling.tile_px", "192", "--tiling.halo_px", "64", "--tiling.global_factor", "2", "--refine.budget", "0.5",
    "--raster.stretch", "fixed", "--raster.stretch_range", "[0, 2500]", "--detector.score_threshold", "0.1",
    "--output.preview_px", "256", "--cluster.device", "cpu", "--cluster.workers", "2", "--cluster.start_s", "240",
)  # fmt: skip
"""Two looks by the embedded detector at many small tiles. The stretch is fixed, or a damaged block would move it."""
PATIENCE_S = 240


@dataclass(frozen=True)
class Size:
    """How much of the drill."""

    name: str
    side_px: int
    """Of the scene, at 10 m; the lattice is 6 m."""
    block_mpx: float
    driver_kills: int
    kills: int
    """Of actors, and of reading workers."""


SHORT = Size("short", 330, 0.09, driver_kills=2, kills=1)
FULL = Size("full", 1400, 0.14, driver_kills=20, kills=5)


@dataclass(frozen=True)
class Row:
    """One line of the drill's table."""

    fault: str
    times: int
    tiles: int
    recomputed: int
    """Looks at tiles beyond the first at each."""
    failed: int
    """Tiles that truly could not be done, each named in failures.parquet."""
    lost: int
    duplicates: int
    same: str
    seconds: float


@dataclass
class Drill:
    """A scene in a folder, and what an undisturbed run publishes for it."""

    folder: Path
    size: Size
    random: random.Random = field(default_factory=lambda: random.Random(11))
    rows: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scene = self.folder / "harbour.tif"
        _write(self.scene, self.size.side_px)
        config = self.config("unused")
        self.plan, _ = screen(plan_scene(str(self.scene), config, model_card(config.weights), None), config,
                               model_card(config.weights))  # fmt: skip
        self.tiles: tuple[Tile, ...] = self.plan.tiles
        self.blocks: tuple[Block, ...] = self.plan.blocks
        quiet = self.job("quiet", executor="local")
        quiet.ended(0)
        self.quiet = quiet.out / "harbour"

    def flags(self, out: str, *extra: str, scene: str | None = None) -> list[str]:
        """The command line of a job."""
        where = ["--scene", scene or str(self.scene), "--out", out, "--tiling.block_mpx", str(self.size.block_mpx)]
        return [*where, *FLAGS, *extra]

    def config(self, out: str, *extra: str) -> RunConfig:
        parsed = parse_run(self.flags(out, *extra), "drill")
        assert isinstance(parsed, RunConfig)
        return parsed

    def job(
        self, name: str, *extra: str, address: str | None = None, executor: str = "ray", out: str | None = None,
        scene: str | None = None, faults: Sequence[str] = (), environment: dict[str, str] | None = None,
    ) -> Job:  # fmt: skip
        """Start a job; every one of the same ``name`` goes on with the same output folder."""
        where = out or str(self.folder / name)
        flags = self.flags(where, "--executor", executor, *extra, scene=scene)
        flags += ["--cluster.address", address] if address else []
        diary = self.folder / f"{name}.diary"
        command = [sys.executable, "-m", "tests.chaos.job", "--diary", str(diary)]
        command += [part for fault in faults for part in ("--fault", fault)]
        log = self.folder / f"{name}.log"
        started = time.monotonic()
        with log.open("a") as lines:
            process = subprocess.Popen(
                [*command, "--", *flags], cwd=ROOT, stderr=lines, stdout=lines,
                env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
            )  # fmt: skip
        return Job(process, where, diary, log, started, self)

    def tile_with_ships(self) -> Tile:
        """A tile in the middle of the list that holds ships: the one that faults are aimed at."""
        found = pq.read_table(self.quiet / "detections.parquet")["tile_id"].to_pylist()
        counted = Counter(found).most_common()
        wanted = counted[len(counted) // 2][0]
        return next(tile for tile in self.tiles if tile.tile_id == wanted)

    def block_of(self, tile: Tile) -> Block:
        return next(block for block in self.blocks if tile in block.tiles)

    def note(
        self, fault: str, times: int, job: Job, *, hurt: Sequence[Tile] = (), folder: Path | None = None,
        quiet: Path | None = None,
    ) -> Row:  # fmt: skip
        """Compare what a job published with the undisturbed result, and keep the line for the table.

        ``quiet`` is the undisturbed result of a job with other settings than the drill's own.
        """
        published = folder or job.out / "harbour"
        record = json.loads((published / "run.json").read_text())
        ids = pq.read_table(published / "detections.parquet")["detection_id"].to_pylist()
        counts = record["tiles"]
        failures = pq.read_table(published / "failures.parquet")["tile_id"].to_pylist()
        looks = Counter(job.looks())
        lost = counts["planned"] - counts["done"] - counts["skipped_empty"] - counts["skipped_outside_aoi"]
        same = self._same(published, quiet or self.quiet) if not hurt else self._same_outside(published, hurt)
        row = Row(
            fault=fault, times=times, tiles=len(self.tiles),
            recomputed=sum(looks[tile.window] - 1 for tile in self.tiles if looks[tile.window] > 1),
            failed=len(failures), lost=lost - len(failures), duplicates=len(ids) - len(set(ids)), same=same,
            seconds=time.monotonic() - job.started,
        )  # fmt: skip
        self.rows.append(row)
        assert row.lost == row.duplicates == 0, row
        assert set(failures) == {tile.tile_id for tile in hurt}, row
        assert not same.startswith("no"), row
        return row

    @staticmethod
    def _same(published: Path, quiet: Path) -> str:
        differ = [name for name in SAME_BYTES if (published / name).read_bytes() != (quiet / name).read_bytes()]
        return f"no: {', '.join(differ)}" if differ else "yes"

    def _same_outside(self, published: Path, hurt: Sequence[Tile]) -> str:
        """Rows away from the blocks of the hurt tiles: equal to the bit. Inside, outside the tiles: told."""
        ours, theirs = _rows(published), _rows(self.quiet)
        lattice = self.plan.lattice
        scale = np.array([lattice.scale_x, lattice.scale_y])
        blocks = [self.block_of(tile).window for tile in hurt]
        far_ours, far_theirs = (rows[~_inside(rows, blocks, scale)] for rows in (ours, theirs))
        if not far_ours.reset_index(drop=True).equals(far_theirs.reset_index(drop=True)):
            return "no: differs outside the blocks of the failed tiles"
        near_ours, near_theirs = (
            rows[_inside(rows, blocks, scale) & ~_inside(rows, [tile.window for tile in hurt], scale)]
            for rows in (ours, theirs)
        )
        gone = len(set(near_theirs.detection_id) ^ set(near_ours.detection_id))
        return "yes, outside them" if gone == 0 else f"yes, outside their blocks ({gone} boxes differ inside)"


@dataclass
class Job:
    """A running job of the drill."""

    process: subprocess.Popen[bytes]
    where: str
    diary: Path
    log: Path
    started: float
    drill: Drill

    @property
    def out(self) -> Path:
        return Path(self.where)

    def parts(self) -> int:
        """Blocks that are done for good."""
        return sum(name.endswith(".parquet") for name in file_names(f"{self.where}/harbour/_work"))

    def looks(self) -> list[Window]:
        """Every window that was looked at, by all jobs of this name."""
        lines = [line.split() for line in self.diary.read_text().splitlines()] if self.diary.exists() else []
        return [Window(x=int(x), y=int(y), width=int(w), height=int(h)) for _, _, x, y, w, h in lines]

    def last(self) -> tuple[str, int] | None:
        """Node and process of the latest look."""
        lines = self.diary.read_text().splitlines() if self.diary.exists() else []
        return (lines[-1].split()[0], int(lines[-1].split()[1])) if lines else None

    def until(self, happened: Callable[[], Any]) -> Any:
        """What ``happened`` says first, while the job runs; None when it ended before."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if (seen := happened()) or self.process.poll() is not None:
                return seen or None
            time.sleep(0.02)
        raise AssertionError(f"nothing happened within {PATIENCE_S} s: {self.tail()}")

    def ended(self, exit_code: int) -> Job:
        """Wait for the end, and for that exit code."""
        code = self.process.wait(timeout=2 * PATIENCE_S)
        assert code == exit_code, f"exit code {code}: {self.tail()}"
        return self

    def tail(self) -> str:
        return self.log.read_text()[-3000:]


def workers(raylets: Sequence[int], title: str) -> list[int]:
    """Process ids under these raylets whose title begins with ``title``."""
    found = []
    for raylet in raylets:
        for process in psutil.Process(raylet).children(recursive=True):
            try:
                if "".join(process.cmdline()).startswith(title):
                    found.append(process.pid)
            except psutil.Error:
                continue
    return found


def table(rows: Sequence[Row]) -> str:
    """The drill's table, in Markdown."""
    head = "| fault | times | tiles | recomputed | failed | lost | duplicates | same as undisturbed | s |"
    lines = [head, "|---|---|---|---|---|---|---|---|---|"]
    for row in rows:
        values = {**asdict(row), "seconds": f"{row.seconds:.0f}"}
        lines.append("| " + " | ".join(str(value) for value in values.values()) + " |")
    return "\n".join(lines)


def fault(kind: str, **settings: Any) -> str:
    """A fault of tests/faults.py as the job's command line takes it."""
    values = {key: asdict(value) if isinstance(value, Window) else value for key, value in settings.items()}
    return f"{kind}={json.dumps(values)}"


def _write(path: Path, side_px: int) -> None:
    harbour = Harbour(seed=20_000_008, width=side_px, height=side_px)
    write_scene(
        path, width=side_px, height=side_px, bands=3, dtype="uint16", crs="EPSG:32632",
        transform=(10.0, 0.0, 400_000.0, 0.0, -10.0, 5_000_000.0), render=harbour.render, block_px=128,
    )  # fmt: skip
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4], Resampling.average)


def _rows(folder: Path) -> pd.DataFrame:
    table = pd.DataFrame(pq.read_table(folder / "detections.parquet").to_pydict())
    return table.drop(columns=["run_id"]).sort_values("detection_id")


def _inside(rows: pd.DataFrame, windows: Sequence[Window], scale: Any) -> Any:
    """Which rows have their centre in one of the lattice windows."""
    x, y = rows.px_cx.to_numpy() / scale[0], rows.px_cy.to_numpy() / scale[1]
    inside = np.zeros(len(rows), np.bool_)
    for window in windows:
        inside |= (x >= window.x) & (x < window.x1) & (y >= window.y) & (y < window.y1)
    return inside
