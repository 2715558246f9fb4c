"""The backbone with ImageNet weights: equal to an independent walk over the package's own tensors."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.detectors.modules.efficientnet_lite import FEATURE_CHANNELS, EfficientNetLite
from pipeline.training.pretrained import package_pickle, read_pickle

REPEATS = ((1, 3, 1, 1), (2, 3, 2, 6), (2, 5, 2, 6), (3, 3, 2, 6), (3, 5, 1, 6), (4, 5, 2, 6), (1, 3, 1, 6))
"""Blocks, kernel, stride and expansion of the seven stages (tensorflow/tpu, efficientnet_lite_builder.py)."""


def same(pixels: Tensor, weight: Tensor, stride: int, groups: int = 1) -> Tensor:
    """TensorFlow's SAME: as many outputs as the stride asks for, the odd pixel below and to the right."""
    sides = []
    for side in reversed(pixels.shape[-2:]):
        total = max((math.ceil(side / stride) - 1) * stride + weight.shape[-1] - side, 0)
        sides += [total // 2, total - total // 2]
    return functional.conv2d(functional.pad(pixels, sides), weight, stride=stride, groups=groups)


def walk(state: dict[str, Tensor], pixels: Tensor) -> list[Tensor]:
    """The stages' outputs, from tensors under the names of the package."""

    def norm(name: str, values: Tensor) -> Tensor:
        mean, var, weight, bias = (
            state[f"{name}.{key}"].view(1, -1, 1, 1) for key in ("running_mean", "running_var", "weight", "bias")
        )
        return (values - mean) / (var + 1e-3).sqrt() * weight + bias

    found, block, outputs = norm("_bn0", same(pixels, state["_conv_stem.weight"], 2)).clamp(0, 6), 0, []
    for blocks, _, first_stride, expansion in REPEATS:
        for number in range(blocks):
            stride, at, before = first_stride if number == 0 else 1, f"_blocks.{block}", found
            if expansion != 1:
                found = norm(f"{at}._bn0", same(found, state[f"{at}._expand_conv.weight"], 1)).clamp(0, 6)
            kernel = state[f"{at}._depthwise_conv.weight"]
            found = norm(f"{at}._bn1", same(found, kernel, stride, groups=len(kernel))).clamp(0, 6)
            found = norm(f"{at}._bn2", same(found, state[f"{at}._project_conv.weight"], 1))
            if number > 0:
                found = found + before
            block += 1
        outputs.append(found)
    return [outputs[1], outputs[2], outputs[4], outputs[6]]


def test_it_answers_what_the_packages_tensors_answer() -> None:
    backbone = EfficientNetLite(3).eval()
    backbone.load_state_dict(read_pickle(package_pickle()))
    pixels = torch.rand(2, 3, 96, 160, generator=torch.Generator().manual_seed(0)) * 2 - 1
    state = torch.load(package_pickle(), weights_only=True)
    with torch.inference_mode():
        found, wanted = backbone(pixels), walk(state, pixels)
    assert [tuple(one.shape) for one in found] == [(2, 24, 24, 40), (2, 40, 12, 20), (2, 112, 6, 10), (2, 320, 3, 5)]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_it_has_as_many_parameters_as_published_without_the_head() -> None:
    """2,958,848 weights and statistics with the counters of batches left out (next.md has the figure from the file)."""
    state = EfficientNetLite(3).state_dict()
    learnt = sum(t.numel() for name, t in state.items() if not name.endswith("num_batches_tracked"))
    file = torch.load(package_pickle(), weights_only=True)
    kept = [t for name, t in file.items() if not name.startswith(("_conv_head", "_bn1", "_fc"))]
    assert learnt == sum(t.numel() for t in kept if t.ndim)
    assert FEATURE_CHANNELS == (24, 40, 112, 320)


@pytest.mark.parametrize("frozen", [True, False])
def test_statistics_stay_as_they_are_while_frozen(frozen: bool) -> None:
    backbone = EfficientNetLite(1)
    backbone.frozen_statistics = frozen
    backbone.train()
    before = backbone.stem.norm.running_mean.clone()
    backbone(torch.ones(2, 1, 32, 32))[0].sum().backward()
    assert torch.equal(backbone.stem.norm.running_mean, before) == frozen
    assert backbone.stem.norm.weight.grad is not None
