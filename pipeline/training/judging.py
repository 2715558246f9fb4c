"""How good a network is on the way: AP on scenes that are held out, and on scenes that it is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import nn

from pipeline.evaluation.average_precision import (
    COCO_IOU_THRESHOLDS,
    area_under_curve,
    coco_average,
    mean_over_classes,
)
from pipeline.evaluation.matching import match_classes
from pipeline.training.data.scenes import TrainingScene
from pipeline.training.learner import Learner
from pipeline.training.run_record import RunRecord
from pipeline.training.validation import detect_whole
from pipeline.types import ModelCard

HALO_PX = 80


class SceneJudge:
    """AP and AP50 of averaged weights, as the loop asks for them (:data:`pipeline.training.loop.Judge`)."""

    def __init__(
        self,
        learner: Learner,
        card: ModelCard,
        held_out: Sequence[TrainingScene],
        trained: Sequence[TrainingScene],
        most: int,
    ) -> None:
        """``card`` says how scenes are looked at; of either kind at most ``most`` scenes are judged, none of which
        needs to be there."""
        self._learner, self._card = learner, card
        self._scenes = {"held_out": sample(held_out, most), "train": sample(trained, most)}

    @property
    def chooses(self) -> bool:
        """Whether there are scenes, of those held out, that show which weights are best."""
        return bool(self._scenes["held_out"])

    def __call__(self, network: nn.Module) -> dict[str, float]:
        """``held_out_ap``, ``held_out_ap50``, ``train_ap``, ``train_ap50``; those of scenes that there are none of
        are left out."""
        detector = self._learner.detector(network, self._card)
        figures = {}
        for kind, scenes in self._scenes.items():
            if not scenes:
                continue
            halo_px = min(HALO_PX, self._card.input_px // 3)  # of tiles that are hardly larger
            found = [detect_whole(detector, scene, halo_px) for scene in scenes]
            matches = match_classes(found, [scene.truth for scene in scenes], COCO_IOU_THRESHOLDS).values()
            figures[f"{kind}_ap"] = mean_over_classes([coco_average(one) for one in matches])
            figures[f"{kind}_ap50"] = mean_over_classes([area_under_curve(one) for one in matches])
        return figures


def chosen_by(record: RunRecord) -> frozenset[str]:
    """Names of the scenes that a run's best weights were chosen by: those held out, and those of ``--choose``."""
    folders = [Path(folder) for folder in record.arguments.get("choose") or ()]
    names = {path.stem for folder in folders for path in folder.glob("*.npz")}
    return frozenset(names | set(record.arguments.get("hold_out") or ()))


def sample(scenes: Sequence[TrainingScene], most: int, *, empty: bool = False) -> list[TrainingScene]:
    """At most ``most`` of the scenes at even steps of their names, the same every time; of those with an object to
    find, unless ``empty`` ones are to be among them."""
    able = sorted((one for one in scenes if empty or not one.truth.ignore.all()), key=lambda one: one.name)
    chosen = np.unique(np.linspace(0, len(able) - 1, min(most, len(able))).round().astype(int))
    return [able[index] for index in chosen]
