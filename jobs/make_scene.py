"""Write a synthetic scene of any size with known objects: a GeoTIFF, and its truth as GeoJSON and COCO json."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # an unpacked copy need not be installed

from jobs.ending import job
from pipeline import __version__
from pipeline.errors import ConfigError
from pipeline.raster.writer import stored_blocks
from pipeline.reporting.journal import to_stderr
from pipeline.synth.harbour.harbour import Harbour
from pipeline.synth.known import KnownScene, ObjectField
from pipeline.synth.scene_files import Placement, make_scene
from pipeline.synth.sparse import SparseScene

EXAMPLE = """\
examples:
  {prog} --kind harbour --seed 7 --out harbour.tif
  {prog} --kind field --width 316000 --height 316000 --dtype uint8 --density 5 --stored-share 0.3 --out huge.tif

harbour   looks like a Sentinel-2 image of a port; the objects are its ships of 50 m and more
field     oriented rectangles that never touch on textured ground, of chosen lengths, density and classes

beside OUT.tif come OUT.truth.geojson (WGS84; not for --crs none) and OUT.coco.json (scene pixels)
exit codes: 0 done, 2 configuration, 3 a CRS that cannot be used, 5 the files cannot be written"""


@job("interrupted; nothing was left behind")
def main(argv: Sequence[str] | None = None, prog: str = "make_scene.py") -> int:
    """Make the scene; return the exit code."""
    arguments = build_parser(prog).parse_args(argv)
    scene, dtype = _scene(arguments)
    crs = None if arguments.crs.lower() == "none" else arguments.crs
    placement = Placement(crs=crs, gsd=arguments.gsd, x=arguments.origin[0], y=arguments.origin[1])
    progress = Progress(total=arguments.width * arguments.height, quiet=arguments.quiet)
    description = f"synthetic {arguments.kind}, seed {arguments.seed}"
    count = make_scene(scene, dtype, arguments.out, placement, progress, {"TIFFTAG_IMAGEDESCRIPTION": description})
    print(f"{arguments.out}: {arguments.width} x {arguments.height} px, {count} known objects")
    if arguments.stored_share is not None:
        stored, blocks = stored_blocks(arguments.out)
        print(f"{stored} of {blocks} blocks are stored ({100 * stored / blocks:.1f} %), "
              f"{arguments.out.stat().st_size / 1e9:.2f} GB")  # fmt: skip
    return 0


def build_parser(prog: str) -> argparse.ArgumentParser:
    """The flags, with their units."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, epilog=EXAMPLE.format(prog=prog),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"kestrel {__version__}")
    parser.add_argument("--out", type=Path, required=True, help="the GeoTIFF to write")
    parser.add_argument("--kind", choices=("harbour", "field"), default="harbour", help="what to show (harbour)")
    parser.add_argument("--seed", type=int, default=20_000_001, help="another seed, another scene (20000001)")
    parser.add_argument("--width", type=int, default=2048, help="pixels (2048)")
    parser.add_argument("--height", type=int, default=1536, help="pixels (1536)")
    parser.add_argument("--gsd", type=float, default=10.0, help="metres per pixel (10)")
    parser.add_argument("--crs", default="EPSG:32632", help="a projected CRS in metres, or none (EPSG:32632)")
    parser.add_argument("--origin", type=float, nargs=2, metavar=("X", "Y"), default=(400_000.0, 4_900_000.0),
                        help="easting and northing of the top left corner (400000 4900000)")  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="no progress")
    field_flags = parser.add_argument_group("only for --kind field")
    field_flags.add_argument("--lengths", type=float, nargs=2, metavar=("LEAST", "MOST"), default=(12.0, 40.0),
                             help="of the objects, pixels (12 40)")  # fmt: skip
    field_flags.add_argument("--density", type=float, default=60.0, help="objects per million pixels (60)")
    field_flags.add_argument("--classes", default="object", help="class names, comma-separated (object)")
    field_flags.add_argument("--stored-share", type=float, metavar="SHARE", help="store only this share of the blocks, "
                             "scattered; the others are holes in the file, nodata to a reader (all)")  # fmt: skip
    field_flags.add_argument("--dtype", choices=("uint8", "uint16"), default="uint8", help="type of the pixels (uint8)")
    return parser


def _scene(arguments: argparse.Namespace) -> tuple[KnownScene, str]:
    """The scene that was asked for, and the type of its pixels."""
    if arguments.width < 1 or arguments.height < 1 or arguments.gsd <= 0:
        raise ConfigError(
            f"a scene needs positive --width, --height and --gsd, got {arguments.width}, {arguments.height}, "
            f"{arguments.gsd:g}"
        )
    size = {"seed": arguments.seed, "width": arguments.width, "height": arguments.height}
    if arguments.kind == "harbour":
        return Harbour(**size, gsd_m=arguments.gsd), "uint16"
    least, most = arguments.lengths
    classes = tuple(arguments.classes.split(","))
    made = ObjectField(**size, shortest_px=least, longest_px=most, density=arguments.density, classes=classes,
                       dtype=arguments.dtype)  # fmt: skip
    if arguments.stored_share is None:
        return made, arguments.dtype
    return SparseScene(whole=made, seed=arguments.seed, stored_share=arguments.stored_share), arguments.dtype


@dataclass
class Progress:
    """Says every two seconds how much is done, how fast, and how long the rest will take."""

    total: int
    """Pixels."""
    quiet: bool
    done: int = 0
    started: float = field(default_factory=time.monotonic)
    said: float = field(default_factory=time.monotonic)

    def __call__(self, pixels: int) -> None:
        self.done += pixels
        now = time.monotonic()
        if self.quiet or now - self.said < 2:
            return
        self.said = now
        rate = self.done / (now - self.started)
        left = (self.total - self.done) / rate
        to_stderr(f"{100 * self.done / self.total:5.1f} %  {rate / 1e6:.1f} Mpx/s  {left:.0f} s left")


if __name__ == "__main__":
    sys.exit(main())
