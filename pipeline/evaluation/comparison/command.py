"""The experiment's part of ``jobs/evaluate_detector.py``: its flags, and what they start."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from pipeline.command_line import parse_run
from pipeline.errors import ConfigError
from pipeline.evaluation.comparison.experiment import Experiment, run_experiment
from pipeline.evaluation.comparison.strategies import STRATEGIES
from pipeline.evaluation.comparison.text import as_markdown
from pipeline.reporting.journal import to_stderr


def add_experiment_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of a comparison; each is named as the field of Experiment it sets, or the setting of a run."""
    group = parser.add_argument_group("comparing ways of looking")
    add = group.add_argument
    add("--strategies", type=_words, default=(), help=f"with commas, of: {', '.join(STRATEGIES)}")
    add(
        "--budgets", type=_numbers, default=(0.25,), help="pixels of crops, shares of the global look's (default: 0.25)"
    )
    add("--crops", type=_numbers, help="budgets as crops per tile, in place of --budgets, e.g. 1,2,3,5,8")
    add("--global-factor", type=float, default=2.0, help="the global look is shrunk by it (default: 2)")
    add("--tile", type=int, help="side of a tile, lattice pixels (default: the model's input × the factor)")
    add("--gsd", help="lattice of georeferenced scenes: model, native or metres (default: model)")
    add("--shrink", type=float, default=1.0, help="make pixel images this many times smaller first (default: 1)")
    add("--seeds", type=int, default=3, help="runs of the strategy random (default: 3)")
    add(
        "--baseline",
        dest="baselines",
        type=_words,
        default=("global",),
        help="kinds to compare with, with commas (default: global)",
    )
    add("--repeats", type=int, default=1, help="looks at each image, the fastest is timed (default: 1)")
    add("--first", type=int, help="only the first so many images")
    add("--resamples", type=int, default=2000, help="draws of the bootstrap (default: 2000)")
    add("--out", type=Path, default=Path("results"), help="folder of comparison.md, .json and .png (default: results)")
    add("--no-plot", dest="plot", action="store_false", help="write no picture (it needs matplotlib)")
    add("--dota", action="store_true", help="also write Task1_<class>.txt of each strategy to OUT/dota/<strategy>")


def compare_strategies(arguments: argparse.Namespace, others: Sequence[str], command: str) -> None:
    """Run the experiment and print its tables.

    ``others`` are settings of a run (``--section.key value``) that all strategies share. Raises PipelineError.
    """
    if arguments.data is None:
        raise ConfigError(
            "--strategies needs --data: a COCO json file, a folder with images/ and annotations/, or DOTA's"
        )
    shared = {
        "weights": arguments.weights,
        "tiling.global_factor": arguments.global_factor,
        "tiling.tile_px": arguments.tile,
        "tiling.gsd": arguments.gsd,
        "detector.score_threshold": arguments.score_threshold,
        "detector.flips": "true" if arguments.flips else None,
        "cluster.threads": arguments.threads,
    }
    given = [f"--{key}={value}" for key, value in shared.items() if value is not None]
    config = parse_run([*given, *others], "evaluate_detector.py")
    if isinstance(config, str):
        sys.stdout.write(config + "\n")
        return
    if arguments.crops:
        arguments.budgets = budgets_of_crops(arguments.crops, config.refine.scales)
    wanted = {field.name: getattr(arguments, field.name) for field in fields(Experiment) if field.name != "command"}
    experiment = Experiment(**wanted, command=command)
    report = run_experiment(experiment, config, to_stderr)
    sys.stdout.write(as_markdown(report))


def budgets_of_crops(crops: Sequence[float], scales: Sequence[float]) -> tuple[float, ...]:
    """The budgets that pay for so many crops per tile, on average over a block.

    A crop of scale s costs s² of a global look. Raises ConfigError when crops have more than one scale.
    """
    if len(scales) != 1:
        raise ConfigError(f"--crops needs crops of one size, not {len(scales)}; give e.g. --refine.scales '[0.5]'")
    return tuple(count * scales[0] ** 2 for count in crops)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(number) for number in text.split(","))
