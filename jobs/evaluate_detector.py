"""Measure a detector, or a published result, against annotations: average precision, precision, recall, F1.
With --strategies: compare ways of looking (one look, a second look by each selector, exhaustive tiling …).

python jobs/evaluate_detector.py --weights builtin:ships-s2 --data $KESTREL_DATA/sen2ships --split val
python jobs/evaluate_detector.py --results OUT --truth truth.geojson --report report
python jobs/evaluate_detector.py --detections OUT/*/detections.parquet --annotations truth.json
python jobs/evaluate_detector.py --weights W --data coco.json --strategies global,sae,random,exhaustive \\
    --budgets 0.1,0.25,0.5 --global-factor 2 --tile 640 --out results
Any other --section.key value of detect_scene.py is shared by all strategies, e.g. --refine.scales '[0.5]'.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # an unpacked copy need not be installed

from jobs.ending import job
from pipeline import __version__
from pipeline.config import ClusterConfig, DetectorConfig, RunConfig
from pipeline.detectors.weights import model_card
from pipeline.errors import ConfigError
from pipeline.evaluation.calibrated import calibrate_card, folder_to_calibrate
from pipeline.evaluation.coco_metrics import horizontal_metrics
from pipeline.evaluation.comparison.command import add_experiment_arguments, compare_strategies
from pipeline.evaluation.data import judged_by, read_data
from pipeline.evaluation.judged import Judged
from pipeline.evaluation.published.command import add_result_arguments, asks_for_results, results_of
from pipeline.evaluation.report import as_text, figures
from pipeline.evaluation.report_folder import check_folder, write_report
from pipeline.evaluation.sources import judged_detector, judged_files
from pipeline.names import near_names, quoted


@job("interrupted; no figures were written, and the same command starts anew")
def main(argv: Sequence[str] | None = None, prog: str = "evaluate_detector.py") -> int:
    """Print the figures (and write them with ``--json``); return the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    arguments, others = _parser(prog).parse_known_args(given)
    alone = next((name for name in ("calibrate", "report", "results", "truth") if getattr(arguments, name)), None)
    if alone and arguments.strategies:
        raise ConfigError(f"--{alone} is of one way of looking; leave out --strategies")
    if arguments.strategies:
        compare_strategies(arguments, others, as_typed(prog, given))
    elif others:
        raise ConfigError(_unknown(others[0]))
    else:
        evaluate(arguments)
    return 0


def _unknown(flag: str) -> str:
    """What to say of a flag that is none of ours, or a setting of a run where there is none."""
    name = flag.removeprefix("--").partition("=")[0]
    ours = (option for action in _parser("")._actions for option in action.option_strings)
    # Flags of a comparison have no dots: what has one is a setting of a run, however near its last part comes.
    near = [] if "." in name else near_names(name, [one.removeprefix("--") for one in ours if one.startswith("--")])
    hint = (
        f"did you mean --{' or --'.join(near)}?" if near else "settings of a run are for --strategies only; see --help"
    )
    return f"unknown {quoted(flag)}; {hint}"


def as_typed(prog: str, given: Sequence[str]) -> str:
    """The command line, as it can be pasted into a shell: from anywhere, or in the checkout for a job's own file."""
    return " ".join([*([f"python jobs/{prog}"] if prog.endswith(".py") else [prog]), shlex.join(given)])


def evaluate(arguments: argparse.Namespace) -> None:
    """Detect or read, compare, report. Raises PipelineError."""
    if arguments.report:
        check_folder(arguments.report)  # before a detector works for an hour
    folder = folder_to_calibrate(arguments.weights) if arguments.calibrate else None
    judged = _judged(arguments)
    found, scenes, notes = judged.found, judged.truth, judged.notes
    report = figures(found, scenes, classes=judged.classes, score_threshold=judged.score_threshold)
    if folder is not None:
        how = "published results" if arguments.detections or arguments.results else "the detector itself"
        calibration, sentence = calibrate_card(folder, found, scenes, found_by=how, flips=arguments.flips)
        report["calibration"], notes = asdict(calibration), (*notes, sentence)
    if arguments.horizontal:
        by_scene = [found[name] for name in scenes]
        report["horizontal"] = horizontal_metrics(by_scene, list(scenes.values()), class_count=len(judged.classes))
    if arguments.report:
        notes = (*notes, write_report(judged, report, arguments.report))
    if arguments.json:  # before anything is printed, which may end where nobody reads it
        Path(arguments.json).write_text(json.dumps(report, indent=2) + "\n")
    if arguments.horizontal:
        print("bounds only (pycocotools): " + ", ".join(f"{k} {v:.3f}" for k, v in report["horizontal"].items()))
    print("\n".join([as_text(report), *notes]))


def _judged(arguments: argparse.Namespace) -> Judged:
    if asks_for_results(arguments):
        return results_of(arguments)
    if (arguments.annotations is None) == (arguments.data is None):
        raise ConfigError("give either --data with --split, or --annotations")
    source = Path(arguments.annotations or arguments.data)
    if arguments.detections:
        return judged_files(arguments.detections, source, arguments.split, arguments.score_threshold or 0.0)
    card = model_card(arguments.weights)
    data = judged_by(read_data(source, arguments.split, arguments.images), card.classes)
    threshold = card.score_threshold if arguments.score_threshold is None else arguments.score_threshold
    return judged_detector(data, card, _config(arguments, threshold), threshold, source.name)


def _config(arguments: argparse.Namespace, threshold: float) -> RunConfig:
    """The product's own main path, down to the lowest score that enters AP."""
    return RunConfig(
        weights=arguments.weights,
        executor="local",
        detector=DetectorConfig(score_threshold=min(arguments.lowest_score, threshold), flips=arguments.flips),
        cluster=ClusterConfig(threads=arguments.threads),
    )


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawTextHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--version", action="version", version=f"kestrel {__version__}")
    add("--weights", default="builtin:ships-s2", help="detector to run (default: builtin:ships-s2)")
    add("--detections", nargs="+", help="judge these Parquet files instead of running a detector")
    add("--data", type=Path, help="folder with images/ and annotations/<split>.json; COCO json; DOTA folder")
    add("--split", default="val", help="which annotation file of --data (default: val)")
    add("--annotations", help="COCO json file, or *.truth.geojson with --detections, in place of --data and --split")
    add("--images", type=Path, help="folder of the scenes (default: beside annotations, or where a result says)")
    add("--score-threshold", type=float, help="where precision and recall are taken (default: the model card's)")
    add("--lowest-score", type=float, default=0.01, help="detections below it do not enter AP (default: 0.01)")
    add("--flips", action="store_true", help="look at every chip mirrored too, four times in all (detector.flips)")
    calibrate = "put what scores are worth into the card of --weights, a folder; give scenes it was not trained on"
    add("--calibrate", action="store_true", help=calibrate)
    add("--horizontal", action="store_true", help="also COCO's own metrics of the boxes' bounds")
    add("--threads", type=int, default=1, help="CPU threads of the network (default: 1)")
    add("--report", type=Path, help="also write report.html and the matches as CSV, COCO and DOTA to this folder")
    add("--json", help="write the figures to this file")
    add_result_arguments(parser)
    add_experiment_arguments(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
