"""The training loop: EMA, checkpoints that resume exactly, metrics to jsonl. What is learnt is the Learner's affair."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipeline.detectors.checkpoint import CONFIG as CONFIG_FILE
from pipeline.errors import ConfigError, ModelError, one_sentence
from pipeline.training.data.batches import Batch, TileSampler
from pipeline.training.learner import Learner

CHECKPOINT = "checkpoint"
STATE_FILE = "state.safetensors"
METRICS_FILE = "metrics.jsonl"
EVERY_STEPS = 20
"""Steps between lines of progress and of metrics."""


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
    checkpoint_steps: int = 250
    """Steps between checkpoints."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.tiles < 1:
            raise ConfigError("training needs at least one step and one tile per step")
        if any(size % 32 for size in self.sizes_px):
            raise ConfigError(f"tile sides must be multiples of 32, got {self.sizes_px}")

    def rate(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then half a cosine to 2 %."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


class Trainer:
    """State of one run: network, its moving average, optimiser and step."""

    def __init__(self, learner: Learner, sampler: TileSampler, config: LoopConfig, out: Path) -> None:
        """The learner's network is moved to the device of ``config``, and changed from then on."""
        self.config, self.out, self.step = config, out, 0
        self._learner, self._sampler = learner, sampler
        self._device = torch.device(config.device)
        self.network = learner.network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = deepcopy(self.network).requires_grad_(False).eval()
        self._hand = ThreadPoolExecutor(1)
        self._optimizer = torch.optim.AdamW(_groups(self.network, config.weight_decay), lr=config.learning_rate)

    def run(self, report: Callable[[str], None]) -> None:
        """Train to the last step; writes checkpoints and metrics on the way and says so through ``report``.

        A run that is told to stop (KeyboardInterrupt) writes a checkpoint before it does.
        """
        self.network.train()
        with self._kept(), ThreadPoolExecutor(1) as pool:
            upcoming: Future[Batch] = pool.submit(self.batch, self.step)
            start, begun = time.monotonic(), self.step
            while self.step < self.config.steps:
                batch = upcoming.result()
                upcoming = pool.submit(self.batch, self.step + 1)
                losses = self.learn(batch)
                if self.step % EVERY_STEPS == 0 or self.step == self.config.steps:
                    self._log(losses, (time.monotonic() - start) / (self.step - begun), report)
                if self.step % self.config.checkpoint_steps == 0 or self.step == self.config.steps:
                    self.save()

    def learn(self, batch: Batch) -> dict[str, float]:
        """One step of optimisation. Raises ModelError when the loss is not finite."""
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        losses = self._learner.losses(batch.to(self._device), generator)
        total = torch.stack(list(losses.values())).sum()
        if not total.isfinite():
            raise ModelError(
                f"training diverged at step {self.step}: the loss is {float(total)}; lower the learning rate"
            )
        for group in self._optimizer.param_groups:
            group["lr"] = self.config.rate(self.step)
        self._optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip_norm)
        self._whole(self._advance)
        return {"loss": float(total.detach()), **{name: float(value.detach()) for name, value in losses.items()}}

    def _advance(self) -> None:
        self._optimizer.step()
        self.step += 1
        self._update_average()

    def _whole(self, action: Callable[[], None]) -> None:
        """Do what must not be left half done: signals to stop are raised in the main thread, and here when it is done.

        The thread does one thing after the other, so what was begun is done when it comes to the next.
        """
        try:
            self._hand.submit(action).result()
        except KeyboardInterrupt:
            self._hand.submit(int).result()
            raise

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        """A run that is told to stop inside keeps what it has learnt."""
        try:
            yield
        except KeyboardInterrupt:
            if self.step:
                self.save()
            raise

    def batch(self, step: int) -> Batch:
        """The tiles of a step: a function of the seed and the step."""
        random = np.random.default_rng([self.config.seed, step])
        return self._sampler.batch(self.config.tiles, int(random.choice(self.config.sizes_px)), random)

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        for old, new in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
            if old.is_floating_point():
                old.lerp_(new, 1 - decay)
            else:
                old.copy_(new)

    def _log(self, losses: dict[str, float], seconds: float, report: Callable[[str], None]) -> None:
        row = {"step": self.step, "seconds_per_step": round(seconds, 3), "rate": self.config.rate(self.step), **losses}
        self.out.mkdir(parents=True, exist_ok=True)
        with (self.out / METRICS_FILE).open("a") as file:
            file.write(json.dumps(row) + "\n")
        left = (self.config.steps - self.step) * seconds / 60
        shown = ("loss", *self._learner.telling)
        text = "  ".join(f"{name} {losses[name]:.3f}" for name in shown if name in losses)
        report(f"step {self.step}/{self.config.steps}  {seconds:.2f} s/step  {left:.0f} min left  {text}")

    def save(self) -> Path:
        """Write everything needed to go on to ``out/checkpoint``; safetensors and json, by rename."""
        folder = self.out / CHECKPOINT
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG_FILE).write_text(json.dumps(self._learner.config()) + "\n")
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for number, state in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
        partial = folder / f"{STATE_FILE}.partial"
        save_file({name: value.contiguous() for name, value in tensors.items()}, partial, {"step": str(self.step)})
        partial.replace(folder / STATE_FILE)
        return folder

    def resume(self) -> bool:
        """Go on from ``out/checkpoint``; False when there is none. The same steps follow as without the break."""
        path = self.out / CHECKPOINT / STATE_FILE
        if not path.exists():
            return False
        tensors = load_file(path, device=str(self._device))
        with safe_open(path, framework="pt") as stored:
            self.step = int(stored.metadata()["step"])  # the optimiser's are of single parameters, and may be behind
        try:
            self.network.load_state_dict(_strip(tensors, "network."))
            self.average.load_state_dict(_strip(tensors, "average."))
        except RuntimeError as error:
            raise ModelError(
                f"{path} is of another network than these arguments ask for (--classes, --init): give another --out "
                f"({one_sentence(error)})"
            ) from error
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _strip(tensors, "optimizer.").items():
            number, key = name.split(".", 1)
            state.setdefault(int(number), {})[key] = value
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": state, "param_groups": groups})
        return True


def _groups(network: nn.Module, decay: float) -> list[dict[str, object]]:
    """Matrices and kernels decay; biases and normalisation do not."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _strip(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
