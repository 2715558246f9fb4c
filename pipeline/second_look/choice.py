"""Where to look again: the crops of one block, under a budget. numpy only.

After ViCrop-Det (arXiv 2604.26806): the decoder's cross-attention over a tile tells where the detector saw something
(intensity) and how undecided it was (Spatial Attention Entropy, SAE); a few windows of the tile are looked at again,
closer. What the paper reports is named as its own; what it leaves open is marked "ours".

Everything that is chosen here is chosen within one block, so the order in which blocks are worked off cannot change
a result. (A block that had to be bisected, because a tile in it kills workers, shares its budget out in two halves.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.config import RefineConfig
from pipeline.second_look.entropy import measured_windows, spatial_attention_entropy
from pipeline.second_look.windows import ROUNDING, Gain, Glance, Visible, Windows, candidate_windows, too_close
from pipeline.types import Crop, Window


def choose_crops(
    glances: Sequence[Glance], gain: Gain, config: RefineConfig, visible: Visible = lambda _: True
) -> list[Crop]:
    """The crops of one block: best gain first, no two of them nearly the same, all of them within the budget.

    The budget is a share of the pixels that the block's global looks cost (ours: the paper takes K per image, and
    pays for empty sea as for a port). A window that no longer fits is passed over for cheaper ones, and so is one
    without a valid pixel. ``config.gate`` is the paper's: tiles whose whole map has less SAE get no crops. (Its
    other gate, a mean attention below 0.3, depends on a normalisation it does not give; on most it skips everything.)
    """
    left = config.budget * sum(glance.tile.pixels / glance.factor**2 for glance in glances) + ROUNDING
    measured = [_windows(glance, config) for glance in glances]
    if not measured:
        return []
    gains = gain(glances, measured)
    boxes = np.concatenate([windows.boxes for windows in measured])
    entropy = np.concatenate([windows.entropy for windows in measured])
    cost = np.concatenate([windows.pixels for windows in measured])
    row = np.repeat(np.arange(len(glances)), [len(windows.boxes) for windows in measured])
    crops: list[Crop] = []
    free = (gains > 0) & ~np.array([_gated(glance, config.gate) for glance in glances])[row]
    for index in np.argsort(-gains, kind="stable"):
        if not free[index] or cost[index] > left:
            continue
        x, y, x1, y1 = (int(value) for value in boxes[index])
        window = Window(x=x, y=y, width=x1 - x, height=y1 - y)
        if not visible(window):
            continue
        left -= cost[index]
        free &= ~too_close(boxes[index], boxes)
        crops.append(Crop(window=window, row=int(row[index]), entropy=float(entropy[index])))
    return crops


def _windows(glance: Glance, config: RefineConfig) -> Windows:
    """The windows that may become crops of one tile: ``scales`` of the picture, as the zoom shows it."""
    factor = config.crop_factor(glance.factor)
    shares = [scale / glance.factor for scale in config.scales]
    return measured_windows(glance, candidate_windows(glance.tile, shares, factor), factor)


def _gated(glance: Glance, gate: float) -> bool:
    # No entropy is below 0: without a gate the whole map need not be measured.
    return gate > 0 and glance.attention is not None and spatial_attention_entropy(glance.attention) < gate
