"""What ``fit`` is given: folders of prepared scenes and their shares, and the record of a run on them."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.detectors.checkpoint import weights_sha256
from pipeline.detectors.modules.features import EFFICIENTNET_LITE0, RESNET
from pipeline.detectors.oriented_rtdetr.folder import read_config
from pipeline.errors import ConfigError
from pipeline.names import listed
from pipeline.reporting.versions import versions
from pipeline.training.data.prepared import agreed
from pipeline.training.data.scenes import TrainingScene, load_scenes
from pipeline.training.normalisation import pixel_statistics
from pipeline.training.run_record import RunRecord, TrainedOn

BANDS = ("red", "green", "blue")
"""What prepared scenes hold."""
_NOT_SETTINGS = ("command", "out")


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Scenes of one folder, and their share of the tiles."""

    folder: Path
    scenes: list[TrainingScene]
    share: float


def groups_of(texts: Sequence[str], hold_out: Sequence[str]) -> list[Group]:
    """``FOLDER[:SHARE]``, each → its scenes but those held out. Raises ConfigError, also for a name to hold out that
    none of the folders has: it would be trained on under another name."""
    groups = [_group(text, hold_out) for text in texts]
    held = {name for group, every in groups for name in every - {scene.name for scene in group.scenes}}
    if unknown := sorted(set(hold_out) - held):
        raise ConfigError(f"--hold-out names scenes that no folder of --scenes holds: {', '.join(unknown)}")
    return [group for group, _ in groups]


def _group(text: str, hold_out: Sequence[str]) -> tuple[Group, set[str]]:
    """The group, and the names of all scenes in its folder."""
    folder, _, share = text.rpartition(":") if ":" in text else (text, "", "1")
    try:
        value = float(share)
    except ValueError as error:
        raise ConfigError(f"--scenes {text}: the share after the colon is not a number") from error
    every = load_scenes(Path(folder))
    scenes = [scene for scene in every if scene.name not in hold_out]
    if not scenes:
        raise ConfigError(f"--hold-out leaves no scene of {folder} to train on")
    return Group(Path(folder), scenes, value), {scene.name for scene in every}


def new_record(arguments: Namespace, groups: Sequence[Group]) -> RunRecord:
    """The record of a run that begins with these arguments. Raises ConfigError for classes that do not fit."""
    prepared = agreed([group.folder for group in groups])
    names = prepared.classes if prepared else None
    mean, std = pixel_statistics(_backbone(arguments), len(BANDS))
    return RunRecord(
        classes=names,
        class_count=_class_count(arguments, names, groups),
        gsd_m=prepared.pixel_m if prepared else None,
        bands=BANDS,
        mean=mean,
        std=std,
        arguments={key: _json(value) for key, value in vars(arguments).items() if key not in _NOT_SETTINGS},
        data=tuple(TrainedOn.of(group.folder, group.share, group.scenes) for group in groups),
        init=_init(arguments.init),
        versions=versions(),
    )


def _class_count(arguments: Namespace, names: tuple[str, ...] | None, groups: Sequence[Group]) -> int:
    """How many classes are learnt: as many as the scenes name; else what ``--classes`` says, ``--init`` knows, or 1."""
    if names is not None:
        if arguments.classes not in (None, len(names)):
            raise ConfigError(
                f"--classes {arguments.classes}, but the prepared scenes have {len(names)} ({listed(names)}): "
                "leave --classes out, or prepare with --classes and the names to learn"
            )
        count = len(names)
    else:
        count = arguments.classes or (read_config(arguments.init).classes if arguments.init else 1)
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


def _backbone(arguments: Namespace) -> str:
    if arguments.pretrained is not None:
        return EFFICIENTNET_LITE0
    return read_config(arguments.init).backbone if arguments.init is not None else RESNET


def _init(folder: Path | None) -> dict[str, Any] | None:
    return None if folder is None else {"folder": str(folder), "sha256": weights_sha256(folder)}


def _json(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return [_json(one) for one in value] if isinstance(value, list | tuple) else value
