"""What a network could not draw again of each chip: its difference map on the grid that attention maps have."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.detectors.attention import CELL_PX, axis_shares
from pipeline.errors import ModelError
from pipeline.types import DifferenceMap


@torch.inference_mode()
def difference_maps(difference: Tensor | None, sizes: Sequence[tuple[int, int]]) -> list[DifferenceMap | None]:
    """One map of ceil(H / 8) x ceil(W / 8) cells for each chip, given by its rows and columns; None each without D.

    ``difference`` (B, 1, H, W) is that of the padded batch (:func:`~pipeline.detectors.modules.reconstruction.
    difference_map`). Raises ModelError where it is not finite.
    """
    if difference is None:
        return [None] * len(sizes)
    if not bool(difference.isfinite().all()):
        raise ModelError("the network's reconstruction holds NaN or infinity: its weights are damaged")
    return [_chip_map(plane[0, :height, :width]) for plane, (height, width) in zip(difference, sizes, strict=True)]


def _chip_map(pixels: Tensor) -> DifferenceMap:
    """(H, W) → the mean over each cell. By torch, for the reason that attention is."""
    height, width = pixels.shape
    rows, columns = -(-height // CELL_PX), -(-width // CELL_PX)
    sums = axis_shares(height, rows) @ pixels.double().cpu() @ axis_shares(width, columns).T
    return DifferenceMap((sums * (rows * columns / (height * width))).numpy())
