"""Anti-aliased oriented shapes painted on a patch of ground whose pixel centres are known in metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.synth.noise import FloatImage
from pipeline.types import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """Colours being painted: pixel centres in metres, and (H, W, 3) reflectance in thousands, changed in place."""

    xs: FloatArray
    ys: FloatArray
    gsd_m: float
    colour: FloatImage

    def patch(self, box: FloatArray, margin: float) -> tuple[slice, slice, FloatImage, FloatImage] | None:
        """Rows and columns around an oriented box, and the box's own coordinates (u along it) of their centres."""
        cos, sin = abs(np.cos(box[4])), abs(np.sin(box[4]))
        reach_x = (box[2] * cos + box[3] * sin) / 2 + margin
        reach_y = (box[2] * sin + box[3] * cos) / 2 + margin
        rows = slice(*np.searchsorted(self.ys, (box[1] - reach_y, box[1] + reach_y)))
        columns = slice(*np.searchsorted(self.xs, (box[0] - reach_x, box[0] + reach_x)))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return None
        dx = (self.xs[columns] - box[0]).astype(np.float32)[None, :]
        dy = (self.ys[rows] - box[1]).astype(np.float32)[:, None]
        cos, sin = np.float32(np.cos(box[4])), np.float32(np.sin(box[4]))
        return rows, columns, dx * cos + dy * sin, dy * cos - dx * sin

    def lay(self, rows: slice, columns: slice, colour: FloatImage | FloatArray, alpha: FloatImage) -> None:
        """Blend ``colour`` over the patch."""
        under = self.colour[rows, columns]
        under += (np.asarray(colour, np.float32) - under) * alpha[..., None]

    def soft(self, distance: FloatImage, thickness: float = np.inf) -> FloatImage:
        """Share of a pixel that is covered, from the signed distance (metres, positive inside) to one edge."""
        out: FloatImage = np.clip(
            distance / np.float32(self.gsd_m) + np.float32(0.5), 0, min(1.0, thickness / self.gsd_m)
        )
        return out

    def rectangle(self, box: FloatArray) -> tuple[slice, slice, FloatImage] | None:
        """Patch and coverage of an oriented rectangle."""
        patch = self.patch(box, self.gsd_m)
        if patch is None:
            return None
        rows, columns, u, v = patch
        along = self.soft(np.float32(box[2] / 2) - np.abs(u), box[2])
        return rows, columns, along * self.soft(np.float32(box[3] / 2) - np.abs(v), box[3])
