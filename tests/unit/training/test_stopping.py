"""A training that is told to stop loses nothing."""

from __future__ import annotations

from pathlib import Path
from signal import SIGINT, raise_signal

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from pipeline.detectors.oriented_rtdetr.network import OrientedRTDetr
from pipeline.training.data.augment import AugmentConfig
from pipeline.training.data.batches import Batch, TileSampler
from pipeline.training.loop import Trainer
from pipeline.training.loop_config import LoopConfig
from pipeline.training.oriented_rtdetr import OrientedLearner
from tests.support.oriented import SMALL
from tests.support.prepared import scene_with


def trainer(out: Path, steps: int) -> Trainer:
    torch.manual_seed(0)
    sampler = TileSampler([([scene_with(np.array([[60.0, 60, 40, 12, 0.5]]))], 1.0)], AugmentConfig())
    config = LoopConfig(steps=steps, tiles=2, sizes_px=(64,), warmup_steps=2)
    return Trainer(OrientedLearner(OrientedRTDetr(SMALL)), sampler, config, out)


def bring_a_signal(run: Trainer, moment: str) -> None:
    """In the third step: before the losses are known, when they are (which changes running statistics), or while the
    network changes."""
    losses, batches = run._learner.losses, iter(range(100))

    def stopping(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        if next(batches) == 2 and moment == "before":
            raise_signal(SIGINT)
        if run.step == 2 and moment == "while":
            hook = register_optimizer_step_post_hook(lambda *_: (hook.remove(), raise_signal(SIGINT))[0])
        known = losses(batch, generator)
        if run.step == 2 and moment == "after":
            raise_signal(SIGINT)
        return known

    run._learner.losses = stopping  # type: ignore[method-assign]


@pytest.mark.parametrize("moment", ["before", "after", "while"])
def test_a_run_that_is_told_to_stop_keeps_what_it_has_learnt(moment: str, tmp_path: Path) -> None:
    """Whole steps only, the third one done: what follows is what would have followed."""
    whole = trainer(tmp_path / "whole", 5)
    whole.run(lambda _: None)
    stopped = trainer(tmp_path / "parts", 5)
    bring_a_signal(stopped, moment)
    with pytest.raises(KeyboardInterrupt):
        stopped.run(lambda _: None)
    again = trainer(tmp_path / "parts", 5)
    assert again.resume()
    assert again.step == 3
    again.run(lambda _: None)
    for name, value in whole.average.state_dict().items():
        torch.testing.assert_close(again.average.state_dict()[name], value, rtol=1e-5, atol=1e-7)
