"""What a family hands over is what the library reads: value maps, one-hot per cell, make its output the weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import torch
from torch import Tensor, nn

from pipeline.detectors.oriented_rtdetr.detector import OrientedDetector
from pipeline.types import Chip, FloatArray, Look
from tests.support.watched import KINDS, make_chips, make_detector, network_of


@dataclass
class Calls:
    """What went into each decoder layer's cross-attention, what came out of the network, and its input's shape."""

    layers: list[tuple[nn.Module, dict[str, Any]]]
    outputs: list[Any]
    inputs: list[tuple[int, int]]
    last_features: list[tuple[int, int]]


def listen(detector: Any, look: Callable[[], list[Look]]) -> tuple[list[Look], Calls]:
    """Run ``look`` and write down the calls, with hooks of the test's own."""
    calls, network, handles = Calls([], [], [], []), network_of(detector), []

    def on_attention(module: nn.Module, _args: Any, kwargs: dict[str, Any], _output: Any) -> None:
        calls.layers.append((module, kwargs))

    def on_network(_module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        calls.inputs.append(tuple((args[0] if args else kwargs["pixel_values"]).shape[2:]))
        calls.outputs.append(output)

    for name, module in network.named_modules():
        if name.endswith((".encoder_attn", ".cross_attn")) and not hasattr(module, "cross_attn"):
            handles.append(module.register_forward_hook(on_attention, with_kwargs=True))
        if name.endswith(".input_projection"):
            handles.append(module.register_forward_hook(lambda _m, _i, o: calls.last_features.append(o.shape[2:])))
    handles.append(network.register_forward_hook(on_network, with_kwargs=True))
    looks = look()
    for handle in handles:
        handle.remove()
    return looks, calls


@torch.inference_mode()
def one_hot_mass(module: Any, kwargs: dict[str, Any]) -> Tensor:
    """(B, Q, cells) how much of each cell every query reads, mean over heads, by the library's kernel alone.

    A value map that is 1 in one cell and channel, and 0 elsewhere, comes out as that cell's weight in that channel.
    """
    source = next(name for name in ("value_states", "key_value_states", "encoder_hidden_states") if name in kwargs)
    batch, cells, width = kwargs[source].shape
    said = (getattr(module, name, None) for name in ("n_heads", "num_attention_heads", "attention_heads"))
    heads = next((count for count in said if count), None) or width // module.head_dim
    value_layer = getattr(module, "value_proj", getattr(module, "v_proj", None))
    output_layer = getattr(module, "output_proj", getattr(module, "o_proj", None))
    channels = width // heads
    columns = []
    for first in range(0, cells, channels):
        value = torch.zeros(batch, cells, heads, channels)
        for channel in range(min(channels, cells - first)):
            value[:, first + channel, :, channel] = 1
        flat = value.flatten(2)
        handles = []
        if value_layer is not None:
            handles.append(value_layer.register_forward_hook(lambda _m, _i, _o, flat=flat: flat))
        if output_layer is not None:
            handles.append(output_layer.register_forward_hook(lambda _m, inputs, _o: inputs[0]))
        answer = module(**kwargs if value_layer is not None else {**kwargs, source: flat})[0]
        for handle in handles:
            handle.remove()
        columns.append(answer.unflatten(-1, (heads, channels)).mean(2))
    return torch.cat(columns, -1)[..., :cells]


def on_chip(mass: FloatArray, share: tuple[float, float], chip: Chip) -> FloatArray:
    """One level's map on the chip's grid by intersecting rectangles, written with shapely alone."""
    height, width = chip.pixels.shape[:2]
    rows, columns = -(-height // 8), -(-width // 8)

    def boxes(count_y: int, count_x: int, span_y: float, span_x: float) -> Any:
        y, x = np.mgrid[0:count_y, 0:count_x]
        sides = span_x / count_x, span_y / count_y
        return shapely.box(x * sides[0], y * sides[1], (x + 1) * sides[0], (y + 1) * sides[1]).ravel()

    source, target = boxes(*mass.shape, 1, 1), boxes(rows, columns, *share)
    overlap = shapely.area(shapely.intersection(target[:, None], source[None])) / shapely.area(source)
    moved: FloatArray = (overlap @ mass.ravel()).reshape(rows, columns)
    return moved


def expected_map(calls: Calls, row: int, chip: Chip, content: tuple[int, int], weights: FloatArray) -> FloatArray:
    """The map of one chip of the batch from the library's kernel, and shapely; ``weights`` (Q,) of the queries."""
    per_layer = [one_hot_mass(module, kwargs)[row].double().numpy() for module, kwargs in calls.layers]
    cells = np.einsum("lqc,q->c", np.stack(per_layer), weights / weights.sum()) / len(per_layer)
    sizes = calls.layers[0][1].get("spatial_shapes_list") or calls.last_features
    share = content[0] / calls.inputs[0][0], content[1] / calls.inputs[0][1]
    starts = np.cumsum([rows * columns for rows, columns in sizes])[:-1]
    levels = [part.reshape(size) for part, size in zip(np.split(cells, starts), sizes, strict=True)]
    return np.asarray(sum(on_chip(level, share, chip) for level in levels))


def content_of(detector: Any, chip: Chip) -> tuple[int, int]:
    """Height and width of the chip in the network's input."""
    size = chip.pixels.shape[:2]
    return size if isinstance(detector, OrientedDetector) else detector.preprocessing.size_for(*size)


def query_scores(kind: str, output: Any, row: int) -> FloatArray:
    """(Q,) best class score of each query, from the network's own answer."""
    if kind == "oriented":
        return torch.stack([layer.logits[row] for layer in output.layers]).sigmoid().mean(0).amax(-1).double().numpy()
    logits = output.logits[row].double()
    return (logits.softmax(-1)[:, :-1] if kind == "detr" else logits.sigmoid()).amax(-1).numpy()


def weighing(detector: Any, query_weights: str) -> Any:
    """The same detector with another way to count its queries."""
    if isinstance(detector, OrientedDetector):
        other = copy.copy(detector)
        other.query_weights = query_weights  # type: ignore[assignment]
        return other
    return replace(detector, query_weights=query_weights)


@pytest.mark.parametrize("query_weights", ["mean", "score"])
@pytest.mark.parametrize("kind", KINDS)
def test_map_is_what_the_library_reads(kind: str, query_weights: str, detectors: dict[str, Any]) -> None:
    """Every family, chips of unlike sizes in one batch: the map equals the library's kernel driven cell by cell."""
    detector, chips = weighing(detectors[kind], query_weights), make_chips()
    looks, calls = listen(detector, lambda: detector.detect(chips, score_threshold=0.0, attention=True))
    for row, (look, chip) in enumerate(zip(looks, chips, strict=True)):
        assert look.attention is not None
        queries = calls.layers[0][1]["hidden_states"].shape[1]
        weights = query_scores(kind, calls.outputs[0], row) if query_weights == "score" else np.ones(queries)
        expected = expected_map(calls, row, chip, content_of(detector, chip), weights)
        np.testing.assert_allclose(look.attention.mass, expected, atol=2e-6)
        assert expected.std() > 1e-4, "a flat map proves nothing"
        assert look.attention.outside == pytest.approx(1 - expected.sum(), abs=1e-5)


def test_padding_and_the_world_outside_get_some_attention(detectors: dict[str, Any]) -> None:
    """The comparison above covers samples that fall outside: some do, in padding as well as beyond the input."""
    small_in_large = make_chips(((20, 20), (64, 96)))
    for kind in ("rt_detr", "deformable_detr", "oriented"):
        look = detectors[kind].detect(small_in_large, score_threshold=0.0, attention=True)[0]
        assert look.attention.outside > 0.05, kind


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_the_same_bits_with_and_without_the_probe(kind: str, detectors: dict[str, Any]) -> None:
    """Logits and boxes out of the network, and the detections made from them."""
    detector, chips = detectors[kind], make_chips()
    runs = [
        listen(detector, lambda asked=asked: detector.detect(chips, score_threshold=0.0, attention=asked))
        for asked in (False, True, False)
    ]
    plain, plain_calls = runs[0]
    assert [look.attention for look in plain] == [None] * 3
    for looks, calls in runs[1:]:
        for ours, theirs in zip(tensors(calls.outputs[0]), tensors(plain_calls.outputs[0]), strict=True):
            assert torch.equal(ours, theirs)
        for ours, theirs in zip(looks, plain, strict=True):
            np.testing.assert_array_equal(ours.detections.boxes, theirs.detections.boxes)
            np.testing.assert_array_equal(ours.detections.scores, theirs.detections.scores)


def tensors(output: Any) -> list[Tensor]:
    if hasattr(output, "logits"):
        return [output.logits, output.pred_boxes]
    return [output.token_logits, *(part for layer in output.layers for part in (layer.logits, layer.boxes))]


def test_attention_sits_where_the_boxes_are() -> None:
    """Offsets of zero: every sample of three queries lies at a reference box's centre; the cells there hold all."""
    detector = make_detector("oriented", Path())
    detector._network.config = replace(detector._network.config, queries=3)
    for layer in detector._network.decoder:
        nn.init.zeros_(layer.encoder_attn.sampling_offsets.weight)
        nn.init.zeros_(layer.encoder_attn.sampling_offsets.bias)
    chip = make_chips(((256, 256),))[0]
    (look,), calls = listen(detector, lambda: detector.detect([chip], score_threshold=0.0, attention=True))
    near = np.zeros((32, 32), np.bool_)
    rows, columns = (np.mgrid[0:32, 0:32] + 0.5) * 8
    for layer in calls.outputs[0].layers:
        for x, y in layer.reference[0, :, :2].double().numpy():
            reach = 1.5 * 32 + 4  # a bilinear sample of the coarsest level, stride 32, spreads over two of its cells
            near |= (abs(columns - x) < reach) & (abs(rows - y) < reach)
    assert look.attention.mass[~near].sum() == 0
    assert look.attention.mass[near].sum() > 0.5
    assert near.mean() < 0.5
