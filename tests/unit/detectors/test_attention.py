"""The probe against the library's own attention: value maps that are one-hot per cell make its output the weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import torch
from torch import Tensor, nn

from pipeline.detectors.attention import AttentionRecord, Placement, attention_of, splat, watch
from pipeline.detectors.cross_attention import Decoder, Samples
from pipeline.detectors.loading import load_detector
from pipeline.detectors.oriented_rtdetr.deformable_attention import decoder_of as oriented_decoder
from pipeline.detectors.oriented_rtdetr.detector import OrientedDetector
from pipeline.detectors.transformers_detr.attention import decoder_of as library_decoder
from pipeline.detectors.transformers_detr.model_types import MODEL_TYPES
from pipeline.errors import ModelError
from pipeline.types import Chip, FloatArray, Look, Window
from tests.support.checkpoints import FAMILIES, save_checkpoint
from tests.unit.detectors.oriented_rtdetr.test_detector import CARD, small_network

KINDS = (*FAMILIES, "rt_detr_v2 discrete", "oriented")
SIZES = ((50, 70), (70, 50), (33, 60))
"""Chips of unlike shapes: padded into one batch, or resized, or padded to whole strides."""


def make_detector(kind: str, folder: Path) -> Any:
    if kind == "oriented":
        return OrientedDetector(_stirred(small_network()), CARD)
    family, _, method = kind.partition(" ")
    return load_detector(save_checkpoint(family, folder, **({"decoder_method": method} if method else {})))


def _stirred(network: nn.Module) -> Any:
    """Queries that look elsewhere and weigh their samples differently: a fresh network's all look alike."""
    torch.manual_seed(3)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "sampling_offsets" in name or "attention_weights" in name:
                weight += 0.5 * torch.randn_like(weight)
    return network


@pytest.fixture(scope="module")
def detectors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("checkpoints")
    return {kind: make_detector(kind, root / kind) for kind in KINDS}


def network_of(detector: Any) -> nn.Module:
    network: nn.Module = detector._network if isinstance(detector, OrientedDetector) else detector.network
    return network


def decoder_of(detector: Any) -> Decoder:
    """What the detector's family hands over to the probe."""
    if isinstance(detector, OrientedDetector):
        return oriented_decoder(network_of(detector))
    return library_decoder(detector.network, MODEL_TYPES[detector.network.config.model_type])


def make_chips(sizes: Sequence[tuple[int, int]] = SIZES) -> list[Chip]:
    rng = np.random.default_rng(11)
    return [
        Chip(pixels=rng.integers(0, 256, (*size, 3), np.uint8), window=Window(x=0, y=0, width=size[1], height=size[0]))
        for size in sizes
    ]


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
        if name.endswith(".encoder_attn"):
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
    source = "key_value_states" if "key_value_states" in kwargs else "encoder_hidden_states"
    batch, cells, width = kwargs[source].shape
    heads = getattr(module, "n_heads", None) or getattr(module, "num_attention_heads", None) or width // module.head_dim
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
def test_mass_and_outside_sum_to_one_on_cells_of_eight_pixels(kind: str, detectors: dict[str, Any]) -> None:
    chips = make_chips(((64, 64), (1, 1), (8, 9), (65, 127)))
    looks = detectors[kind].detect(chips, score_threshold=0.0, attention=True)
    assert [look.attention.mass.shape for look in looks] == [(8, 8), (1, 1), (1, 2), (9, 16)]
    for look in looks:
        assert look.attention.mass.dtype == np.float64
        assert (look.attention.mass >= 0).all()
        assert look.attention.mass.sum() + look.attention.outside == pytest.approx(1, abs=1e-12)


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


@pytest.mark.parametrize("kind", ["rt_detr", "rt_detr_v2", "d_fine", "deformable_detr", "detr", "conditional_detr"])
def test_half_precision_still_gives_a_whole_map(kind: str, tmp_path: Path) -> None:
    """Autocast to bfloat16: close to the float32 map, mass still 1."""
    folder, chips = save_checkpoint(kind, tmp_path), make_chips()
    exact = load_detector(folder).detect(chips, score_threshold=0.0, attention=True)
    rough = load_detector(folder, precision="bfloat16").detect(chips, score_threshold=0.0, attention=True)
    for a, b in zip(exact, rough, strict=True):
        assert b.attention.mass.sum() + b.attention.outside == pytest.approx(1, abs=1e-9)
        assert np.abs(a.attention.mass - b.attention.mass).sum() < 0.2


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
