"""The probe: samples on known cells, maps that are whole, hooks that are gone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.detectors.attention import AttentionRecord, Placement, attention_of, splat, watch
from pipeline.detectors.cross_attention import Samples
from pipeline.detectors.loading import load_detector
from pipeline.errors import ModelError
from tests.support.checkpoints import save_checkpoint
from tests.support.watched import KINDS, decoder_of, make_chips, make_detector, network_of


@pytest.mark.parametrize("kind", KINDS)
def test_mass_and_outside_sum_to_one_on_cells_of_eight_pixels(kind: str, detectors: dict[str, Any]) -> None:
    chips = make_chips(((64, 64), (1, 1), (8, 9), (65, 127)))
    looks = detectors[kind].detect(chips, score_threshold=0.0, attention=True)
    assert [look.attention.mass.shape for look in looks] == [(8, 8), (1, 1), (1, 2), (9, 16)]
    for look in looks:
        assert look.attention.mass.dtype == np.float64
        assert (look.attention.mass >= 0).all()
        assert look.attention.mass.sum() + look.attention.outside == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("kind", ["rt_detr", "rt_detr_v2", "d_fine", "deformable_detr", "detr", "conditional_detr"])
def test_half_precision_still_gives_a_whole_map(kind: str, tmp_path: Path) -> None:
    """Autocast to bfloat16: close to the float32 map, mass still 1."""
    folder, chips = save_checkpoint(kind, tmp_path), make_chips()
    exact = load_detector(folder).detect(chips, score_threshold=0.0, attention=True)
    rough = load_detector(folder, precision="bfloat16").detect(chips, score_threshold=0.0, attention=True)
    for a, b in zip(exact, rough, strict=True):
        assert b.attention.mass.sum() + b.attention.outside == pytest.approx(1, abs=1e-9)
        assert np.abs(a.attention.mass - b.attention.mass).sum() < 0.2


def samples(points: Sequence[tuple[float, float]], size: tuple[int, int], *, nearest: bool = False) -> Samples:
    """One query of one chip that reads one level at ``points`` (columns, rows in cells, corner convention)."""
    locations = torch.tensor(points, dtype=torch.float32) / torch.tensor([size[1], size[0]])
    count = len(points)
    return Samples(
        locations.view(1, 1, count, 2), torch.full((1, 1, count), 1 / count), torch.zeros(count, dtype=torch.long),
        (size,), nearest,
    )  # fmt: skip


ONE_QUERY = torch.ones(1, 1, dtype=torch.float64)


@pytest.mark.parametrize(
    ("point", "cells"),
    [
        ((2.5, 1.5), {(1, 2): 1.0}),
        ((3.0, 1.0), {(0, 2): 0.25, (0, 3): 0.25, (1, 2): 0.25, (1, 3): 0.25}),
        ((2.75, 1.5), {(1, 2): 0.75, (1, 3): 0.25}),
        ((0.0, 1.5), {(1, 0): 0.5}),
        ((0.0, 0.0), {(0, 0): 0.25}),
        ((5.0, 3.0), {(2, 4): 0.25}),
        ((5.25, 2.5), {(2, 4): 0.25}),
        ((-0.5, 1.5), {}),
        ((1e9, -1e9), {}),
        ((float("inf"), 1.5), {}),
    ],
)
def test_a_sample_lands_on_known_cells(point: tuple[float, float], cells: dict[tuple[int, int], float]) -> None:
    """Rows and columns told apart (3 x 5 cells); at a rim the rest falls outside."""
    (level,) = splat([samples([point], (3, 5))], ONE_QUERY)
    expected = np.zeros((3, 5))
    for cell, share in cells.items():
        expected[cell] = share
    np.testing.assert_allclose(level[0].numpy(), expected, atol=1e-6)


def test_discrete_samples_stay_inside() -> None:
    (level,) = splat([samples([(-3.0, 1.2), (99.0, 99.0)], (3, 5), nearest=True)], ONE_QUERY)
    assert level[0, 1, 0] == 0.5
    assert level[0, 2, 4] == 0.5


def test_nan_in_the_attention_alone_is_an_error(tmp_path: Path) -> None:
    """The library's discrete sampling takes NaN for cell 0, so the logits stay finite and only the probe tells."""
    detector = make_detector("rt_detr_v2 discrete", tmp_path)
    with torch.no_grad():
        detector.network.model.decoder.layers[-1].encoder_attn.sampling_offsets.bias[0] = torch.nan
    chips = make_chips()
    assert len(detector.detect(chips, score_threshold=0.0)) == 3
    with pytest.raises(ModelError, match="attention is NaN"):
        detector.detect(chips, score_threshold=0.0, attention=True)


