"""What the commands of ``jobs/train_detector.py`` do; each takes its parsed arguments and a way to report."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace

import torch

from pipeline.config import RasterConfig
from pipeline.errors import ConfigError
from pipeline.names import listed
from pipeline.storage.onnx_files import ONNX_FILE
from pipeline.training.card import INPUT_PX, run_card, stated_card
from pipeline.training.data.hulls import horizontal
from pipeline.training.data.prepared import Prepared, read_prepared, scenes_sha256, start_folder
from pipeline.training.data.scenes import load_scenes
from pipeline.training.export import (
    averaged_network,
    checkpoint_step,
    export_onnx,
    figures_on_the_way,
    learner_of,
    own_input_px,
    state_file,
    training_card,
)
from pipeline.training.export import export as export_run
from pipeline.training.judging import chosen_by
from pipeline.training.loop import BEST, CHECKPOINT
from pipeline.training.recipe import overridden, read_recipe, recipe_of
from pipeline.training.run_record import (
    RunRecord,
    add_validation,
    plain_numbers,
    read_record,
    read_validations,
    state_sha256,
)
from pipeline.training.running import train
from pipeline.training.together import train_together
from pipeline.types.cards import RGB

Report = Callable[[str], None]


def prepare(arguments: Namespace, report: Report) -> None:
    """Annotated scenes → prepared scenes. Raises ConfigError or SceneError for what does not fit."""
    from pipeline.training.data.prepare_source import prepare_source

    prepare_source(arguments, report)


def review(arguments: Namespace, report: Report) -> None:
    """A COCO file → a reviewed copy of it: see :mod:`pipeline.training.reviewing`."""
    from pipeline.training.reviewing import review as review_annotations

    review_annotations(arguments, report)


def mine(arguments: Namespace, report: Report) -> None:
    """A detector's false alarms on prepared scenes → places for ``fit``: see :mod:`pipeline.training.mining`."""
    from pipeline.training.mining import mine as mine_places

    mine_places(arguments, report)


def backbone(arguments: Namespace, report: Report) -> None:
    """The package's ImageNet weights → a folder for ``fit --pretrained``. Raises ConfigError without the package."""
    from pipeline.training.pretrained import package_pickle, read_pickle, save_backbone

    report(str(save_backbone(arguments.out, read_pickle(package_pickle()))))


def harbours(arguments: Namespace, report: Report) -> None:
    """Procedural harbours → prepared scenes."""
    from pipeline.training.data.harbours import CLASSES, prepare_harbour
    from pipeline.training.data.prepare import save_all

    gsd_m = arguments.gsd or 10.0
    start_folder(arguments.out, Prepared(classes=CLASSES, gsd_m=gsd_m, bands=arguments.bands))
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.count):
        scene = prepare_harbour(seed, arguments.size, gsd_m, RasterConfig(), arguments.bands)
        report(save_all([scene], arguments.out)[0])


def fit(arguments: Namespace, report: Report) -> None:
    """Train by a recipe, in which flags override, to the last step. Raises ConfigError: see :func:`recipe_of` and
    :func:`train`."""
    flags = overridden(vars(arguments))
    recipe = read_recipe(arguments.recipe, flags) if arguments.recipe else recipe_of(flags)
    if arguments.workers is None:
        train(recipe, arguments.out, arguments.threads, report)
    else:
        train_together(recipe, arguments.out, arguments.threads, arguments.workers, report)


def ablate(arguments: Namespace, report: Report) -> None:
    """Do what a plan asks for, and write the table. Raises ConfigError, and ModelError when a training failed."""
    from pipeline.training.ablation.commands import ablate as do

    do(arguments, report)


