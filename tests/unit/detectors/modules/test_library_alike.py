"""Backbone, neck and decoder layer are those of the transformers library: its weights fit, and say the same."""

from __future__ import annotations

import torch
from torch import nn
from transformers import RTDetrResNetConfig, RTDetrV2Config
from transformers.models.rt_detr.modeling_rt_detr_resnet import RTDetrResNetBackbone
from transformers.models.rt_detr_v2.modeling_rt_detr_v2 import RTDetrV2DecoderLayer, RTDetrV2HybridEncoder

from pipeline.detectors.modules.pyramid import Pyramid
from pipeline.detectors.modules.resnet import SmallResNet
from pipeline.detectors.oriented_rtdetr.decoder_layer import DecoderLayer
from pipeline.detectors.torch_boxes import reference_frames

CHANNELS, DEPTHS, WIDTH = (16, 16, 24), (1, 2, 1), 32
SHAPES = [(6, 8), (3, 4)]


def filled(ours: nn.Module, library: nn.Module) -> None:
    """Both with the same weights, none of them what it was made with. Every name has to have its place."""
    torch.manual_seed(0)
    state = {
        name: torch.rand_like(one) + 0.5 if name.endswith("running_var") else 0.3 * torch.randn_like(one)
        for name, one in library.state_dict().items()
        if one.is_floating_point() and not name.endswith("n_points_scale")
    }
    for network in (ours, library):
        missing, unexpected = network.eval().load_state_dict(state, strict=False)
        assert not unexpected
        assert {name.rpartition(".")[2] for name in missing} <= {"num_batches_tracked", "n_points_scale"}


def test_the_backbone() -> None:
    config = RTDetrResNetConfig(
        num_channels=4, embedding_size=CHANNELS[0], hidden_sizes=list(CHANNELS), depths=list(DEPTHS),
        layer_type="basic", out_indices=[1, 2, 3],
    )  # fmt: skip
    ours, library = SmallResNet(4, CHANNELS, DEPTHS), RTDetrResNetBackbone(config)
    filled(ours, library)
    pixels = torch.randn(2, 4, 48, 64)
    with torch.no_grad():
        for found, expected in zip(ours(pixels), library(pixels).feature_maps, strict=True):
            torch.testing.assert_close(found, expected)


def test_the_neck() -> None:
    config = RTDetrV2Config(
        encoder_hidden_dim=WIDTH, encoder_in_channels=[WIDTH] * 3, feat_strides=[4, 8, 16], encoder_layers=0,
        encode_proj_layers=[], hidden_expansion=0.5,
    )  # fmt: skip
    ours, library = Pyramid(WIDTH, 3), RTDetrV2HybridEncoder(config)
    filled(ours, library)
    maps = [torch.randn(2, WIDTH, 24 >> level, 32 >> level) for level in range(3)]
    with torch.no_grad():
        for found, expected in zip(ours(maps), library(inputs_embeds=maps).last_hidden_state, strict=True):
            torch.testing.assert_close(found, expected)


def test_the_decoder_layer_where_boxes_do_not_turn() -> None:
    """With a mask, as in denoising: a third of the queries does not see the others."""
    config = RTDetrV2Config(
        d_model=WIDTH, decoder_n_levels=2, num_feature_levels=2, decoder_n_points=3, decoder_attention_heads=4,
        decoder_ffn_dim=48,
    )  # fmt: skip
    config._attn_implementation = "sdpa"
    ours, library = DecoderLayer(WIDTH, 4, 2, 3, 48), RTDetrV2DecoderLayer(config)
    filled(ours, library)
    content, position, memory = torch.randn(2, 9, WIDTH), torch.randn(2, 9, WIDTH), torch.randn(2, 60, WIDTH)
    boxes = torch.cat([32 * torch.rand(2, 9, 4) + 4, torch.zeros(2, 9, 1)], -1)
    mask = torch.zeros(9, 9)
    mask[:3, 3:] = -torch.inf
    seen = {"spatial_shapes_list": SHAPES, "encoder_hidden_states": memory}
    with torch.no_grad():
        found = ours(content, position, mask, reference_points=reference_frames(boxes, 64, 48), **seen)
        shares = boxes[..., :4] / torch.tensor([64.0, 48.0, 64.0, 48.0])
        expected = library(
            content, object_queries_position_embeddings=position, encoder_attention_mask=mask,
            reference_points=shares[:, :, None], spatial_shapes=torch.tensor(SHAPES), **seen,
        )  # fmt: skip
    torch.testing.assert_close(found, expected)
