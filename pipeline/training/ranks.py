"""The processes that train one network together: which of them this is, and what is summed over all.

Alone, which is the rule, nothing of torch.distributed is used and everything is as it is. With others each process
(rank) has its share of the tiles of a step, and what comes out is the step that one process would have done with all of
them: losses are normalised by what all ranks count, batch normalisation takes the statistics of all tiles, and the
gradients are summed. That is done by hand after the backward pass, and not by DistributedDataParallel, because the
losses of a step are sums over all tiles and no means of means, and the loop's average, parameter groups and checkpoints
are of the bare network. All ranks must come to the same sums in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, distributed, nn


def alone() -> bool:
    """Whether this process trains by itself."""
    return not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1


def rank() -> int:
    """Number of this process, from 0."""
    return 0 if alone() else distributed.get_rank()


def ranks() -> int:
    """How many train together."""
    return 1 if alone() else distributed.get_world_size()


def own_rows(total: int) -> slice:
    """Which of ``total`` rows (tiles of a step) are this process's: as even a part as comes out, in order."""
    at, count = rank(), ranks()
    return slice(total * at // count, total * (at + 1) // count)


def over_all(value: Tensor) -> Tensor:
    """The sum of ``value`` over all ranks, without gradient."""
    if alone():
        return value
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total


def count_over_all(count: int, device: torch.device) -> int:
    """The sum of a whole number over all ranks."""
    return count if alone() else int(over_all(torch.tensor(count, device=device)))


def highest_of_all(number: int, device: torch.device) -> int:
    """The highest of a whole number over all ranks."""
    if alone():
        return number
    highest = torch.tensor(number, device=device)
    distributed.all_reduce(highest, distributed.ReduceOp.MAX)
    return int(highest)


def summed(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """Losses by name, each the sum over the ranks that have it, without gradient; in the order of the first rank, then
    of the others."""
    if alone():
        return {name: value.detach() for name, value in losses.items()}
    gathered: list[Any] = [None] * ranks()
    distributed.all_gather_object(gathered, {name: float(value.detach()) for name, value in losses.items()})
    total: dict[str, float] = {}
    for one in gathered:
        for name, value in one.items():
            total[name] = total.get(name, 0.0) + value
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in total.items()}


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Put the sum over all ranks into every gradient; a parameter that no rank has a gradient of keeps none."""
    if alone():
        return
    learning = [one for one in parameters if one.requires_grad]
    if not learning:
        return
    flat = torch.cat([torch.zeros_like(one).flatten() if one.grad is None else one.grad.flatten() for one in learning])
    known = torch.tensor([one.grad is not None for one in learning], dtype=flat.dtype, device=flat.device)
    total = over_all(torch.cat([flat, known]))
    parts = torch.split(total[: len(flat)], [one.numel() for one in learning])
    for one, part, there in zip(learning, parts, total[len(flat) :].tolist(), strict=True):
        one.grad = part.view_as(one).clone() if there else None


def start_together(network: nn.Module) -> nn.Module:
    """``network`` with the weights of the first rank, and with batch normalisation over the tiles of all ranks."""
    if alone():
        return network
    for tensor in network.state_dict().values():
        first = tensor.contiguous()  # in one piece: weights lie channels last
        distributed.broadcast(first, 0)
        tensor.copy_(first)
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedNorm  # the same parameters and buffers: whoever holds them keeps them
    return network


class SharedNorm(nn.BatchNorm2d):
    """Batch normalisation whose statistics, while training, are of the tiles of all ranks."""

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) → the same."""
        if not self.training:
            return super().forward(features)
        wide = features.float()
        count = _summed(wide.new_tensor(float(wide.numel() // wide.shape[1])))
        mean = _summed(wide.sum((0, 2, 3))) / count
        centred = wide - mean[:, None, None]
        variance = _summed(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            momentum = 0.1 if self.momentum is None else self.momentum
            for kept, now in ((self.running_mean, mean), (self.running_var, variance * count / (count - 1))):
                if kept is not None:
                    kept.lerp_(now.to(kept), momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked += 1
        scale = (variance + self.eps).rsqrt() * self.weight
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(features.dtype)


class _Sum(torch.autograd.Function):
    """The sum over all ranks, and of its gradients: every rank's loss depends on every rank's part."""

    @staticmethod
    def forward(_: Any, value: Tensor) -> Tensor:
        return over_all(value)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return over_all(gradient.contiguous())


def _summed(value: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(value)  # type: ignore[no-untyped-call]
    return total