@pytest.mark.parametrize("where", ["location", "weight"])
def test_nan_never_passes_as_a_place(where: str) -> None:
    """Neither a NaN location nor a NaN weight becomes mass somewhere, or quietly none."""
    seen = samples([(2.5, 1.5), (1.5, 1.5)], (3, 5))
    broken = seen.locations if where == "location" else seen.weights
    broken.view(-1)[0] = torch.nan
    with pytest.raises(ModelError, match="NaN"):
        AttentionRecord(samples=[seen]).maps([Placement(height=24, width=40)], None)


def hooks_of(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules())


@pytest.mark.parametrize("kind", ["rt_detr", "detr", "oriented"])
def test_hooks_are_gone_after_use_and_after_a_failure(
    kind: str, detectors: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    detector, network = detectors[kind], network_of(detectors[kind])
    before = hooks_of(network)
    with watch(None):
        assert hooks_of(network) == before
    with watch(decoder_of(detector)):
        assert hooks_of(network) > before
    assert hooks_of(network) == before

    def broken(*_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError("the forward pass broke")

    last = [module for name, module in network.named_modules() if name.endswith("encoder_attn")][-1]
    monkeypatch.setattr(last, "forward", broken)
    with pytest.raises((ModelError, RuntimeError), match="the forward pass broke"):
        detector.detect(make_chips(), score_threshold=0.0, attention=True)
    assert hooks_of(network) == before


def test_a_decoder_without_cross_attention_has_no_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Detections as ever, no map; the one who asks for nothing but the map is told why there is none."""
    detector = make_detector("rt_detr", tmp_path)
    for layer in detector.network.model.decoder.layers:
        layer.add_module("read_memory", layer.encoder_attn)
        monkeypatch.setattr(type(layer), "encoder_attn", property(lambda self: self.read_memory), raising=False)
        del layer._modules["encoder_attn"]
    looks = detector.detect(make_chips(), score_threshold=0.0, attention=True)
    assert [look.attention for look in looks] == [None] * 3
    assert all(len(look.detections) for look in looks)
    with pytest.raises(ModelError, match="no decoder cross-attention"):
        attention_of(detector, make_chips()[0])


def test_attention_of_one_chip(detectors: dict[str, Any]) -> None:
    """The public function answers what a look answers."""
    detector, chip = detectors["oriented"], make_chips()[0]
    (look,) = detector.detect([chip], score_threshold=0.5, attention=True)
    np.testing.assert_array_equal(attention_of(detector, chip).mass, look.attention.mass)


def test_no_chips_no_maps(detectors: dict[str, Any]) -> None:
    for kind in ("detr", "oriented"):
        assert detectors[kind].detect([], score_threshold=0.0, attention=True) == []


def test_queries_without_any_score_count_alike() -> None:
    record = AttentionRecord(samples=[samples([(2.5, 1.5)], (3, 5))])
    (seen,) = record.maps([Placement(height=24, width=40)], np.zeros((1, 1)))
    assert seen is not None
    assert seen.mass[1, 2] == pytest.approx(1)
