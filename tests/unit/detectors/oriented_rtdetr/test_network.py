"""The oriented RT-DETR: rotated sampling, query selection, and independence of the chip's size."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from transformers import RTDetrV2Config
from transformers.models.rt_detr_v2.modeling_rt_detr_v2 import RTDetrV2MultiscaleDeformableAttention

from pipeline.detectors.modules.features import token_grid
from pipeline.detectors.oriented_rtdetr.deformable_attention import RotatedDeformableAttention
from pipeline.detectors.oriented_rtdetr.network import NetworkConfig, OrientedRTDetr, select
from pipeline.detectors.torch_boxes import reference_frames

SMALL = NetworkConfig(
    stage_channels=(16, 16, 16, 16), stage_depths=(1, 1, 1, 1), width=32, heads=2, decoder_layers=2, queries=20
)


@pytest.fixture(scope="module")
def attention() -> RotatedDeformableAttention:
    torch.manual_seed(1)
    layer = RotatedDeformableAttention(SMALL.width, SMALL.heads, len(SMALL.strides), SMALL.points)
    torch.nn.init.normal_(layer.sampling_offsets.weight, std=0.2)
    return layer


def test_sampling_offsets_are_turned_by_an_explicit_rotation(attention: RotatedDeformableAttention) -> None:
    """Each offset of the level box, turned about the centre by hand, is where the turned box samples: in pixels, on a
    chip that is not square, where turning normalised offsets or half-extents would fail."""
    queries = torch.randn(1, 5, 32)
    width, height, angle = 320.0, 160.0, 0.7
    boxes = torch.tensor([[60.0, 40, 30, 10, 0.0]]).repeat(5, 1)[None]
    turned = boxes.clone()
    turned[..., 4] = angle
    size = torch.tensor([width, height])
    level = attention.sampling_locations(queries, reference_frames(boxes, width, height)) * size
    found = attention.sampling_locations(queries, reference_frames(turned, width, height)) * size
    centre = boxes[..., None, None, :2]
    dx, dy = (level - centre).unbind(-1)
    expected = torch.stack(
        [dx * math.cos(angle) - dy * math.sin(angle), dx * math.sin(angle) + dy * math.cos(angle)], -1
    )
    torch.testing.assert_close(found, centre + expected, rtol=1e-4, atol=1e-3)
    assert not torch.allclose(found, level, atol=1.0)


def test_level_boxes_sample_where_the_library_does(attention: RotatedDeformableAttention) -> None:
    """With angle 0 the whole layer equals the library's own on (cx, cy, w, h) references."""
    torch.manual_seed(2)
    shapes = [(16, 16), (8, 8), (4, 4), (2, 2)]
    memory = torch.randn(1, sum(r * c for r, c in shapes), 32)
    queries, position = torch.randn(1, 5, 32), torch.zeros(1, 5, 32)
    boxes = torch.tensor(
        [[[20.0, 30, 12, 6, 0], [40, 8, 20, 20, 0], [5, 60, 4, 30, 0], [32, 32, 64, 64, 0], [1, 1, 2, 2, 0]]]
    )
    ours, _ = attention(queries, memory, position, reference_frames(boxes, 64, 64), shapes)
    config = RTDetrV2Config(
        d_model=SMALL.width, decoder_attention_heads=SMALL.heads, decoder_n_levels=4, decoder_n_points=SMALL.points
    )
    library = RTDetrV2MultiscaleDeformableAttention(config)
    library.load_state_dict(attention.state_dict())
    theirs, _ = library(
        queries,
        encoder_hidden_states=memory,
        position_embeddings=position,
        reference_points=boxes[:, :, None, :4] / 64,
        spatial_shapes=torch.tensor(shapes),
        spatial_shapes_list=shapes,
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_queries_are_local_maxima_best_first() -> None:
    """A bright blob gives one query, not nine; neighbours come only after every maximum is taken."""
    plane = torch.zeros(1, 8, 8) - 5
    plane[0, 1:4, 1:4] = 1.0
    plane[0, 2, 2] = 3.0
    plane[0, 6, 5] = 2.0
    chosen = select(plane.view(1, 64, 1), [(8, 8)], 2)
    assert chosen.tolist() == [[2 * 8 + 2, 6 * 8 + 5]]


def test_tokens_lie_at_the_centres_of_their_cells() -> None:
    centres, strides = token_grid([(2, 3), (1, 1)], (4, 8), torch.device("cpu"))
    assert centres.tolist() == [[2, 2], [6, 2], [10, 2], [2, 6], [6, 6], [10, 6], [4, 4]]
    assert strides.tolist() == [4] * 6 + [8]


def test_chips_of_any_size_and_shape_go_in_and_gradients_reach_every_weight() -> None:
    torch.manual_seed(0)
    network = OrientedRTDetr(SMALL)
    output = network(torch.randn(2, 3, 64, 128))
    assert len(output.layers) == 2
    assert output.layers[-1].boxes.shape == (2, 20, 5)
    assert output.token_boxes.shape == (2, 16 * 32 + 8 * 16 + 4 * 8 + 2 * 4, 5)
    total = sum(layer.boxes.square().mean() + layer.logits.square().mean() for layer in output.layers)
    (total + output.token_logits.square().mean() + output.token_boxes.square().mean()).backward()
    without = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert without == ["label_embedding.weight"]  # used by denoising only


def test_refinement_starts_from_the_proposals() -> None:
    """Untrained box heads add nothing: every layer's boxes are the proposals', so learning starts from them."""
    torch.manual_seed(0)
    network = OrientedRTDetr(SMALL).eval()
    with torch.inference_mode():
        output = network(torch.randn(1, 3, 64, 64))
    for layer in output.layers:
        torch.testing.assert_close(layer.boxes[..., :4], output.layers[0].reference[..., :4], rtol=1e-4, atol=1e-3)


def test_an_origin_moves_what_the_queries_believe_and_nothing_else() -> None:
    """At the origin nothing changes; elsewhere the proposals stay, and the decoder's answers hear of it."""
    torch.manual_seed(0)
    network = OrientedRTDetr(SMALL).eval()
    pixels = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        plain, zero, far = (network(pixels, origin=o) for o in (None, torch.zeros(1, 1, 2), torch.full((1, 1, 2), 9e2)))
    assert torch.equal(plain.layers[-1].logits, zero.layers[-1].logits)
    assert torch.equal(plain.token_boxes, far.token_boxes)
    assert not torch.allclose(plain.layers[-1].logits, far.layers[-1].logits)
    assert torch.equal(far.layers[0].reference, plain.layers[0].reference)


@pytest.mark.parametrize("name", ["heads", "points", "decoder_layers", "decoder_mlp_width", "queries"])
def test_a_network_without_some_part_of_its_decoder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1, not 0"):
        NetworkConfig(**{name: 0})


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"width": 30}, "width must be a multiple of heads, not 30 of 4"),
        ({"anchor_strides": 0.0}, "anchor_strides must be a number above 0, not 0"),
    ],
)
def test_what_contradicts_itself_in_a_decoder_is_refused(said: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        NetworkConfig(**said)
