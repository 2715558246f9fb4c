"""How long and how fast a training learns, and how it is watched."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.errors import ConfigError


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
