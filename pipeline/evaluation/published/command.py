"""The part of ``jobs/evaluate_detector.py`` that judges results without the detector: its flags, what they start."""

from __future__ import annotations

import argparse

from pipeline.errors import ConfigError
from pipeline.evaluation.judged import Judged
from pipeline.evaluation.published.judging import judged_results

ELSEWHERE = ("data", "annotations", "detections", "strategies")
"""Flags that say another source of detections or truth."""
OWN = ("results", "truth", "truth_class_column", "ignore")
"""The flags of this part."""


def add_result_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of a result that is judged without its detector."""
    group = parser.add_argument_group("judging a published result, without the detector")
    add = group.add_argument
    add("--results", metavar="OUT", help="the --out of a run, or the folder of one scene in it")
    add(
        "--truth", metavar="FILE", help="GeoJSON, GeoPackage, GeoParquet, Shapefile or FlatGeobuf in any CRS; COCO json"
    )
    column = "column of --truth that says the class; none: all are of the only class (default: class_name, class, …)"
    add("--truth-class-column", metavar="COLUMN", help=column)
    add("--ignore", metavar="FILE", help="vector file of regions where nothing is right or wrong")


def asks_for_results(arguments: argparse.Namespace) -> bool:
    """Whether a published result is to be judged."""
    return any(getattr(arguments, name) is not None for name in OWN)


def results_of(arguments: argparse.Namespace) -> Judged:
    """What ``--results`` and ``--truth`` name, brought together. Raises ConfigError, StorageError."""
    other = [name for name in ELSEWHERE if getattr(arguments, name)]
    if other:
        raise ConfigError(f"--results is judged by --truth alone; leave out --{other[0]}")
    if arguments.truth is None or arguments.results is None:
        raise ConfigError("--results and --truth go together: the --out of a run, and a vector file or COCO json")
    return judged_results(
        arguments.results, arguments.truth, class_column=arguments.truth_class_column, ignore=arguments.ignore,
        images=arguments.images, threshold=arguments.score_threshold,
    )  # fmt: skip
