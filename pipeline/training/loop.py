"""The training loop: EMA, checkpoints that resume exactly, metrics to jsonl. What is learnt is the Learner's affair."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.detectors.checkpoint import CONFIG as CONFIG_FILE
from pipeline.errors import ModelError, one_sentence
from pipeline.training.curves import CURVES_FILE, draw_curves
from pipeline.training.data.batches import Batch, TileSampler
from pipeline.training.learner import Learner
from pipeline.training.loop_config import LoopConfig
from pipeline.training.parameter_groups import parameter_groups
from pipeline.training.ranks import own_rows, rank, start_together, sum_gradients, summed
from pipeline.training.states import STATE_FILE, average_in, part_of, save_state
from pipeline.training.stopping import Wholly, keeping

CHECKPOINT = "checkpoint"
BEST = "best"
"""Folder of the averaged weights that did best on held-out scenes."""
CHOOSING = "held_out_ap"
"""The figure of a judgement that the best weights are chosen by."""
DIVERGED = "diverged.npz"
METRICS_FILE = "metrics.jsonl"
EVERY_STEPS = 20
"""Steps between lines of progress and of metrics."""

Judge = Callable[[nn.Module], dict[str, float]]
"""A copy of the averaged network, which it may change → figures by name, CHOOSING among them where scenes were held
out; NaN where one does not exist."""


class Trainer:
    """State of one run: network, its moving average, optimiser and step."""

    def __init__(
        self, learner: Learner, sampler: TileSampler, config: LoopConfig, out: Path, judge: Judge | None = None
    ) -> None:
        """The learner's network is moved to the device of ``config``, and changed from then on. ``judge`` is asked
        every ``validate_steps`` and after the last step."""
        self.config, self.out, self.step = config, out, 0
        self._learner, self._sampler, self._mild = learner, sampler, sampler.milder()
        self._judge = judge
        self._device, self._wholly = torch.device(config.device), Wholly()
        network: nn.Module = learner.network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network = start_together(network)
        self.average = deepcopy(self.network).requires_grad_(False).eval()
        groups = parameter_groups(self.network, config.weight_decay, config.backbone_rate)
        self._auxiliary = learner.auxiliary
        if self._auxiliary is not None:
            groups += parameter_groups(self._auxiliary.to(self._device), config.weight_decay, 1.0)
        self._optimizer = torch.optim.AdamW(groups, lr=config.learning_rate)

    def run(self, report: Callable[[str], None]) -> None:
        """Train to the last step; writes checkpoints and metrics on the way, and one when it is told to stop before. Of
        several ranks the first writes, reports and judges."""
        self.network.train()
        with keeping(lambda: self.save() if self.step and rank() == 0 else None), ThreadPoolExecutor(1) as pool:
            upcoming: Future[Batch] = pool.submit(self.batch, self.step)
            start, begun = time.monotonic(), self.step
            while self.step < self.config.steps:
                batch = upcoming.result()
                upcoming = pool.submit(self.batch, self.step + 1)
                # Wholly: the forward pass alone changes running statistics, and what a balance remembers.
                losses = self._wholly(partial(self.learn, batch))
                if rank() == 0:
                    self._look_after(losses, (time.monotonic() - start) / (self.step - begun), report)
        if rank() == 0:
            draw_curves(self.out / METRICS_FILE, self.out / CURVES_FILE)

    def _look_after(self, losses: dict[str, float], seconds: float, report: Callable[[str], None]) -> None:
        """What is due after this step: metrics, a judgement, a checkpoint."""
        last = self.step == self.config.steps
        if self.step % EVERY_STEPS == 0 or last:
            self._log(losses, seconds, report)
        if self._judge and (last or self._is_due(self.config.validate_steps)):
            self._validate(self._judge, report)
        if self.step % self.config.checkpoint_steps == 0 or last:
            self.save()

    def _is_due(self, every: int) -> bool:
        return every > 0 and self.step % every == 0

    def learn(self, batch: Batch) -> dict[str, float]:
        """One step of optimisation. Raises ModelError when loss or gradient is not finite, after writing the batch."""
        if self._device.index is not None:
            torch.cuda.set_device(self._device)  # a thread's own affair, and this is not the one that began
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        losses = self._learner.losses(batch.to(self._device), generator)
        total = torch.stack(list(losses.values())).sum()
        everywhere = summed(losses)
        values = {"the loss": torch.stack(list(everywhere.values())).sum(), **everywhere}
        if not values["the loss"].isfinite():
            said = [f"{name} is {float(value)}" for name, value in values.items() if not value.isfinite()]
            raise self._diverged(batch, ", ".join(said))
        for group in self._optimizer.param_groups:
            group["lr"] = self.config.rate(self.step) * group["share"]
        self._optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        sum_gradients(self.network.parameters())
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip_norm)
        if not norm.isfinite():
            raise self._diverged(batch, f"the gradient's norm is {float(norm)}")
        if self._auxiliary is not None:  # by itself: its gradient must not shorten the network's step
            nn.utils.clip_grad_norm_(list(self._auxiliary.parameters()), self.config.clip_norm)
        self._advance()
        return {name.removeprefix("the "): float(value) for name, value in values.items()}

    def batch(self, step: int) -> Batch:
        """The tiles of a step: a function of the seed and the step."""
        random = np.random.default_rng([self.config.seed, step])
        mild = step >= self.config.steps * (1 - self.config.mild_share)
        return (self._mild if mild else self._sampler).batch(
            self.config.tiles, int(random.choice(self.config.sizes_px)), random, own_rows(self.config.tiles)
        )

    @torch.no_grad()
    def _advance(self) -> None:
        self._optimizer.step()
        self.step += 1
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        average_in(self.average.state_dict(), self.network.state_dict(), decay)

    def _log(self, losses: dict[str, float], seconds: float, report: Callable[[str], None]) -> None:
        self._write({"seconds_per_step": round(seconds, 3), "rate": self.config.rate(self.step), **losses})
        left = (self.config.steps - self.step) * seconds / 60
        shown = ("loss", *self._learner.telling)
        text = "  ".join(f"{name} {losses[name]:.3f}" for name in shown if name in losses)
        report(f"step {self.step}/{self.config.steps}  {seconds:.2f} s/step  {left:.0f} min left  {text}")

    def _write(self, figures: dict[str, float]) -> None:
        """Add a line to the metrics."""
        self.out.mkdir(parents=True, exist_ok=True)
        known = {name: None if value != value else value for name, value in figures.items()}  # JSON has no NaN
        with (self.out / METRICS_FILE).open("a") as file:
            file.write(json.dumps({"step": self.step, **known}) + "\n")

    def _validate(self, judge: Judge, report: Callable[[str], None]) -> None:
        """Judge the averaged weights, and keep them where they are the best on held-out scenes so far."""
        figures = judge(deepcopy(self.average))
        self._write(figures)
        value = figures.get(CHOOSING, math.nan)
        best = not math.isnan(value) and value > best_of(self.out)[1]
        if best:
            self._save_best(value)
        text = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
        report(f"step {self.step}/{self.config.steps}  {text}{'  the best so far' if best else ''}")
        draw_curves(self.out / METRICS_FILE, self.out / CURVES_FILE)

    def _save_best(self, value: float) -> None:
        folder = self.out / BEST
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG_FILE).write_text(json.dumps(self._learner.config()) + "\n")
        tensors = {f"average.{name}": one for name, one in self.average.state_dict().items()}
        save_state(tensors, folder, {"step": str(self.step), CHOOSING: repr(value)})

    def _diverged(self, batch: Batch, what: str) -> ModelError:
        """The error that ends a training whose numbers are none; the batch is kept for whoever looks for the cause."""
        self.out.mkdir(parents=True, exist_ok=True)
        path = self.out / (DIVERGED if rank() == 0 else f"diverged-{rank()}.npz")
        np.savez_compressed(path, **batch.arrays())  # type: ignore[arg-type]
        return ModelError(
            f"training diverged at step {self.step}: {what}; its tiles and boxes are in {path}; lower the learning "
            "rate, or go on from an earlier checkpoint"
        )

    def save(self) -> Path:
        """Write everything needed to go on to ``out/checkpoint``; safetensors and json, by rename."""
        folder = self.out / CHECKPOINT
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG_FILE).write_text(json.dumps(self._learner.config()) + "\n")
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        if self._auxiliary is not None:
            tensors |= {f"auxiliary.{name}": value for name, value in self._auxiliary.state_dict().items()}
        for number, state in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
        save_state(tensors, folder, {"step": str(self.step)})
        return folder

    def resume(self) -> bool:
        """Go on from ``out/checkpoint``; False when there is none. The same steps follow as without the break."""
        path = self.out / CHECKPOINT / STATE_FILE
        if not path.exists():
            return False
        tensors = load_file(path, device=str(self._device))
        with safe_open(path, framework="pt") as stored:
            self.step = int(stored.metadata()["step"])  # the optimiser's are of single parameters, and may be behind
        auxiliary = part_of(tensors, "auxiliary.")
        own = self._auxiliary.state_dict() if self._auxiliary is not None else {}
        if auxiliary.keys() != own.keys():
            raise ModelError(
                f"{path} was trained with other losses that keep weights of their own (sample_weights, "
                "dynamic_balance) than these arguments ask for: give another --out"
            )
        try:
            self.network.load_state_dict(part_of(tensors, "network."))
            self.average.load_state_dict(part_of(tensors, "average."))
            if self._auxiliary is not None:
                self._auxiliary.load_state_dict(auxiliary)
        except RuntimeError as error:
            raise ModelError(
                f"{path} is of another network than these arguments ask for (--family, --classes, --init): give another"
                f" --out ({one_sentence(error)})"
            ) from error
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in part_of(tensors, "optimizer.").items():
            number, key = name.split(".", 1)
            state.setdefault(int(number), {})[key] = value
        parameters = [one for group in self._optimizer.param_groups for one in group["params"]]
        if any(parameters[number].shape != memory["exp_avg"].shape for number, memory in state.items()):
            raise ModelError(
                f"the optimiser in {path} has its parameters in another order than these arguments ask for "
                "(schedule.backbone_rate 1, or not 1): give that one, or another --out"
            )
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": state, "param_groups": groups})
        return True


def best_of(run: Path) -> tuple[int, float]:
    """Step, and AP on held-out scenes, of the best weights of a run; (0, -inf) where none were kept."""
    path = run / BEST / STATE_FILE
    if not path.exists():
        return 0, -math.inf
    with safe_open(path, framework="pt") as stored:
        found = stored.metadata()
        return int(found["step"]), float(found[CHOOSING])
