"""What an oriented RT-DETR's decoder did inside one forward pass, with gradients: for losses that ask for more than its
answers. Forward hooks write it down and are gone afterwards, so a network that nobody asks does nothing more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pipeline.detectors.cross_attention import with_positions
from pipeline.detectors.oriented_rtdetr.deformable_attention import RotatedDeformableAttention, decoder_of
from pipeline.detectors.oriented_rtdetr.network import BOX_HEAD_LAYERS, OrientedRTDetr


@dataclass(frozen=True, slots=True, eq=False)
class LayerRecord:
    """Of one decoder layer; N queries of B chips, the first ones the denoising queries where there are any."""

    offsets: Tensor
    """(B, N, heads, levels, points, 2) where it sampled, along the reference box's own axes from its centre, in units
    of its half sides: inside the rotated box where both are in [-1, 1]."""
    weights: Tensor
    """(B, N, heads, levels, points) attention, summing to 1 over levels and points."""
    class_features: Tensor
    """(B, N, width) what the layer's score head sees: it is linear and has no hidden layer of its own."""
    box_features: Tensor
    """(B, N, width) the last hidden layer of the box head."""

    def after(self, count: int) -> LayerRecord:
        """The same without the first ``count`` queries."""
        return LayerRecord(
            self.offsets[:, count:],
            self.weights[:, count:],
            self.class_features[:, count:],
            self.box_features[:, count:],
        )


@dataclass(slots=True, eq=False)
class DecoderRecord:
    """Filled by the forward pass inside :func:`record_decoder`."""

    sampled: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """Offsets and weights, layer by layer."""
    class_features: list[Tensor] = field(default_factory=list)
    box_features: list[Tensor] = field(default_factory=list)

    @property
    def layers(self) -> tuple[LayerRecord, ...]:
        """One a decoder layer, the first first."""
        parts = zip(self.sampled, self.class_features, self.box_features, strict=True)
        return tuple(LayerRecord(offsets, weights, scored, boxed) for (offsets, weights), scored, boxed in parts)


@contextmanager
def record_decoder(network: OrientedRTDetr) -> Iterator[DecoderRecord]:
    """Record the one forward pass inside; the network's answers do not change."""
    record = DecoderRecord()
    handles: list[RemovableHandle] = []
    try:
        attentions = decoder_of(network).layers
        handles.extend(layer.register_forward_hook(_sampling(record), with_kwargs=True) for layer in attentions)
        for score, box in zip(network.score_heads, network.box_heads, strict=True):
            handles.append(score.register_forward_hook(_input_to(record.class_features)))
            handles.append(_last_layer(box).register_forward_hook(_input_to(record.box_features)))
        yield record
    finally:
        for handle in handles:
            handle.remove()


def _last_layer(box_head: nn.Module) -> nn.Module:
    return box_head.get_submodule(f"layers.{BOX_HEAD_LAYERS - 1}")


def _sampling(record: DecoderRecord) -> Any:
    def hook(
        module: RotatedDeformableAttention, _: tuple[Any, ...], inputs: dict[str, Any], output: tuple[Tensor, Tensor]
    ) -> None:
        offsets, weights = 2 * module.box_offsets(with_positions(inputs)), output[1]
        by_level = (*weights.shape[:3], module.n_levels, module.n_points)
        record.sampled.append((offsets.view(*by_level, 2), weights.view(by_level)))

    return hook


def _input_to(features: list[Tensor]) -> Any:
    def hook(_module: nn.Module, inputs: tuple[Tensor], _output: Tensor) -> None:
        features.append(inputs[0])

    return hook
