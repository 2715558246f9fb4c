"""A layer of the decoder: queries look at each other, then at the chip, then each thinks for itself.

As in Deformable DETR and RT-DETR (arXiv 2010.04159, 2304.08069), without dropout. Written here and not taken from the
transformers library for the reason that :mod:`pipeline.detectors.modules.resnet` is; names of weights are its.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from pipeline.detectors.oriented_rtdetr.deformable_attention import RotatedDeformableAttention


class PerceptronHead(nn.Module):
    """(…, inputs) → (…, outputs): linear layers with ReLU between them."""

    def __init__(self, inputs: int, hidden: int, outputs: int, layers: int) -> None:
        super().__init__()
        widths = [inputs, *[hidden] * (layers - 1), outputs]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        *hidden, last = self.layers
        for layer in hidden:
            features = functional.relu(layer(features))
        answer: Tensor = last(features)
        return answer


class SelfAttention(nn.Module):
    """Attention of the queries to each other; their positions count for who looks at whom, not for what is seen."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.head_width = width // heads
        self.k_proj, self.v_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.q_proj, self.o_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, content: Tensor, position: Tensor, mask: Tensor | None) -> Tensor:
        """(B, N, width) content and positions → (B, N, width); ``mask`` is added to the attention's logits."""
        placed = content + position
        seen = functional.scaled_dot_product_attention(
            self._heads(self.q_proj(placed)), self._heads(self.k_proj(placed)), self._heads(self.v_proj(content)), mask
        )  # fmt: skip
        mixed: Tensor = self.o_proj(seen.transpose(1, 2).flatten(2))
        return mixed

    def _heads(self, features: Tensor) -> Tensor:
        """(B, N, width) → (B, heads, N, width / heads)."""
        batch, count, _ = features.shape
        return features.view(batch, count, -1, self.head_width).transpose(1, 2)


class Perceptron(nn.Module):
    """(…, width) → (…, width) by one hidden layer."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        answer: Tensor = self.fc2(functional.relu(self.fc1(features)))
        return answer


class DecoderLayer(nn.Module):
    """(B, N, width) content of queries → the same, refined. Each part is added to what it was given, and normalised."""

    def __init__(self, width: int, heads: int, levels: int, points: int, hidden: int) -> None:
        super().__init__()
        self.self_attn = SelfAttention(width, heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.encoder_attn = RotatedDeformableAttention(width, heads, levels, points)
        self.encoder_attn_layer_norm = nn.LayerNorm(width)
        self.mlp = Perceptron(width, hidden)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, content: Tensor, position: Tensor, mask: Tensor | None, **seen: Any) -> Tensor:
        """``position`` (B, N, width); ``seen`` is what :meth:`RotatedDeformableAttention.forward` looks at, by name."""
        content = self.self_attn_layer_norm(content + self.self_attn(content, position, mask))
        # By name: who asks where the decoder looked reads these (pipeline/detectors/attention.py).
        mixed, _ = self.encoder_attn(hidden_states=content, position_embeddings=position, **seen)
        content = self.encoder_attn_layer_norm(content + mixed)
        refined: Tensor = self.final_layer_norm(content + self.mlp(content))
        return refined
