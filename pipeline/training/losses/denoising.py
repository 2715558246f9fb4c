"""Denoising queries: truth with noise, which the decoder must clean (good ones) or reject (bad ones)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.detectors.oriented_rtdetr.network import Queries
from pipeline.detectors.torch_boxes import refine
from pipeline.training.data.batches import Target
from pipeline.training.ranks import count_over_all, highest_of_all, own_rows

BUDGET = 60
"""Denoising queries per tile, about."""
LABEL_NOISE = 0.25
SIDE_NOISE = 0.35
ANGLE_NOISE_RAD = 0.35


@dataclass(frozen=True, slots=True, eq=False)
class Denoising:
    """Queries to put before the network's own, what keeps them apart, and what they should become."""

    queries: Queries
    mask: Tensor
    """(T, T) added to the self-attention of all T queries: -inf where one must not see another."""
    target: Tensor
    """(B, D) index of the object each query should become; -1 for nothing; -2 for padding, which counts nowhere."""


def make_denoising(
    targets: Sequence[Target], embedding: nn.Embedding, proposals: int, generator: torch.Generator
) -> Denoising | None:
    """Groups of one good and one bad query per object; None when no tile of any rank holds an object.

    Good centres lie inside the object, bad ones just outside it; sides and angles are jittered for both.
    """
    device = embedding.weight.device
    most = highest_of_all(max(len(target.boxes) for target in targets), device)
    if most == 0:
        return None
    groups = max(1, BUDGET // (2 * most))
    index = torch.full((len(targets), most), -2, dtype=torch.int64)
    boxes = torch.tensor([0.0, 0.0, 8.0, 8.0, 0.0]).repeat(len(targets), most, 1)
    labels = torch.zeros(len(targets), most, dtype=torch.int64)
    for row, target in enumerate(targets):
        count = len(target.boxes)
        index[row, :count] = torch.arange(count)
        boxes[row, :count] = target.boxes.cpu()
        labels[row, :count] = target.class_ids.cpu()
    index, boxes, labels = index.repeat(1, 2 * groups), boxes.repeat(1, 2 * groups, 1), labels.repeat(1, 2 * groups)
    bad = (torch.arange(index.shape[1]) // most) % 2 == 1
    tiles = count_over_all(len(targets), device)
    noisy = _noisy_boxes(boxes, bad, tiles, generator)
    changed = torch.rand((tiles, index.shape[1]), generator=generator)[own_rows(tiles)] < LABEL_NOISE
    others = torch.randint(embedding.num_embeddings, (tiles, index.shape[1]), generator=generator)[own_rows(tiles)]
    labels = torch.where(changed, others, labels)
    index = torch.where(bad & (index >= 0), -1, index)
    queries = Queries(embedding(labels.to(device)), noisy.to(device))
    return Denoising(queries, _group_mask(groups, 2 * most, proposals).to(device), index.to(device))


def _noisy_boxes(boxes: Tensor, bad: Tensor, tiles: int, generator: torch.Generator) -> Tensor:
    """``tiles`` are those of all ranks: chance is drawn for all, so that it does not depend on who has which."""

    def uniform(size: int) -> Tensor:
        return 2 * torch.rand((tiles, boxes.shape[1], size), generator=generator)[own_rows(tiles)] - 1

    shift = uniform(2) * 0.5
    outward = shift.sign() * (0.5 + shift.abs())
    shift = torch.where(bad[:, None], outward, shift * 0.8)
    return refine(boxes, torch.cat([shift, uniform(2) * SIDE_NOISE, uniform(1) * ANGLE_NOISE_RAD], -1))


def _group_mask(groups: int, group_size: int, proposals: int) -> Tensor:
    """Groups see themselves and the proposals; the proposals see themselves only."""
    noisy = groups * group_size
    mask = torch.zeros(noisy + proposals, noisy + proposals)
    mask[:, :noisy] = -torch.inf
    for group in range(groups):
        part = slice(group * group_size, (group + 1) * group_size)
        mask[part, part] = 0
    return mask
