"""What the commands of ``jobs/train_detector.py`` do; each takes its parsed arguments and a way to report."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import torch

from pipeline.config import RasterConfig
from pipeline.detectors.card import card_from_mapping
from pipeline.errors import ConfigError
from pipeline.training.data.augment import AugmentConfig
from pipeline.training.data.batches import TileSampler
from pipeline.training.data.scenes import TrainingScene, load_scenes
from pipeline.training.export import averaged_network, training_card
from pipeline.training.export import export as export_run
from pipeline.training.loop import LoopConfig, Trainer
from pipeline.training.oriented_rtdetr import OrientedLearner
from pipeline.training.start import first_network

Report = Callable[[str], None]


def prepare(arguments: Namespace, report: Report) -> None:
    """Annotated scenes → prepared scenes. Raises ConfigError or SceneError for what does not fit."""
    from pipeline.training.data.prepare import prepare_scene, save_all, scenes_of_coco, scenes_of_dota

    if arguments.annotations.is_dir():
        annotated = scenes_of_dota(arguments.annotations, arguments.images, arguments.classes or ("ship",))
    else:
        annotated = scenes_of_coco(arguments.annotations, arguments.images, arguments.classes)
    for image, truth in annotated:
        scene = prepare_scene(image, truth, arguments.gsd, RasterConfig(), arguments.shrink)
        report(save_all([scene], arguments.out)[0])


def harbours(arguments: Namespace, report: Report) -> None:
    """Procedural harbours → prepared scenes."""
    from pipeline.training.data.harbours import prepare_harbour
    from pipeline.training.data.prepare import save_all

    for seed in range(arguments.first_seed, arguments.first_seed + arguments.count):
        scene = prepare_harbour(seed, arguments.size, arguments.gsd or 10.0, RasterConfig())
        report(save_all([scene], arguments.out)[0])


def fit(arguments: Namespace, report: Report) -> None:
    """Train to the last step, from the run's own checkpoint when it has one."""
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    groups = [_group(text, arguments.hold_out) for text in arguments.scenes]
    augment = AugmentConfig(
        paste_mean=arguments.paste, light=arguments.light, scale_range=arguments.scale_range,
        quarter_turns=arguments.quarter_turns,
    )  # fmt: skip
    sampler = TileSampler(groups, augment)
    config = LoopConfig(
        steps=arguments.steps, tiles=arguments.tiles, sizes_px=arguments.sizes, seed=arguments.seed,
        learning_rate=arguments.learning_rate, device=arguments.device, checkpoint_steps=arguments.checkpoint_steps,
    )  # fmt: skip
    learner = OrientedLearner(first_network(arguments.init, arguments.classes))
    trainer = Trainer(learner, sampler, config, arguments.out)
    if trainer.resume():
        report(f"going on from step {trainer.step} of {arguments.out}")
    names = [scene.name for scenes, _ in groups for scene in scenes]
    report(f"training on {len(names)} scenes: {', '.join(names[:12])}{' …' if len(names) > 12 else ''}")
    trainer.run(report)


def _group(text: str, hold_out: tuple[str, ...]) -> tuple[list[TrainingScene], float]:
    """``FOLDER[:SHARE]`` → its scenes but those held out, and its share of the tiles."""
    folder, _, share = text.rpartition(":") if ":" in text else (text, "", "1")
    try:
        value = float(share)
    except ValueError as error:
        raise ConfigError(f"--scenes {text}: the share after the colon is not a number") from error
    scenes = [scene for scene in load_scenes(Path(folder)) if scene.name not in hold_out]
    if not scenes:
        raise ConfigError(f"--hold-out leaves no scene of {folder} to train on")
    return scenes, value


def validate(arguments: Namespace, report: Report) -> None:
    """Figures of a run's averaged weights, as json."""
    from pipeline.training.validation import validate as measure

    torch.set_num_threads(arguments.threads)
    scenes = [s for s in load_scenes(arguments.scenes) if not arguments.only or s.name in arguments.only]
    if missing := set(arguments.only) - {scene.name for scene in scenes}:
        raise ConfigError(f"--only names scenes that {arguments.scenes} does not hold: {', '.join(sorted(missing))}")
    learner = OrientedLearner(averaged_network(arguments.run))
    classes = tuple(str(number) for number in range(learner.network.config.classes))
    card = training_card(arguments.run.name, classes, arguments.gsd, arguments.tile)
    detector = learner.detector(learner.network, card)
    report(json.dumps(measure(detector, scenes, arguments.halo, arguments.score_threshold), indent=2))


def export(arguments: Namespace, report: Report) -> None:
    """Write the folder that ``--weights`` takes."""
    try:
        fields = {"sha256": "0" * 64, **json.loads(arguments.card.read_text())}
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the card {arguments.card}: {error}") from error
    card = export_run(arguments.run, arguments.out, card_from_mapping(fields, source=str(arguments.card)))
    report(f"{arguments.out}: {card.name}, sha256 {card.sha256}")
