"""What is recorded of a decoder is what it did, and recording changes nothing."""

from __future__ import annotations

import torch

from pipeline.detectors.attention import watch
from pipeline.detectors.oriented_rtdetr.decoder_record import record_decoder
from pipeline.detectors.oriented_rtdetr.deformable_attention import decoder_of
from pipeline.detectors.oriented_rtdetr.network import OrientedRTDetr
from pipeline.detectors.torch_boxes import refine, rotation
from tests.support.oriented import SMALL, small_network


def test_a_recorded_network_answers_the_same_and_nothing_stays_hooked() -> None:
    network, pixels = small_network(), torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        before = network(pixels).layers[-1]
        with record_decoder(network) as record:
            during = network(pixels).layers[-1]
        after = network(pixels).layers[-1]
    assert torch.equal(before.boxes, during.boxes)
    assert torch.equal(before.logits, during.logits)
    assert torch.equal(before.logits, after.logits)
    assert len(record.layers) == 2
    hooks = [module for module in network.modules() if module._forward_hooks]
    assert hooks == []


def test_offsets_lead_from_the_rotated_boxes_to_where_the_probe_saw_samples() -> None:
    """Centre + R · q · (w, h) / 2, in pixels of a chip that is not square, is the probe's location; weights agree."""
    network, pixels = small_network(), torch.rand(1, 3, 64, 128)
    with torch.no_grad(), watch(decoder_of(network)) as seen, record_decoder(network) as record:
        output = network(pixels)
    for number, layer in enumerate(record.layers):
        boxes = output.layers[number].reference
        assert layer.offsets.shape == (1, 20, SMALL.heads, 4, SMALL.points, 2)
        assert layer.weights.shape == (1, 20, SMALL.heads, 4, SMALL.points)
        half = layer.offsets * boxes[:, :, None, None, None, 2:4] / 2
        turned = (rotation(boxes[..., 4])[:, :, None, None, None] * half[..., None, :]).sum(-1)
        places = (boxes[:, :, None, None, None, :2] + turned) / torch.tensor([128.0, 64.0])
        samples = seen.samples[number]
        torch.testing.assert_close(places.flatten(2, 4), samples.locations, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(layer.weights.flatten(2), SMALL.heads * samples.weights)
        torch.testing.assert_close(layer.weights.sum((3, 4)), torch.ones(1, 20, SMALL.heads))


def test_features_are_what_the_heads_end_in() -> None:
    """The heads' last layers, by hand, make the answers of them."""
    network, pixels = small_network(), torch.rand(1, 3, 64, 64)
    for box in network.box_heads:
        torch.nn.init.normal_(box.layers[-1].weight, std=0.1)
    with torch.no_grad(), record_decoder(network) as record:
        output = network(pixels)
        for number, layer in enumerate(record.layers):
            answer = output.layers[number]
            torch.testing.assert_close(network.score_heads[number](layer.class_features), answer.logits)
            residual = network.box_heads[number].layers[-1](layer.box_features)
            torch.testing.assert_close(refine(answer.reference, residual), answer.boxes)


def test_the_first_queries_can_be_left_out_and_gradients_go_through() -> None:
    torch.manual_seed(0)
    network = OrientedRTDetr(SMALL)
    with record_decoder(network) as record:
        network(torch.rand(1, 3, 64, 64))
    layer = record.layers[1]
    rest = layer.after(5)
    assert rest.offsets.shape[1] == rest.weights.shape[1] == rest.class_features.shape[1] == 15
    assert torch.equal(rest.box_features, layer.box_features[:, 5:])
    (rest.offsets.square().sum() + rest.weights[..., 0].sum()).backward()
    attention = network.decoder[1].encoder_attn
    assert attention.sampling_offsets.weight.grad.abs().sum() > 0
    assert attention.attention_weights.weight.grad.abs().sum() > 0
