"""What the training loop asks of a family of detectors, and nothing else."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pipeline.detectors.protocol import Detector
from pipeline.training.data.batches import Batch
from pipeline.types import ModelCard


class Learner(Protocol):
    """What training needs to know of a detector family."""

    @property
    def network(self) -> nn.Module:
        """What learns. The loop moves it to its device, changes its weights and switches it to training."""
        ...

    @property
    def auxiliary(self) -> nn.Module | None:
        """What learns beside the network, for the losses only: kept in checkpoints, in no average and no export.

        None for nothing. The loop moves it to its device and changes its weights.
        """
        ...

    @property
    def telling(self) -> tuple[str, ...]:
        """Names of the losses that a line of progress shows; the metrics hold all of them."""
        ...

    def losses(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Scalar losses by name of one batch on the network's device; their sum is minimised.

        All chance comes from ``generator`` (on the CPU), so that a step repeats exactly.
        """
        ...

    def config(self) -> dict[str, Any]:
        """What a ``config.json`` beside the weights must hold so that the network can be built again."""
        ...

    def detector(self, network: nn.Module, card: ModelCard) -> Detector:
        """``network``, this learner's or a copy of it with other weights, as a detector on its device.

        It may take the network over and change it. Raises TypeError for a network of another family.
        """
        ...
