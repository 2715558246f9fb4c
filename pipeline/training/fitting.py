"""What a training is given: folders of prepared scenes and their shares, and the record of a run on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.detectors.checkpoint import weights_sha256
from pipeline.errors import ConfigError
from pipeline.names import listed
from pipeline.reporting.versions import versions
from pipeline.training.data.prepared import agreed
from pipeline.training.data.scenes import TrainingScene, load_scenes
from pipeline.training.normalisation import statistics_of
from pipeline.training.recipe import Recipe, flat
from pipeline.training.run_record import RunRecord, TrainedOn
from pipeline.training.start import first_config, init_config, init_folder
from pipeline.types.cards import RGB


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Scenes of one folder, and their share of the tiles."""

    folder: Path
    scenes: list[TrainingScene]
    share: float


def groups_of(texts: Sequence[str], hold_out: Sequence[str]) -> tuple[list[Group], list[TrainingScene]]:
    """``FOLDER[:SHARE]``, each → its scenes but those held out; and these. Raises ConfigError, also for a name to hold
    out that none of the folders has: it would be trained on under another name."""
    groups, held = [], []
    for text in texts:
        group, out = _group(text, hold_out)
        groups.append(group)
        held += out
    if unknown := sorted(set(hold_out) - {scene.name for scene in held}):
        raise ConfigError(f"--hold-out names scenes that no folder of --scenes holds: {', '.join(unknown)}")
    return groups, held


def _group(text: str, hold_out: Sequence[str]) -> tuple[Group, list[TrainingScene]]:
    """The group, and the scenes of its folder that are held out."""
    folder, _, share = text.rpartition(":") if ":" in text else (text, "", "1")
    try:
        value = float(share)
    except ValueError as error:
        raise ConfigError(f"--scenes {text}: the share after the colon is not a number") from error
    if not 0 < value < inf:
        raise ConfigError(f"--scenes {text}: the share after the colon must be a number above 0, not {share}")
    every = load_scenes(Path(folder))
    scenes = [scene for scene in every if scene.name not in hold_out]
    if not scenes:
        raise ConfigError(f"--hold-out leaves no scene of {folder} to train on")
    return Group(Path(folder), scenes, value), [scene for scene in every if scene.name in hold_out]


def new_record(recipe: Recipe, threads: int, groups: Sequence[Group]) -> RunRecord:
    """The record of a run that begins with this recipe. Raises ConfigError for classes that do not fit, and for one
    that no scene shows."""
    prepared = agreed([group.folder for group in groups])
    names = prepared.classes if prepared else None
    count = _class_count(recipe, names, groups)
    _check_objects(count, names, groups)
    bands = prepared.bands if prepared else RGB
    for group in groups:
        _check_bands(group, bands)
    config = first_config(recipe.family, recipe.network, count, len(bands))
    mean, std = statistics_of(config)
    return RunRecord(
        classes=names,
        class_count=count,
        gsd_m=prepared.pixel_m if prepared else None,
        bands=bands,
        mean=mean,
        std=std,
        arguments={**flat(recipe), "threads": threads},
        data=tuple(TrainedOn.of(group.folder, group.share, group.scenes) for group in groups),
        init=_init(recipe.network.init),
        recipe={"name": recipe.name, "sha256": recipe.sha256()},
        versions=versions(),
    )


def _class_count(recipe: Recipe, names: tuple[str, ...] | None, groups: Sequence[Group]) -> int:
    """How many classes are learnt: as many as the scenes name; else what ``--classes`` says, ``--init`` knows, or 1."""
    said, init = recipe.data.classes, recipe.network.init
    if names is not None:
        if said not in (None, len(names)):
            raise ConfigError(
                f"--classes {said}, but the prepared scenes have {len(names)} ({listed(names)}): "
                "leave --classes out, or prepare with --classes and the names to learn"
            )
        count = len(names)
    else:
        count = said or (init_config(recipe.family, init_folder(init)).classes if init else 1)
    if count < 1:
        raise ConfigError(f"--classes must be at least 1, not {count}")
    for group in groups:
        largest = max((int(scene.truth.class_ids.max()) for scene in group.scenes if len(scene.truth)), default=-1)
        if largest >= count:
            raise ConfigError(
                f"the scenes of {group.folder} hold class number {largest}, but {count} "
                f"{'class is' if count == 1 else 'classes are'} learnt: prepare them again (which stores the classes' "
                f"names), or give --classes {largest + 1}"
            )
    return count


def _check_bands(group: Group, bands: Sequence[str]) -> None:
    """Raise ConfigError for a scene whose pixels have another number of bands than its folder says."""
    for scene in group.scenes:
        if scene.pixels.shape[-1] != len(bands):
            raise ConfigError(
                f"{group.folder}: the scene {scene.name} has {scene.pixels.shape[-1]} band(s), where {listed(bands)} "
                "are expected: prepare it again"
            )


def _check_objects(count: int, names: tuple[str, ...] | None, groups: Sequence[Group]) -> None:
    """Raise ConfigError for a class without an object: what was never seen is never found."""
    seen = {
        int(number)
        for group in groups
        for scene in group.scenes
        for number in np.unique(scene.truth.class_ids[~scene.truth.ignore])
    }
    absent = [names[number] if names else f"number {number}" for number in range(count) if number not in seen]
    if absent:
        folders = ", ".join(str(group.folder) for group in groups)
        raise ConfigError(
            f"no scene of {folders} that is trained on has an object of the class {listed(absent)}: prepare with "
            "--classes and the names that are there, or hold out other scenes"
        )


def _init(folder: str | None) -> dict[str, Any] | None:
    return None if folder is None else {"folder": folder, "sha256": weights_sha256(init_folder(folder))}
