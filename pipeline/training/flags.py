"""Flags of most commands. Imports nothing that takes long: ``--help`` does not wait for torch."""

from __future__ import annotations

import argparse
import math
from functools import partial
from pathlib import Path

RECIPE = """\
YAML file, or name of a shipped one: all that defines a training, in the sections data, network, losses and schedule,
whose keys and shipped recipes stand in pipeline/training/README.md; the flags below override it"""


ANNOTATIONS = """\
COCO json; folder of DOTA or YOLO txt; data.yaml of YOLO or YOLO-OBB; GeoJSON, GeoPackage, GeoParquet or Shapefile, in
any CRS, a corrected result of 'detect' too: what it is is found from what is in it"""

WORKERS = """\
train on N workers of Ray Train, or LEAST,MOST, which share the tiles of every step: each --threads cores, and a GPU
with --device cuda; a worker that dies is replaced. RAY_ADDRESS says which cluster (a local one)"""
BLOCKS = """\
hold out square blocks of this side, prepared pixels, and not whole scenes: for few large ones (a share of 0.2, else
that of --hold-out-share)"""


def add_fit(parser: argparse.ArgumentParser) -> None:
    """What is not given is as the recipe says, else as shown."""
    add = partial(parser.add_argument, default=argparse.SUPPRESS)
    parser.add_argument("--recipe", help=RECIPE)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run: checkpoint, metrics, run.json")
    parser.add_argument("--threads", type=count, default=2, help="CPU threads (2)")
    parser.add_argument("--workers", type=_workers, metavar="N", help=WORKERS)
    add("--scenes", nargs="+", metavar="FOLDER[:SHARE]", help="prepared scenes, and shares of the tiles")
    add("--hold-out", type=names, help="names of scenes that are not trained on")
    add(
        "--choose",
        nargs="+",
        metavar="FOLDER",
        help="prepared scenes that, as those held out, choose the best",
    )
    add(
        "--family",
        help="oriented_rtdetr, oriented_fcos, or transformers (as the folder of --init, else the first)",
    )
    add("--init", help="start from this checkpoint's weights, not from nothing: a folder, or a name on the hub")
    add("--pretrained", help="folder made by 'backbone': EfficientNet-Lite0 that has seen ImageNet, not our own")
    add("--classes", type=int, help="how many, for scenes that do not name them (default: as --init, else 1)")
    add("--steps", type=int, help="2000")
    add("--tiles", type=int, help="tiles per step (6)")
    add("--sizes", type=_integers, help="sides of tiles, pixels, multiples of 32 (192,224,256)")
    add("--learning-rate", type=float, help="6e-4")
    add("--paste", type=float, help="mean number of objects copied into a tile (1.5)")
    add("--scale-range", type=_range, metavar="LOW,HIGH", help="magnification of tiles (0.75,1.4)")
    add("--false-alarms", help="file of places that 'mine' found: tiles are drawn there more often")
    add("--quarter-turns", action="store_true", help="turn tiles by multiples of 90 degrees only: for horizontal boxes")
    add("--light", type=float, help="strength of the photometric jitter (1)")
    add("--seed", type=int, help="0")
    add("--device", help="cpu or cuda (bfloat16)")
    add("--checkpoint-steps", type=int, help="100")
    add(
        "--validate-steps",
        type=int,
        help="steps between AP of held-out scenes and of those trained on (0: at the end only)",
    )
    add("--validate-scenes", type=int, help="most scenes of either kind that are judged then (24)")


def add_ablate(parser: argparse.ArgumentParser) -> None:
    """A plan, and where its data and its runs are."""
    parser.add_argument("--plan", required=True, help="YAML file, or name of a shipped one: recipes, sets, seeds")
    parser.add_argument("--data", type=Path, required=True, help="folder of the folders of prepared scenes")
    parser.add_argument("--out", type=Path, required=True, help="folder of runs, rows.jsonl and table.md")
    parser.add_argument("--only", type=names, default=(), help="names of recipes, comma-separated (default: all)")
    parser.add_argument("--sets", type=names, default=(), help="names of sets, comma-separated (default: all)")
    parser.add_argument("--steps", type=int, help="of every training (default: as the plan says)")
    parser.add_argument("--threads", type=count, default=1, help="CPU threads; two processes may do the same plan")
    parser.add_argument("--table-only", action="store_true", help="train nothing: the table of the rows that stand")
    parser.add_argument("--dry-run", action="store_true", help="list the trainings, and which have a row")


