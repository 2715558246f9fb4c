"""What the mask of ``detectors/modules/foreground_selection.py`` is told: where the objects are.

After the FBSM of E-FPN-BS (arXiv 2506.09897), which gives no formula. Ours: each object is drawn as a Gaussian of a
sixth of its sides, turned with it, and the mask learns that by the quality focal loss, which has something to say of a
chip without objects (a Dice loss has not). It knows nothing of heads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.detectors.modules.features import token_grid
from pipeline.detectors.torch_boxes import rotation
from pipeline.training.data.batches import Target
from pipeline.training.losses.boxes import inside, quality_focal
from pipeline.training.ranks import over_all

SIDES_PER_SIGMA = 6.0
SHORTEST_SIDE_CELLS = 2.0
"""A shorter side is drawn as this many cells: the Gaussian of a tiny object would fall between the cells' centres."""


def foreground_target(shape: tuple[int, int], stride: int, boxes: Tensor) -> Tensor:
    """(rows, columns) map in [0, 1] of (M, 5) boxes in pixels of the chip: the highest of their Gaussians at the cells'
    centres; the cell that holds an object's centre is 1."""
    rows, columns = shape
    if len(boxes) == 0:
        return torch.zeros(shape, device=boxes.device)
    centres, _ = token_grid([shape], (stride,), boxes.device)
    local = torch.einsum("tmj,mji->tmi", centres[:, None] - boxes[None, :, :2], rotation(boxes[:, 4]))
    sigma = boxes[:, 2:4].clamp(min=SHORTEST_SIDE_CELLS * stride) / SIDES_PER_SIGMA
    heat = (-0.5 * (local / sigma).square().sum(-1)).exp().amax(1).view(rows, columns)
    column, row = (boxes[:, :2] / stride).floor().long().unbind(1)
    held = (column >= 0) & (row >= 0) & (column < columns) & (row < rows)
    heat[row[held], column[held]] = 1.0
    return heat


def foreground_losses(
    masks: Sequence[Tensor] | None, strides: Sequence[int], targets: Sequence[Target], weight: float
) -> dict[str, Tensor]:
    """``foreground``, times ``weight``, for a learner's losses; nothing where there are no masks or no weight.

    ``strides`` of the pyramid, finest first, as the masks are.
    """
    if masks is None or weight == 0:
        return {}
    return {"foreground": weight * foreground_loss(masks, strides[: len(masks)], targets)}


def foreground_loss(masks: Sequence[Tensor], strides: Sequence[int], targets: Sequence[Target]) -> Tensor:
    """Scalar: quality focal loss of the masks' (B, 1, rows, columns) logits, over the sum of their targets.

    ``strides`` are the masks', pixels; the mean of the levels. Cells in ignore regions count nowhere.
    """
    total = masks[0].new_zeros((), dtype=torch.float32)
    for logits, stride in zip(masks, strides, strict=True):
        shape = (logits.shape[2], logits.shape[3])
        wanted = torch.stack([foreground_target(shape, stride, target.boxes) for target in targets])
        centres, _ = token_grid([shape], (stride,), logits.device)
        counted = torch.stack([~inside(centres, target.ignored).view(shape) for target in targets])
        loss = (quality_focal(logits[:, 0].float(), wanted) * counted).sum()
        total = total + loss / over_all((wanted * counted).sum()).clamp(min=1.0)
    return total / len(masks)
