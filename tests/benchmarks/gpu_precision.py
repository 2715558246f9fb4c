"""AP50 of the embedded detector in bfloat16 beside float32, with torch and numpy alone: a part of ``bench_gpu.py``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from pipeline.synth.harbour.harbour import Harbour
from pipeline.training.data.scenes import load_scenes
from pipeline.training.losses.boxes import rotated_overlap
from pipeline.types import Window
from tests.benchmarks.gpu_runner import DTYPES, Case, Runner, embedded

IOU, ALLOWED_AP = 0.5, 0.2
"""AP50 of bfloat16, in percent, may differ by this from float32's."""


def chips(scenes: Path | None, px: int, most: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(px, px, 3) uint8 chips, and the (N, 5) boxes with their centre inside: of prepared scenes, or of harbours."""
    if scenes is not None:
        sources = [(one.pixels, one.truth.boxes[~one.truth.ignore]) for one in load_scenes(scenes)]
    else:
        sources = [harbour(seed, px * 2) for seed in range(most)]
    count = 0
    for pixels, boxes in sources:
        for y in range(0, max(1, pixels.shape[0] - px + 1), px):
            for x in range(0, max(1, pixels.shape[1] - px + 1), px):
                inside = ((boxes[:, :2] >= (x, y)) & (boxes[:, :2] < (x + px, y + px))).all(1)
                if inside.any() and count < most:
                    count += 1
                    part = np.zeros((px, px, 3), np.uint8)
                    cut = pixels[y : y + px, x : x + px, :3]
                    part[: cut.shape[0], : cut.shape[1]] = cut
                    yield part, boxes[inside] - (x, y, 0, 0, 0)


def harbour(seed: int, px: int, gsd_m: float = 6.0) -> tuple[np.ndarray, np.ndarray]:
    """A procedural harbour of about ``px`` pixels, stretched and magnified to the detector's metres per pixel."""
    side = max(64, round(px * gsd_m / 10.0))
    made = Harbour(seed=seed, width=side, height=side)
    values = torch.from_numpy(made.render(Window(x=0, y=0, width=side, height=side)).astype(np.float32))
    low, high = np.percentile(values.reshape(-1, 3).numpy(), (1, 99), axis=0)
    scale = made.gsd_m / gsd_m
    wide = functional.interpolate(values.permute(2, 0, 1)[None], scale_factor=scale, mode="bilinear")[0]
    pixels = np.clip(255 * (wide.permute(1, 2, 0).numpy() - low) / (high - low), 1, 255).round().astype(np.uint8)
    return pixels, made.ships().boxes * np.array([scale, scale, scale, scale, 1])


def average_precision(runner: Runner, shown: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """AP50 in percent, all points, over all classes together; each object is found once, by the best score."""
    rows, total = [], 0
    for pixels, truth in shown:
        scores, boxes = (one[0].cpu() for one in runner.answer(torch.from_numpy(pixels)[None].to(runner.device)))
        best = scores.amax(-1)
        total, free = total + len(truth), np.ones(len(truth), bool)
        known = torch.from_numpy(truth).float()
        for at in best.argsort(descending=True).tolist():
            overlap = rotated_overlap(boxes[at].expand(len(truth), 5), known).numpy() * free
            hit = bool(overlap.max() >= IOU)
            free[overlap.argmax()] &= not hit
            rows.append((float(best[at]), hit))
    hits = np.array([hit for _, hit in sorted(rows, key=lambda row: -row[0])])
    right = np.cumsum(hits)
    precision = np.maximum.accumulate((right / np.arange(1, len(hits) + 1))[::-1])[::-1]
    return float(100 * precision[hits].sum() / max(1, total))


def compared(device: torch.device, scenes: Path | None, px: int, most: int) -> dict[str, Any]:
    """AP50 of the embedded detector in either arithmetic, on the same chips."""
    shown = list(chips(scenes, px, most))
    found = {}
    for dtype in DTYPES:
        case = Case(model="ships-s2", px=px, batch=1, dtype=dtype, overlapped=False)
        found[dtype] = round(average_precision(Runner(case, embedded(device), device), shown), 3)
    apart = abs(found["bfloat16"] - found["float32"])
    return {"chips": len(shown), "of": str(scenes or "harbours"), **found, "apart": round(apart, 3),
            "as_allowed": apart <= ALLOWED_AP}  # fmt: skip