def validate(arguments: Namespace, report: Report) -> None:
    """Figures of a run's averaged weights, as json; they are kept beside the run, for its card."""
    from pipeline.training.validation import detect_whole
    from pipeline.training.validation import validate as measure

    if arguments.report:
        from pipeline.evaluation.report_folder import check_folder

        check_folder(arguments.report)  # before a detector works for an hour
    torch.set_num_threads(arguments.threads)
    scenes = [s for s in load_scenes(arguments.scenes) if not arguments.only or s.name in arguments.only]
    kept = BEST if arguments.best else CHECKPOINT
    network, record = averaged_network(arguments.run, kept), read_record(arguments.run)
    learner = learner_of(arguments.run, network, record, kept)
    prepared = read_prepared(arguments.scenes)
    named = (record.classes if record else None) or tuple(str(n) for n in range(network.config.classes))
    bands = record.bands if record else RGB
    _check_scenes(arguments, {scene.name for scene in scenes}, prepared, record, bands)
    stated = [one for one in (arguments.gsd, prepared and prepared.pixel_m, record and record.gsd_m) if one]
    tile_px = arguments.tile or own_input_px(network.config) or INPUT_PX
    card = training_card(arguments.run.name, named, next(iter(stated), None), tile_px, network.config, bands)
    detector = learner.detector(network, card)
    if not network.config.oriented:
        scenes, _ = horizontal(scenes)
    found = [detect_whole(detector, scene, arguments.halo) for scene in scenes]
    figures = measure(scenes, found, arguments.score_threshold)
    names = [scene.name for scene in scenes]
    learnt = record.learnt_from if record else None
    chose = chosen_by(record) if record and kept == BEST else frozenset()
    add_validation(
        arguments.run,
        {
            "scenes": str(arguments.scenes), "names": names, "data_sha256": scenes_sha256(arguments.scenes, names),
            "trained_on": None if learnt is None else sorted(learnt & set(names)),
            "chosen_by": sorted(chose & set(names)),
            "step": checkpoint_step(arguments.run, kept),
            "state_sha256": state_sha256(state_file(arguments.run, kept)), "tile_px": tile_px,
            "halo_px": arguments.halo, "score_threshold_chosen_here": arguments.score_threshold is None,
            **figures,
        },
    )  # fmt: skip
    report(json.dumps(plain_numbers(figures), indent=2))
    if arguments.report:
        from pipeline.training.validation_report import write_validation_report

        threshold = float(figures["score_threshold"])
        report(
            write_validation_report(
                scenes, found, card, score_threshold=threshold, halo_px=arguments.halo, data=str(arguments.scenes),
                folder=arguments.report,
            )
        )  # fmt: skip


def _check_scenes(
    arguments: Namespace, names: set[str], prepared: Prepared | None, record: RunRecord | None, bands: tuple[str, ...]
) -> None:
    """Raise ConfigError for scenes of ``--only`` that are not there, and for those of other classes or bands."""
    if missing := set(arguments.only) - names:
        raise ConfigError(f"--only names scenes that {arguments.scenes} does not hold: {', '.join(sorted(missing))}")
    if prepared and record and record.classes and prepared.classes != record.classes:
        raise ConfigError(
            f"{arguments.scenes} has the classes {listed(prepared.classes)}, but {arguments.run} learnt "
            f"{listed(record.classes)}: prepare the scenes with --classes {','.join(record.classes)}"
        )
    if prepared and prepared.bands != bands:
        raise ConfigError(
            f"{arguments.scenes} has the bands {listed(prepared.bands)}, but {arguments.run} learnt {listed(bands)}: "
            f"prepare the scenes with --bands {','.join(bands)}"
        )


def export(arguments: Namespace, report: Report) -> None:
    """Write the folder that ``--weights`` takes; its card says what the run says. Raises ConfigError, ModelError."""
    stated = stated_card(arguments.card) if arguments.card else {}
    kept = BEST if arguments.best else CHECKPOINT
    network = averaged_network(arguments.run, kept)
    if own_px := own_input_px(network.config):
        stated = {"input_px": own_px, **stated}
    state = state_sha256(state_file(arguments.run, kept))
    validations = read_validations(arguments.run)
    own = [one for one in validations if one.get("state_sha256") == state]
    card, notes = run_card(
        name=arguments.name or arguments.run.resolve().name, class_count=network.config.classes,
        record=read_record(arguments.run), validations=own, stated=stated, source=str(arguments.card),
        oriented=network.config.oriented,
    )  # fmt: skip
    if arguments.score_threshold is not None:
        card = replace(card, score_threshold=arguments.score_threshold)
    if on_the_way := figures_on_the_way(arguments.run, kept):
        card = replace(card, metrics={**card.metrics, "on_the_way": on_the_way})
    card = export_run(arguments.run, arguments.out, card, kept)
    report(f"{arguments.out}: {card.name}, sha256 {card.sha256}")
    if arguments.onnx:
        report(f"{export_onnx(arguments.out, card)}: the same as ONNX")
    elif (arguments.out / ONNX_FILE).exists():
        notes.append(f"{arguments.out / ONNX_FILE} holds weights of before: export with --onnx, or delete it")
    if len(own) < len(validations):
        notes.append("what 'validate' found was of other weights, and is not in the card")
    if not own:
        notes.append("the card holds no figures: 'validate' it, and export again")
    for note in notes:
        report(f"  {note}")
