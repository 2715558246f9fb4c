"""Reading speed and memory: planned blocks against a plain tile-by-tile rasterio loop, on the same files, one run.

    python -m tests.benchmarks.bench_read                  # 10240 x 10240 pixels
    python -m tests.benchmarks.bench_read --side 20480     # the size the README's figures are for

Makes one tiled and one strip GeoTIFF (uint8 RGB, DEFLATE) in a temporary folder, reads both with each reader in the
same number of processes, and prints: Mpx/s (scene pixels counted once, overlaps not); the same per second of processor
time (which other programs on the machine change less); pixels decoded per pixel delivered (for the plain loop: what it
would decode without a cache); and the growth of resident memory over the imports, all processes together. The plain
loop runs with GDAL's default cache (5 % of the machine's memory in each process) and with the 64 MB that we allow;
the last row is the limit, every pixel of the file decoded once and nothing else.
The files are in the page cache for everybody.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window as RasterioWindow

from pipeline.config import RasterConfig, TilingConfig
from pipeline.planning.blocks import decoded_pixels, delivered_pixels, plan_blocks
from pipeline.planning.tiles import plan_tiles
from pipeline.raster.overview import measure_stretch
from pipeline.raster.reader import SceneReader
from pipeline.raster.scene import open_scene
from pipeline.raster.writer import write_scene
from pipeline.types import Block, Lattice, Scene, Tile, Window

TILE_PX, HALO_PX = 1024, 200
BAND_PX = 512
"""Rows that the bare decoding reads at a time: whole blocks of either file."""
CONFIG = RasterConfig()
Job = tuple[Callable[..., int], *tuple[Any, ...]]
"""A reader and its arguments."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one reader did with one file."""

    seconds: float
    cpu_seconds: float
    """Of all processes together, user and system."""
    growth_bytes: int
    """Resident memory over the imports, summed over the processes, each at its own peak."""
    checksum: int


