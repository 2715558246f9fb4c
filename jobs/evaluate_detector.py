"""Measure a detector, or a published result, against annotations: average precision, precision, recall, F1.

python jobs/evaluate_detector.py --weights builtin:ships-s2 --data $KESTREL_DATA/sen2ships --split val
python jobs/evaluate_detector.py --detections OUT/*/detections.parquet --annotations truth.json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # an unpacked copy need not be installed

from pipeline.config import ClusterConfig, DetectorConfig, RunConfig
from pipeline.errors import ConfigError, PipelineError
from pipeline.evaluation.coco import AnnotatedScenes, horizontal_metrics, read_annotations
from pipeline.evaluation.report import as_text, check_classes, detections_from_columns, figures
from pipeline.evaluation.truth import read_truth
from pipeline.tables import Table, read_detections
from pipeline.types import Detections


def main(argv: Sequence[str] | None = None, prog: str = "evaluate_detector.py") -> int:
    """Print the figures (and write them with ``--json``); return the exit code."""
    arguments = _parser(prog).parse_args(argv)
    try:
        evaluate(arguments)
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def evaluate(arguments: argparse.Namespace) -> None:
    """Detect or read, compare, report. Raises PipelineError."""
    if (arguments.annotations is None) == (arguments.data is None):
        raise ConfigError("give either --data FOLDER with --split NAME, or --annotations FILE")
    path = Path(arguments.annotations or Path(arguments.data) / "annotations" / f"{arguments.split}.json")
    truth = read_truth(path) if path.suffix == ".geojson" else read_annotations(path)
    if arguments.detections:
        found, threshold = _published(arguments, truth), arguments.score_threshold or 0.0
    else:
        found, threshold = _detected(arguments, truth, path)
    report = figures(found, truth.scenes, classes=truth.classes, score_threshold=threshold)
    if arguments.horizontal:
        scenes = [found[name] for name in truth.scenes]
        report["horizontal"] = horizontal_metrics(scenes, list(truth.scenes.values()), class_count=len(truth.classes))
        print("bounds only (pycocotools): " + ", ".join(f"{k} {v:.3f}" for k, v in report["horizontal"].items()))
    print(as_text(report))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(report, indent=2) + "\n")


def _detected(arguments: argparse.Namespace, truth: AnnotatedScenes, path: Path) -> tuple[dict[str, Detections], float]:
    """Detections of every annotated scene by the product's own main path, and the score threshold to report at."""
    from pipeline.executors import LocalExecutor
    from pipeline.scene_job import detections_of
    from pipeline.weights import load, model_card

    card = model_card(arguments.weights)
    check_classes(card.classes, truth.classes)
    threshold = card.score_threshold if arguments.score_threshold is None else arguments.score_threshold
    config = RunConfig(
        weights=arguments.weights,
        executor="local",
        detector=DetectorConfig(score_threshold=min(arguments.lowest_score, threshold)),
        cluster=ClusterConfig(threads=arguments.threads),
    )
    executor = LocalExecutor(partial(load, arguments.weights, "auto", "float32", arguments.threads))
    images = Path(arguments.images or path.parent.parent / "images")
    found = {}
    for name in truth.scenes:
        table, _, failures = detections_of(str(images / name), card, executor, config)
        for failure in failures:
            print(f"{name}: tile {failure.tile_id} failed ({failure.reason}): what it shows counts as missed")
        found[name] = detections_from_columns(_columns(table), truth.classes)
    return found, threshold


def _published(arguments: argparse.Namespace, truth: AnnotatedScenes) -> dict[str, Detections]:
    """Detections from Parquet files; each goes to the annotated scene whose file stem is its folder's name."""
    tables = {Path(file).parent.name: read_detections(Path(file)) for file in arguments.detections}
    absent = [name for name in truth.scenes if Path(name).stem not in tables]
    if absent:
        raise ConfigError(
            f"no --detections for the annotated scene {absent[0]}: expected {Path(absent[0]).stem}/*.parquet"
        )
    return {name: detections_from_columns(_columns(tables[Path(name).stem]), truth.classes) for name in truth.scenes}


def _columns(table: Table) -> dict[str, list[object]]:
    parts = ("cx", "cy", "w", "h", "angle_rad")
    return {name: table.column(name).to_pylist() for name in ("class_name", "score", *(f"px_{p}" for p in parts))}


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--weights", default="builtin:ships-s2", help="detector to run (default: builtin:ships-s2)")
    add("--detections", nargs="+", help="judge these Parquet files instead of running a detector")
    add("--data", help="folder with images/ and annotations/<split>.json")
    add("--split", default="val", help="which annotation file of --data (default: val)")
    add("--annotations", help="COCO json or *.truth.geojson file, in place of --data and --split")
    add("--images", help="folder of the scenes (default: images/ beside the annotations' folder)")
    add("--score-threshold", type=float, help="where precision and recall are taken (default: the model card's)")
    add("--lowest-score", type=float, default=0.01, help="detections below it do not enter AP (default: 0.01)")
    add("--horizontal", action="store_true", help="also COCO's own metrics of the boxes' bounds")
    add("--threads", type=int, default=1, help="CPU threads of the network (default: 1)")
    add("--json", help="write the figures to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
