"""One-to-one assignment of queries to objects."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from pipeline.detectors.torch_boxes import kld_distance
from pipeline.training.losses.boxes import corner_distance, focal_class_cost

CLASS_WEIGHT = 2.0
CORNER_WEIGHT = 5.0
KLD_WEIGHT = 5.0
CORNER_SCALE_PX = 64.0
"""A corner distance of this much costs CORNER_WEIGHT."""


@torch.no_grad()
def match_cost(logits: Tensor, boxes: Tensor, target_boxes: Tensor, class_ids: Tensor) -> Tensor:
    """(N, C), (N, 5) × (M, 5), (M,) → (N, M). No L1 on angles: two ways to write a rectangle cost the same."""
    corner = corner_distance(boxes, target_boxes) / CORNER_SCALE_PX
    spread = kld_distance(boxes[:, None], target_boxes[None])
    return CLASS_WEIGHT * focal_class_cost(logits, class_ids) + CORNER_WEIGHT * corner + KLD_WEIGHT * spread


def match(logits: Tensor, boxes: Tensor, target_boxes: Tensor, class_ids: Tensor) -> tuple[Tensor, Tensor]:
    """The cheapest assignment (Hungarian): indices of queries and of their targets, min(N, M) each."""
    cost = match_cost(logits.float(), boxes.float(), target_boxes, class_ids)
    cost = cost.nan_to_num(nan=0.0)  # a network that diverged answers NaN: its loss is to say so, not the assignment
    rows, columns = linear_sum_assignment(cost.cpu().numpy())
    return torch.as_tensor(rows, device=boxes.device), torch.as_tensor(columns, device=boxes.device)
