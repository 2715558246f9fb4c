"""The training loop: EMA, checkpoints that resume exactly, metrics to jsonl. What is learnt is the Learner's affair."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.detectors.checkpoint import CONFIG as CONFIG_FILE
from pipeline.errors import ConfigError, ModelError, one_sentence
from pipeline.training.curves import CURVES_FILE, draw_curves
from pipeline.training.data.batches import Batch, TileSampler
from pipeline.training.learner import Learner
from pipeline.training.parameter_groups import parameter_groups
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopConfig:
    """How long and how fast to learn."""

    steps: int = 2000
    tiles: int = 6
    """Tiles per step."""
    sizes_px: tuple[int, ...] = (192, 224, 256)
    """Sides of the square tiles; one is drawn per step. Multiples of 32."""
    learning_rate: float = 6e-4
    weight_decay: float = 0.02
    warmup_steps: int = 100
    clip_norm: float = 5.0
    ema_decay: float = 0.998
    seed: int = 0
    device: str = "cpu"
    checkpoint_steps: int = 100
    """Steps between checkpoints."""
    backbone_rate: float = 1.0
    """Share of the learning rate that the backbone's parameters learn at; 0 leaves them as they are."""
    mild_share: float = 0.0
    """Share of the steps, the last ones, whose tiles keep their scale and their light."""
    validate_steps: int = 0
    """Steps between judgements of the averaged weights on held-out scenes and on those trained on; 0: after the last
    step only."""
    validate_scenes: int = 24
    """Most scenes of either kind that are judged on the way, evenly chosen by name."""
    validate_px: int = 512
    """Side of the tiles they are looked at in, pixels."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.tiles < 1:
            raise ConfigError("training needs at least one step and one tile per step")
        if any(size % 32 for size in self.sizes_px):
            raise ConfigError(f"tile sides must be multiples of 32, got {self.sizes_px}")
        if not self.sizes_px or min(self.sizes_px) < 32:
            raise ConfigError("sizes_px needs at least one side of a tile, of 32 pixels or more")
        for name, least in (("learning_rate", 0), ("clip_norm", 0), ("checkpoint_steps", 1), ("validate_scenes", 1)):
            if not getattr(self, name) >= least or getattr(self, name) == 0:
                raise ConfigError(f"{name} must be above 0, not {getattr(self, name):g}")
        for name in ("backbone_rate", "mild_share", "ema_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} lies in 0 to 1, not {getattr(self, name):g}")
        if not all(one >= 0 for one in (self.warmup_steps, self.validate_steps, self.weight_decay)):
            raise ConfigError("warmup_steps, validate_steps and weight_decay are not below 0")

    def rate(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then half a cosine to 2 %."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


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
        self.network = learner.network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = deepcopy(self.network).requires_grad_(False).eval()
        groups = parameter_groups(self.network, config.weight_decay, config.backbone_rate)
        self._auxiliary = learner.auxiliary
        if self._auxiliary is not None:
            groups += parameter_groups(self._auxiliary.to(self._device), config.weight_decay, 1.0)
        self._optimizer = torch.optim.AdamW(groups, lr=config.learning_rate)

    def run(self, report: Callable[[str], None]) -> None:
        """Train to the last step; writes checkpoints and metrics on the way, and one when it is told to stop before."""
        self.network.train()
        with keeping(lambda: self.save() if self.step else None), ThreadPoolExecutor(1) as pool:
            upcoming: Future[Batch] = pool.submit(self.batch, self.step)
            start, begun = time.monotonic(), self.step
            while self.step < self.config.steps:
                batch = upcoming.result()
                upcoming = pool.submit(self.batch, self.step + 1)
                # Wholly: the forward pass alone changes running statistics, and what a balance remembers.
                losses = self._wholly(partial(self.learn, batch))
                if self.step % EVERY_STEPS == 0 or self.step == self.config.steps:
                    self._log(losses, (time.monotonic() - start) / (self.step - begun), report)
                if self._judge and (self.step == self.config.steps or self._is_due(self.config.validate_steps)):
                    self._validate(self._judge, report)
                if self.step % self.config.checkpoint_steps == 0 or self.step == self.config.steps:
                    self.save()
        draw_curves(self.out / METRICS_FILE, self.out / CURVES_FILE)

    def _is_due(self, every: int) -> bool:
        return every > 0 and self.step % every == 0

    def learn(self, batch: Batch) -> dict[str, float]:
        """One step of optimisation. Raises ModelError when loss or gradient is not finite, after writing the batch."""
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        losses = self._learner.losses(batch.to(self._device), generator)
        total = torch.stack(list(losses.values())).sum()
        if not total.isfinite():
            values = {"the loss": total, **losses}
            said = [f"{name} is {float(value.detach())}" for name, value in values.items() if not value.isfinite()]
            raise self._diverged(batch, ", ".join(said))
        for group in self._optimizer.param_groups:
            group["lr"] = self.config.rate(self.step) * group["share"]
        self._optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip_norm)
        if not norm.isfinite():
            raise self._diverged(batch, f"the gradient's norm is {float(norm)}")
        if self._auxiliary is not None:  # by itself: its gradient must not shorten the network's step
            nn.utils.clip_grad_norm_(list(self._auxiliary.parameters()), self.config.clip_norm)
        self._advance()
        return {"loss": float(total.detach()), **{name: float(value.detach()) for name, value in losses.items()}}

    def batch(self, step: int) -> Batch:
        """The tiles of a step: a function of the seed and the step."""
        random = np.random.default_rng([self.config.seed, step])
        mild = step >= self.config.steps * (1 - self.config.mild_share)
        return (self._mild if mild else self._sampler).batch(
            self.config.tiles, int(random.choice(self.config.sizes_px)), random
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
        path = self.out / DIVERGED
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
