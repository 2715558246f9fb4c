"""hypothesis strategies for the vocabulary of ``pipeline.types``, shared by the property tests."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from pipeline.geometry.obb import canonical_obb
from pipeline.types import Detections, FloatArray, Frame, Window


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    """Finite float64 numbers of [low, high] without the tiniest (whose squares underflow)."""
    return st.floats(low, high, allow_nan=False).map(lambda value: 0.0 if abs(value) < 1e-6 else value)


@st.composite
def obbs(
    draw: st.DrawFn,
    *,
    min_size: int = 1,
    max_size: int = 4,
    extent: float = 100.0,
    sides: tuple[float, float] = (1.0, 60.0),
) -> FloatArray:
    """Canonical boxes (N, 5) with centres in [-extent, extent] and sides within ``sides``, pixels."""
    box = st.tuples(
        numbers(-extent, extent), numbers(-extent, extent), st.floats(*sides), st.floats(*sides), numbers(-10.0, 10.0)
    )
    rows = draw(st.lists(box, min_size=min_size, max_size=max_size))
    return canonical_obb(np.array(rows, np.float64).reshape(-1, 5))


@st.composite
def obb_pairs(draw: st.DrawFn) -> tuple[FloatArray, FloatArray]:
    """Two boxes (1, 5), often overlapping, often nearly identical or sharing sides: what breaks rotated IoU."""
    a = draw(obbs(min_size=1, max_size=1))
    kind = draw(st.sampled_from(["any", "near", "turned", "beside"]))
    if kind == "any":
        return a, draw(obbs(min_size=1, max_size=1, extent=60.0))
    if kind == "near":
        size = 10.0 ** draw(st.integers(-15, 0))
        nudge = np.array(draw(st.lists(st.floats(-1, 1), min_size=5, max_size=5))) * size
        return a, canonical_obb(np.maximum(a + nudge, [[-np.inf, -np.inf, 0.1, 0.1, -np.inf]]))
    if kind == "turned":
        turn = draw(st.sampled_from([math.pi / 2, math.pi / 4, 1e-9]))
        return a, canonical_obb(a + np.array([0, 0, 0, 0, turn]))
    along = np.array([math.cos(a[0, 4]), math.sin(a[0, 4])]) * a[0, 2] * draw(st.sampled_from([0.5, 1.0, 1.5]))
    return a, a + np.concatenate([along, np.zeros(3)])


@st.composite
def detections(
    draw: st.DrawFn, *, max_size: int = 30, classes: int = 3, edges: bool = True, extent: float = 60.0
) -> Detections:
    """Detections of frame LATTICE, crowded and with equal scores now and then, in no particular order."""
    boxes = draw(obbs(min_size=0, max_size=max_size, extent=extent, sides=(2.0, 40.0)))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    copies = generator.integers(0, 3, len(boxes))
    boxes = np.concatenate([boxes, np.repeat(boxes, copies, axis=0)])
    boxes[:, :2] += generator.normal(0, draw(st.sampled_from([0.0, 1e-9, 0.5, 4.0])), (len(boxes), 2))
    n = len(boxes)
    return Detections(
        boxes,
        np.round(generator.uniform(size=n), draw(st.sampled_from([1, 2, 9]))),
        generator.integers(0, classes, n),
        Frame.LATTICE,
        edge=generator.uniform(size=n) < (0.3 if edges else -1.0),
        tile_index=generator.integers(0, 9, n),
        stage=generator.integers(0, 2, n),
        n_merged=generator.integers(1, 4, n),
        entropy=generator.uniform(size=n),
    )


@st.composite
def windows(draw: st.DrawFn, *, max_origin: int = 5000, max_side: int = 2000) -> Window:
    """Windows of at least one pixel."""
    x, y = draw(st.integers(0, max_origin)), draw(st.integers(0, max_origin))
    return Window(x=x, y=y, width=draw(st.integers(1, max_side)), height=draw(st.integers(1, max_side)))