def add_prepare(parser: argparse.ArgumentParser) -> None:
    """Annotated images, and what is learnt from them."""
    parser.add_argument("--annotations", type=Path, required=True, help=ANNOTATIONS)
    parser.add_argument("--images", type=Path, help="folder of the images, or one image; a data.yaml says it itself")
    parser.add_argument(
        "--classes",
        type=names,
        help="classes to learn, comma-separated (default: all); objects of others become ignore regions",
    )
    parser.add_argument("--split", default="train", help="of a data.yaml: train, val or test (train)")
    parser.add_argument("--class-column", help="of a vector file: which column says what an object is")
    parser.add_argument("--ignore", type=Path, help="vector file: where detections are neither right nor wrong")
    parser.add_argument("--hold-out-share", type=float, help="hold out this share of the scenes, in OUT/val (none)")
    parser.add_argument("--split-blocks", type=int, metavar="PX", help=BLOCKS)
    parser.add_argument("--split-buffer", type=int, metavar="PX", help="around held-out blocks, on neither side (32)")
    parser.add_argument("--split-seed", type=int, default=0, help="another seed holds out others (0)")
    for flag, what in (("--only", "images with such a name only"), ("--without", "images with such a name not")):
        parser.add_argument(flag, type=names, default=(), help=f"{what}: patterns of stems, comma-separated")
    parser.add_argument(
        "--shrink", type=float, default=1.0, help="make pixels this many times larger: for images without a GSD"
    )
    add_bands(parser)


def add_review(parser: argparse.ArgumentParser) -> None:
    """Annotations, and what to do about them."""
    add = parser.add_argument
    add("--annotations", type=Path, required=True, help="COCO json with oriented boxes; it is not changed")
    add("--images", type=Path, required=True, help="folder of the images")
    add("--regions", type=Path, help="yaml: scene → [x0, y0, x1, y1, what], regions to be ignored")
    add("--out", type=Path, required=True, help="the reviewed COCO json")
    add_bands(parser)


def add_mine(parser: argparse.ArgumentParser) -> None:
    """A detector, and where it looks."""
    add = parser.add_argument
    add("--weights", required=True, help="a detector, best one that never saw these scenes: a fold's, exported")
    add("--scenes", type=Path, required=True, help="folder of prepared scenes")
    add("--only", type=names, default=(), help="names of scenes, comma-separated (default: all)")
    add("--lowest-score", type=score, default=0.1, help="of a false alarm that counts")
    add("--halo", type=int, default=80, help="overlap of tiles, pixels")
    add("--threads", type=count, default=1)
    add("--out", type=Path, required=True, help="json; scenes that are in it already and not mined now stay")


def add_bands(parser: argparse.ArgumentParser) -> None:
    """Which bands of the images, and where those lie that do not say."""
    add_names_of_bands(parser)
    parser.add_argument("--band-numbers", type=_integers, help="where these bands stand in files that do not say")
    parser.add_argument(
        "--raster.crs", dest="crs", help="the CRS of images that lack it, as in 'detect'; none: pixels alone"
    )


def add_names_of_bands(parser: argparse.ArgumentParser) -> None:
    """What a model calls its bands."""
    colours = ("red", "green", "blue")
    what = "names of the bands to look at, comma-separated, e.g. nir; files are read by what they call their bands"
    parser.add_argument("--bands", type=names, default=colours, help=what)


def names(text: str) -> tuple[str, ...]:
    """Comma-separated."""
    return tuple(name for name in text.split(",") if name)


def count(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number of at least 1, not {text}")
    return int(text)


def score(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"a number from 0 to 1, not {text}")
    return value


def _workers(text: str) -> tuple[int, int]:
    """``N`` or ``LEAST,MOST``."""
    least, _, most = text.partition(",")
    answer = count(least), count(most or least)
    if answer[0] > answer[1]:
        raise argparse.ArgumentTypeError(f"the least before the most, not {text}")
    return answer


def _range(text: str) -> tuple[float, float]:
    low, high = (float(number) for number in text.split(","))
    if not 0 < low <= high:
        raise ValueError(text)
    return low, high


def _integers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))