def texture(side: int = 2048) -> NDArray[np.uint8]:
    """Octaves of noise to the single pixel; DEFLATE makes them 1.8 times smaller, as it does a real 0.1 m RGB tile."""
    rng = np.random.default_rng(1)
    image = np.full((side, side, 3), 110.0, np.float32)
    for cell, contrast in ((256, 20.0), (64, 14.0), (16, 9.0), (4, 5.0), (2, 0.6), (1, 0.5)):
        cells = (side // cell, side // cell)
        noise = rng.standard_normal((*cells, 1)) + 0.2 * rng.standard_normal((*cells, 3))
        image += contrast * np.kron(noise, np.ones((cell, cell, 1))).astype(np.float32)
    return image.clip(0, 223).astype(np.uint8)


def make_file(path: Path, side: int, *, tiled: bool) -> None:
    """A ``side`` x ``side`` scene: the texture repeated, each time brighter, so that DEFLATE finds no repetition."""
    base = texture()
    size = len(base)

    def render(window: Window) -> NDArray[np.uint8]:
        rows, columns = np.arange(window.y, window.y1), np.arange(window.x, window.x1)
        brighter = (rows[:, None] // size * 3 + columns // size) % 32
        return base[rows[:, None] % size, columns % size] + brighter[..., None].astype(np.uint8)

    write_scene(path, width=side, height=side, bands=3, dtype="uint8", crs="EPSG:32633", render=render, tiled=tiled,
                transform=(0.5, 0.0, 5e5, 0.0, -0.5, 5e6), block_px=512 if tiled else 16)  # fmt: skip


def peak_rss_bytes() -> int:
    """Highest resident memory of this process. ``getrusage`` will not do: exec inherits its peak from the parent."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def read_blocks(scene: Scene, lattice: Lattice, blocks: Sequence[Block]) -> int:
    """Ours: each block once; its tiles are views into it."""
    total = 0
    with SceneReader(scene, lattice, measure_stretch(scene, CONFIG), CONFIG) as reader:
        for block in blocks:
            total += sample_tiles(reader, block)
    return total


def sample_tiles(reader: SceneReader, block: Block) -> int:
    """A sum over some pixels of every tile of one block. As in a read task, the block is gone before the next."""
    pixels, _ = reader.read(block.window)
    places = [(tile.window.y - block.window.y, tile.window.x - block.window.x, tile.window) for tile in block.tiles]
    return sum(int(pixels[y : y + size.height, x : x + size.width][::97, ::97].sum()) for y, x, size in places)


def read_tiles(scene: Scene, tiles: Sequence[Tile], cache: dict[str, int]) -> int:
    """The plain way: one rasterio read per tile. GDAL as it comes caches 5 % of the machine's memory per process."""
    total = 0
    with rasterio.Env(**cache), rasterio.open(scene.uris[0]) as file:
        for tile in tiles:
            window = tile.window
            pixels = file.read(window=RasterioWindow(window.x, window.y, window.width, window.height))
            total += int(pixels[:, ::97, ::97].sum())
    return total


def read_once(scene: Scene, bands: Sequence[Window]) -> int:
    """The limit: every block of the file decoded exactly once, nothing cut from it, no overlap."""
    total = 0
    with rasterio.Env(GDAL_CACHEMAX=CONFIG.gdal_cache_mb * 1_000_000), rasterio.open(scene.uris[0]) as file:
        for window in bands:
            area = RasterioWindow(window.x, window.y, window.width, window.height)
            total += int(file.read(window=area)[:, ::97, ::97].sum())
    return total


def work(job: Job, start: Barrier, results: SimpleQueue[Reading]) -> None:
    """One process: wait until all have imported, read, and report."""
    read, *arguments = job
    before = psutil.Process().memory_info().rss
    start.wait()
    cpu, began = time.process_time(), time.perf_counter()
    checksum = read(*arguments)
    results.put(Reading(time.perf_counter() - began, time.process_time() - cpu, peak_rss_bytes() - before, checksum))


def measure(jobs: Sequence[Job]) -> Reading:
    """Run the jobs in a fresh process each, at the same time."""
    spawn = multiprocessing.get_context("spawn")
    start, results = spawn.Barrier(len(jobs) + 1), spawn.SimpleQueue()
    processes = [spawn.Process(target=work, args=(job, start, results)) for job in jobs]
    for process in processes:
        process.start()
    start.wait()
    answers = [results.get() for _ in processes]
    for process in processes:
        process.join()
    return Reading(
        max(answer.seconds for answer in answers),
        sum(answer.cpu_seconds for answer in answers),
        sum(answer.growth_bytes for answer in answers),
        sum(answer.checksum for answer in answers),
    )


def compare(path: Path, name: str, workers: int) -> None:
    """Print the rows of one file."""
    scene = open_scene(str(path), CONFIG)
    lattice = Lattice(width=scene.width, height=scene.height, scale_x=1.0, scale_y=1.0, gsd_m=0.5)
    tiles = plan_tiles(lattice, TILE_PX, HALO_PX)
    blocks = plan_blocks(tiles, scene, lattice, TilingConfig().block_mpx)
    ratio = decoded_pixels(blocks, scene, lattice) / delivered_pixels(tiles, scene, lattice)
    plain_blocks = [Block(block_id=tile.index, window=tile.window, tiles=(tile,)) for tile in tiles]
    plain_ratio = decoded_pixels(plain_blocks, scene, lattice) / delivered_pixels(tiles, scene, lattice)
    share = -(-len(tiles) // workers)
    shares = [tiles[i * share : (i + 1) * share] for i in range(workers)]
    plain = measure([(read_tiles, scene, part, {}) for part in shares])
    bounded = measure(
        [(read_tiles, scene, part, {"GDAL_CACHEMAX": CONFIG.gdal_cache_mb * 1_000_000}) for part in shares]
    )
    ours = measure([(read_blocks, scene, lattice, blocks[i::workers]) for i in range(workers)])
    assert ours.checksum == plain.checksum, "the two readers disagree"
    bands = [
        Window(x=0, y=y, width=scene.width, height=min(BAND_PX, scene.height - y))
        for y in range(0, scene.height, BAND_PX)
    ]
    limit = measure([(read_once, scene, bands[i::workers]) for i in range(workers)])
    mpx = scene.width * scene.height / 1e6
    rows = (("tile by tile", plain, plain_ratio), ("same, 64 MB", bounded, plain_ratio), ("planned", ours, ratio),
            ("each pixel once", limit, 1.0))  # fmt: skip
    for reader, reading, decoded in rows:
        print(f"{name:14} {reader:15} {mpx / reading.seconds:7.0f} {plain.seconds / reading.seconds:6.2f} "
              f"{mpx / reading.cpu_seconds:11.0f} {plain.cpu_seconds / reading.cpu_seconds:6.2f} "
              f"{decoded:8.2f} {reading.growth_bytes / 1e6:10.0f}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=10_240, help="side of the scenes, pixels")
    parser.add_argument("--workers", type=int, default=2, help="processes of each reader")
    parser.add_argument("--rounds", type=int, default=1, help="repetitions of the whole comparison")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = {"tiled DEFLATE": Path(folder) / "tiled.tif", "strip DEFLATE": Path(folder) / "strip.tif"}
        for name, path in paths.items():
            make_file(path, arguments.side, tiled=name.startswith("tiled"))
            ratio = arguments.side**2 * 3 / path.stat().st_size
            print(f"{name}: {path.stat().st_size / 1e6:.0f} MB on disk, compressed {ratio:.2f} times")
        print(f"{arguments.workers} processes, tiles {TILE_PX} px with {HALO_PX} px overlap")
        print(f"{'file':14} {'reader':15} {'Mpx/s':>7} {'ratio':>6} {'Mpx/cpu-s':>11} {'ratio':>6} {'decoded':>8} "
              f"{'growth, MB':>10}")  # fmt: skip
        for _ in range(arguments.rounds):
            for name, path in paths.items():
                compare(path, name, arguments.workers)
            print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
