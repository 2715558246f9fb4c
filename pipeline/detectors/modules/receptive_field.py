"""A convolution that chooses where it looks: the receptive field adapter of MOD (arXiv 2112.08902).

There it is one modulated deformable 3 × 3 convolution (Zhu et al., "Deformable ConvNets v2", CVPR 2019) in each tower
of a dense head, so that each task bends its own receptive field. Written on ``grid_sample``, which every build of torch
has.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 3
TAPS = SIDE * SIDE


class ReceptiveFieldAdapter(nn.Module):
    """(B, C, H, W) → (B, out, H, W): each of the nine taps is moved by a learnt offset and weighed by a learnt mask.

    Offsets start at 0 and masks at 1, so a fresh one is the plain convolution of its ``weight`` with zero padding.
    DCNv2 takes the mask as sigmoid(m), which is 0.5 at m = 0 and halves the convolution; ours is 2 sigmoid(m), in
    (0, 2). (MOD's code starts the offsets' convolution from Kaiming's noise; starting from 0 is DCNv2's own way.)
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, channels, SIDE, SIDE))
        self.offsets = nn.Conv2d(channels, 3 * TAPS, SIDE, padding=1)
        self.initialise()

    def initialise(self) -> None:
        """Kaiming's normal weights, as the plain convolutions beside it; offsets 0, masks 1."""
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.offsets.weight)
        if self.offsets.bias is not None:
            nn.init.zeros_(self.offsets.bias)

    def forward(self, features: Tensor) -> Tensor:
        """See the class. Places, and the sum over taps, are worked out in float32, also under autocast.

        Tap by tap: all nine at once would need nine times the memory of ``features``, and take longer.
        """
        batch, _, height, width = features.shape
        bent, source = self.offsets(features).float(), features.float()
        grid = sampling_grid(bent[:, : 2 * TAPS].view(batch, TAPS, 2, height, width))
        mask = 2 * bent[:, 2 * TAPS :].sigmoid()
        answer = source.new_zeros(())
        for tap in range(TAPS):
            taken = functional.grid_sample(source, grid[:, tap], padding_mode="zeros", align_corners=False)
            weight = self.weight[:, :, tap // SIDE, tap % SIDE, None, None]
            answer = answer + functional.conv2d(taken * mask[:, tap, None], weight).float()
        return answer


def sampling_grid(shifts: Tensor) -> Tensor:
    """(B, 9, 2, H, W) shifts (y, x) of the taps, cells → (B, 9, H, W, 2) places (x, y) for ``grid_sample``.

    Taps go row by row through the 3 × 3 neighbourhood, as a convolution's weights do; cell centres are at odd multiples
    of 1 / W and 1 / H around 0 (``align_corners=False``).
    """
    height, width = shifts.shape[-2:]
    step = torch.arange(TAPS, device=shifts.device)
    rows = torch.arange(height, device=shifts.device) + (step // SIDE - 1)[:, None]
    columns = torch.arange(width, device=shifts.device) + (step % SIDE - 1)[:, None]
    y = (rows[:, :, None] + shifts[:, :, 0] + 0.5) * (2 / height) - 1
    x = (columns[:, None, :] + shifts[:, :, 1] + 0.5) * (2 / width) - 1
    return torch.stack([x, y], -1)
