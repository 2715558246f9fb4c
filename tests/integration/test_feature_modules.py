"""Networks with feature modules, from a training step to the boxes of a scene."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from jobs import detect_scene
from pipeline.detectors.oriented_rtdetr.network import OrientedRTDetr
from pipeline.training.data.augment import AugmentConfig
from pipeline.training.data.batches import TileSampler
from pipeline.training.export import export
from pipeline.training.loop import Trainer
from pipeline.training.loop_config import LoopConfig
from pipeline.training.losses.settings import RTDETRLosses
from pipeline.training.oriented_rtdetr import OrientedLearner
from tests.support.oriented import CARD, SMALL
from tests.support.prepared import scene_with
from tests.support.scenes import picture, write_geotiff


def test_context_and_masks_go_from_a_training_by_an_export_to_detections(tmp_path: Path) -> None:
    """Three steps with all of what is after E-FPN-BS; the exported folder says so, and its scene, of a size that no
    stride divides, has detections and no tile that failed."""
    torch.manual_seed(0)
    network = OrientedRTDetr(replace(SMALL, context=True, foreground=True))
    learner = OrientedLearner(network, losses=RTDETRLosses(dynamic_balance=True))
    sampler = TileSampler([([scene_with(np.array([[60.0, 60, 40, 12, 0.5], [150, 100, 9, 5, 0]]))], 1.0)],
                          AugmentConfig())  # fmt: skip
    config = LoopConfig(steps=3, tiles=2, sizes_px=(64,), warmup_steps=1)
    said: list[str] = []
    Trainer(learner, sampler, config, tmp_path / "run").run(said.append)
    assert "foreground" in said[-1]
    folder = tmp_path / "weights"
    export(tmp_path / "run", folder, replace(CARD, gsd_m=None, mean=learner.mean, std=learner.std))
    assert {"context": True, "foreground": True}.items() <= json.loads((folder / "config.json").read_text()).items()
    scene = write_geotiff(tmp_path / "scene.tif", picture(107, 131))
    out = tmp_path / "out"
    code = detect_scene.main(
        ["--scene", str(scene), "--out", str(out), "--weights", str(folder), "--executor", "local",
         "--detector.score_threshold", "0.001", "--output.preview_px", "0"]
    )  # fmt: skip
    assert code == 0
    record = json.loads((out / "scene" / "run.json").read_text())
    assert record["status"] == "PUBLISHED"
    assert len(pd.read_parquet(out / "scene" / "detections.parquet")) > 0
