"""The experiment: several ways of looking on one data set, from files to a table, a json and a picture."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.config import RunConfig
from pipeline.detectors.weights import model_card
from pipeline.errors import ConfigError, StorageError
from pipeline.evaluation.comparison.figures import Judging, compare
from pipeline.evaluation.comparison.measuring import Measurement, detectors_of, measure
from pipeline.evaluation.comparison.plot import check_matplotlib, plot_comparison
from pipeline.evaluation.comparison.strategies import Strategy, make_strategies
from pipeline.evaluation.comparison.text import as_markdown
from pipeline.evaluation.data import EvaluationData, judged_by, read_data, shrunk
from pipeline.evaluation.dota_submission import write_submission
from pipeline.planning.threshold import score_threshold
from pipeline.raster.own_data import own_data

NAME = "comparison"
"""Stem of the files that are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What is compared, on what, and how it is judged."""

    data: Path
    split: str = "val"
    images: Path | None = None
    """Folder of the pictures, when it is not where the data's layout has it."""
    strategies: tuple[str, ...] = ("global", "exhaustive")
    budgets: tuple[float, ...] = (0.25,)
    seeds: int = 3
    """Of the strategy ``random``."""
    baselines: tuple[str, ...] = ("global",)
    shrink: float = 1.0
    """Images are made this many times smaller before anything else."""
    horizontal: bool = False
    lowest_score: float = 0.01
    """Detections below it do not enter AP."""
    repeats: int = 1
    """Looks at each image; the fastest is timed."""
    first: int | None = None
    """Only so many images."""
    resamples: int = 2000
    command: str | None = None
    """What the report says it was made by."""
    out: Path = Path("results")
    plot: bool = True
    dota: bool = False
    """Also write each strategy's detections as a DOTA submission."""

    def __post_init__(self) -> None:
        for name in ("seeds", "repeats", "resamples"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name} must be at least 1, not {getattr(self, name)}")
        if self.first is not None and self.first < 1:
            raise ConfigError(f"--first must be at least 1, not {self.first}")
        if not self.shrink > 0:
            raise ConfigError(f"--shrink must be positive, not {self.shrink:g}")


@own_data()
def run_experiment(experiment: Experiment, config: RunConfig, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure, compare, and write ``comparison.md``, ``.json`` and ``.png`` to ``experiment.out``. Returns the report.

    ``config`` holds what all strategies share. Raises PipelineError.
    """
    _check_places(experiment)
    card = model_card(config.weights)
    threshold = score_threshold(card, config.detector)
    lowest = min(experiment.lowest_score, threshold)
    base = replace(config, detector=replace(config.detector, score_threshold=lowest, precision=None))
    strategies = make_strategies(experiment.strategies, experiment.budgets, base, card, experiment.seeds)
    data = judged_by(read_data(experiment.data, experiment.split, experiment.images), card.classes)
    if experiment.first is not None:
        data = first_images(data, experiment.first)
    with tempfile.TemporaryDirectory() as folder:
        if experiment.shrink != 1:
            data = shrunk(data, experiment.shrink, Path(folder), base.raster)
        measured = _measured(strategies, data, base, experiment.repeats, say)
    say("judging")
    judging = Judging(
        classes=data.classes,
        score_threshold=threshold,
        horizontal=experiment.horizontal,
        baselines=experiment.baselines,
        resamples=experiment.resamples,
    )
    report = compare(strategies, measured, list(data.truth.values()), judging)
    report["notes"] = [*data.notes, *unspent(report["strategies"])]
    report["setting"] = _setting(experiment, base)
    if experiment.command:
        report["command"] = experiment.command
    _write(report, experiment)
    if experiment.dota:
        for name, one in measured.items():
            found = {image: m.detections for image, m in zip(data.images, one, strict=True)}
            write_submission(found, data.classes, experiment.out / "dota" / name)
    return report


def unspent(rows: Mapping[str, Any]) -> list[str]:
    """A sentence for every strategy whose budget did not pay for a single crop."""
    return [
        f"{family} took no crop: none fits its budget (smaller --refine.scales cost less), or it saw no reason"
        for family, row in rows.items()
        if row["budget"] is not None and row["kind"] != "larger" and row["crops_per_image"] == 0
    ]


def first_images(data: EvaluationData, count: int) -> EvaluationData:
    """The first ``count`` images."""
    names = list(data.images)[:count]
    return replace(data, truth={n: data.truth[n] for n in names}, images={n: data.images[n] for n in names})


def _measured(
    strategies: Sequence[Strategy], data: EvaluationData, config: RunConfig, repeats: int, say: Callable[[str], None]
) -> Mapping[str, list[Measurement]]:
    """One measurement per image for each strategy, by name."""
    measured: dict[str, list[Measurement]] = {strategy.name: [] for strategy in strategies}
    failed = 0
    for image, name, one in measure(strategies, data, detectors_of(config.weights, config), repeats):
        if not measured[name] and name == strategies[0].name:
            say(f"{len(data.images)} images, {len(strategies)} strategies")
        measured[name].append(one)
        failed += one.failed
        if name == strategies[-1].name:
            say(f"{len(measured[name])} of {len(data.images)}: {image}")
    if failed:
        say(f"{failed} tiles failed over all strategies: what they show counts as missed")
    return measured


def _setting(experiment: Experiment, config: RunConfig) -> dict[str, Any]:
    """All that decides the figures, as JSON."""
    mine = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(experiment).items()}
    shared = {part: asdict(getattr(config, part)) for part in ("raster", "tiling", "detector", "refine", "merge")}
    return {**mine, "weights": config.weights, **shared}


def without_nan(value: Any) -> Any:
    """The same with None for what does not exist: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _check_places(experiment: Experiment) -> None:
    """Raise now what would fail after all the measuring."""
    with _writing_to(experiment.out), tempfile.TemporaryFile(dir=experiment.out):
        pass
    if experiment.plot:
        check_matplotlib()


@contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    """Makes the folder; what goes wrong in it is a StorageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise StorageError(f"cannot write to {folder}: {error.strerror}; give another --out") from error


def _write(report: Mapping[str, Any], experiment: Experiment) -> None:
    with _writing_to(experiment.out):
        (experiment.out / f"{NAME}.md").write_text(as_markdown(report))
        (experiment.out / f"{NAME}.json").write_text(json.dumps(without_nan(report), indent=1) + "\n")
        if experiment.plot:
            plot_comparison(report, experiment.out / f"{NAME}.png")
