"""How a network of the transformers library is trained: tiles as its detector sees them, and the library's own loss.

Everything is float32: the library's matcher fails on the infinities of half precision (transformers#42202). Its
denoising queries count in their own losses only, since 5.24 (transformers#48528).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.detectors.transformers_detr.detector import TransformersDetr, scores_by_sigmoid
from pipeline.detectors.transformers_detr.folder import FOLDER, LibraryNetwork
from pipeline.detectors.transformers_detr.model_types import MODEL_TYPES
from pipeline.detectors.transformers_detr.preprocessing import square_preprocessing
from pipeline.errors import ConfigError
from pipeline.training.data.batches import Batch, Target
from pipeline.training.data.hulls import hulls
from pipeline.training.losses.settings import LibraryLosses
from pipeline.types import ModelCard

LOSS = "library"
"""What the metrics call the library's loss: its parts, weighted as its configuration says, in one sum."""
_NO_NUMBERS = "invalid numeric entries"
"""What scipy's assignment says of costs that are no numbers."""

_NO_PLACES = "selected index k out of range"
"""What torch says where more queries are to be picked than there are places."""


class LibraryLearner:
    """A network of the transformers library as a :class:`~pipeline.training.learner.Learner`."""

    def __init__(
        self, network: LibraryNetwork, mean: Sequence[float] | None = None, std: Sequence[float] | None = None,
        _losses: LibraryLosses | None = None,
    ) -> None:  # fmt: skip
        """``mean`` and ``std`` of pixels / 255, one value a band, as the network's card will have them; without them
        those of its checkpoint. The library's losses have no settings here."""
        self._network, config = network, network.config
        self.mean, self.std = tuple(mean or config.mean), tuple(std or config.std)
        # Of whatever side: tiles are fed as they are, like a chip of the detector's input size.
        self._table = torch.from_numpy(
            square_preprocessing(config.settings, config.strides[0], self.mean, self.std).table
        )

    @property
    def network(self) -> LibraryNetwork:
        return self._network

    @property
    def auxiliary(self) -> nn.Module | None:
        """Nothing learns beside the network."""
        return None

    @property
    def telling(self) -> tuple[str, ...]:
        return ()

    def losses(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """See :meth:`pipeline.training.learner.Learner.losses`; one loss, the library's sum.

        The library draws from torch's own generators (denoising, dropout): they are seeded here and put back.
        """
        device, size = batch.pixels.device, batch.pixels.shape[1:3]
        pixels = self._fed(batch.pixels)
        inputs: dict[str, Any] = {"pixel_values": pixels}
        if MODEL_TYPES[self._network.config.kind].defaults["do_pad"]:
            inputs["pixel_mask"] = torch.ones((len(pixels), *size), dtype=torch.int64, device=device)
        labels = [labels_of(target, size) for target in batch.targets]
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            try:
                loss: Tensor = self._network(**inputs, labels=labels).loss
            except RuntimeError as error:
                if _NO_PLACES not in str(error):
                    raise
                raise ConfigError(
                    f"schedule.sizes_px: a tile of {size[0]} px has fewer places than this {self._network.config.kind} "
                    "has queries (num_queries): give larger ones"
                ) from error
            except ValueError as error:
                if _NO_NUMBERS not in str(error):
                    raise
                loss = torch.full((), math.nan, device=device)  # the loop says where, and keeps the batch
        return {LOSS: loss}

    def _fed(self, pixels: Tensor) -> Tensor:
        """(B, H, W, C) uint8 → (B, C, H, W) float32, through the table of the detector's preprocessing."""
        table = self._table.to(pixels.device)
        bands = [table[band][pixels[..., band].long()] for band in range(len(table))]
        return torch.stack(bands, 1).contiguous(memory_format=torch.channels_last)

    def config(self) -> dict[str, Any]:
        return FOLDER.settings(self._network.config)

    def detector(self, network: nn.Module, card: ModelCard) -> TransformersDetr:
        """See :meth:`pipeline.training.learner.Learner.detector`."""
        if not isinstance(network, LibraryNetwork):
            raise TypeError(f"a detector of the library is made of a LibraryNetwork, not of a {type(network).__name__}")
        return TransformersDetr(
            card=card,
            network=network.inner.eval(),
            preprocessing=square_preprocessing(network.config.settings, card.input_px, card.mean, card.std),
            device=str(next(network.parameters()).device),
            precision="float32",
            sigmoid_scores=scores_by_sigmoid(network.inner),
        )


def labels_of(target: Target, size: Sequence[int]) -> dict[str, Tensor]:
    """What the library's losses take of a tile of ``size`` (rows, columns): ``class_labels`` (N,), and ``boxes`` (N, 4)
    cx, cy, w, h in units of the tile, cut at its edges. It knows no regions to ignore: they are background.
    """
    device = target.boxes.device
    found = hulls(target.boxes.cpu().numpy().astype(np.float64))
    extent = np.array([size[1], size[0]], np.float64)
    low, high = (np.clip(found[:, :2] + sign * found[:, 2:] / 2, 0, extent) for sign in (-1, 1))
    boxes = np.column_stack([(low + high) / 2 / extent, (high - low) / extent])
    return {"class_labels": target.class_ids, "boxes": torch.from_numpy(boxes).float().to(device)}
