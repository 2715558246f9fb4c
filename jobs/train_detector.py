"""Train an oriented detector: prepare scenes once, fit, validate on scenes that were held out, export."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # an unpacked copy need not be installed

from jobs.ending import job, to_stdout
from pipeline import __version__
from pipeline.training.flags import (
    add_ablate,
    add_fit,
    add_mine,
    add_names_of_bands,
    add_prepare,
    add_review,
    count,
    names,
    score,
)

EXAMPLE = """\
a whole training, step by step (GSD 6 m; two scenes held out choose the score threshold):
  {prog} prepare --annotations train.json --images images --gsd 6 --out prep/real
  {prog} harbours --count 120 --gsd 6 --out prep/harbours
  {prog} fit --scenes prep/real:0.6 prep/harbours:0.4 --hold-out athens,gdynia --out runs/held
  {prog} validate --run runs/held --scenes prep/real --only athens,gdynia --gsd 6
  {prog} fit --scenes prep/real:0.6 prep/harbours:0.4 --out runs/all
  {prog} export --run runs/all --name ships --out weights/ships
by a recipe, from ImageNet's weights, with AP on the way, and the best weights kept:
  {prog} backbone --out weights/efficientnet_lite0
  {prog} fit --recipe ships-s2 --pretrained weights/efficientnet_lite0 --scenes prep/real:0.7 prep/harbours:0.3 \\
      --hold-out athens,gdynia --out runs/best
  {prog} validate --run runs/best --best --scenes prep/real --only athens,gdynia
  {prog} export --run runs/best --best --out weights/best
what a recipe is, which are shipped, and what each part is worth ('ablate'): pipeline/training/README.md
A run that was interrupted goes on from its last checkpoint when the same 'fit' is given again; another 'fit' says what
it changes. run.json in its folder keeps arguments, data and commit; 'validate' adds figures, and 'export' writes a card
of both.
exit codes: 0 done, 2 configuration, 3 scene, 4 model"""


@job("interrupted; the same command goes on from the last checkpoint")
def main(argv: Sequence[str] | None = None, prog: str = "train_detector.py") -> int:
    """Do what the first argument says; return the exit code."""
    arguments = build_parser(prog).parse_args(argv)
    # Imported here because torch takes seconds and --help must not wait for it.
    from pipeline.training import commands

    getattr(commands, arguments.command)(arguments, to_stdout)
    return 0


def build_parser(prog: str) -> argparse.ArgumentParser:
    """One command a step, each with the flags it needs."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, epilog=EXAMPLE.format(prog=prog), formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"kestrel {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    prepare = commands.add_parser(
        "prepare", help="annotated scenes → chips at the model's GSD, with detection's own reader"
    )
    add_prepare(prepare)
    _gsd_and_out(prepare)
    add_review(
        commands.add_parser("review", help="annotations → a copy padded alike in all scenes, with ignore regions")
    )
    harbours = commands.add_parser("harbours", help="procedural harbours → chips, every ship known")
    harbours.add_argument("--first-seed", type=int, default=0)
    harbours.add_argument("--count", type=int, default=120)
    harbours.add_argument("--size", type=int, default=512, help="side of a harbour in pixels of 10 m")
    add_names_of_bands(harbours)
    _gsd_and_out(harbours)
    backbone = commands.add_parser("backbone", help="EfficientNet-Lite0's ImageNet weights → a folder for --pretrained")
    backbone.add_argument("--out", type=Path, required=True)
    add_mine(commands.add_parser("mine", help="a detector's false alarms on prepared scenes → places for 'fit'"))
    add_fit(commands.add_parser("fit", help="train, or go on training"))
    add_ablate(commands.add_parser("ablate", help="many trainings that differ in one thing each, and their table"))
    validate = commands.add_parser("validate", help="AP50, precision and recall on prepared scenes")
    validate.add_argument("--run", type=Path, required=True, help="folder of a run; its averaged weights are judged")
    validate.add_argument("--scenes", type=Path, required=True, help="folder of prepared scenes")
    validate.add_argument("--only", type=names, default=(), help="names of scenes, comma-separated (default: all)")
    validate.add_argument("--gsd", type=float, help="metres per pixel of the prepared scenes (default: as they say)")
    validate.add_argument("--tile", type=int, help="side of a tile, pixels (512; of the library's: as learnt)")
    validate.add_argument("--halo", type=int, default=80, help="overlap of tiles, pixels")
    validate.add_argument("--score-threshold", type=score, help="operating point (default: the one of best F1 here)")
    validate.add_argument("--threads", type=count, default=1)
    validate.add_argument(
        "--report", type=Path, help="also write report.html and the matches as CSV, COCO and DOTA to this folder"
    )
    export = commands.add_parser("export", help="averaged weights and card → a folder for --weights")
    export.add_argument("--run", type=Path, required=True)
    export.add_argument("--name", help="of the model (default: that of the run's folder)")
    export.add_argument(
        "--score-threshold", type=score, help="default: what 'validate' chose on held-out scenes, or 0.3"
    )
    export.add_argument(
        "--card",
        type=Path,
        help="json with keys of a card. Name, classes, data and figures come from the run, whatever it says. Taken\n"
        "from it: licence, longest_object_m and input_px; gsd_m, bands, mean and std where the run does not know them\n"
        "and refused where it says otherwise; classes for runs without names, as many as the network has",
    )
    export.add_argument("--out", type=Path, required=True)
    export.add_argument("--onnx", action="store_true", help="write model.onnx there too, for other programs")
    for one in (validate, export):
        one.add_argument("--best", action="store_true", help="the weights that did best on held-out scenes")
    return parser


def _gsd_and_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gsd", type=float, help="metres per pixel on the ground (default: as the scenes are)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the prepared scenes (npz)")


if __name__ == "__main__":
    sys.exit(main())
