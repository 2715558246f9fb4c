"""Resampling: one answer per lattice pixel, whatever window asks for it; and the right answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.pixels.resampling import axis_taps, is_identity, resample, source_window
from pipeline.types import Lattice, Window
from tests.support.scenes import picture

HEIGHT, WIDTH = 90, 120
SCALES = st.sampled_from([0.37, 0.5, 0.8, 0.999, 1.001, 1.3, 1.5, 2.0, 2.7, 4.0])
DTYPES = st.sampled_from(["uint8", "uint16", "int16", "float32"])


def lattice_of(scale_x: float, scale_y: float) -> Lattice:
    """The lattice that covers the test scene; its last pixels may hang over the edge."""
    width, height = int(np.ceil(WIDTH / scale_x)), int(np.ceil(HEIGHT / scale_y))
    return Lattice(width=width, height=height, scale_x=scale_x, scale_y=scale_y, gsd_m=None)


def cut(pixels: np.ndarray, valid: np.ndarray, window: Window, lattice: Lattice) -> tuple[np.ndarray, np.ndarray]:
    """Resample ``window`` from no more than the source pixels it asks for."""
    source = source_window(window, lattice, WIDTH, HEIGHT)
    area = (slice(source.y, source.y1), slice(source.x, source.x1))
    return resample(pixels[area], valid[area], source, window, lattice, WIDTH, HEIGHT)


@st.composite
def windows(draw: st.DrawFn, lattice: Lattice) -> Window:
    x, y = draw(st.integers(0, lattice.width - 1)), draw(st.integers(0, lattice.height - 1))
    width, height = draw(st.integers(1, lattice.width - x)), draw(st.integers(1, lattice.height - y))
    return Window(x=x, y=y, width=width, height=height)


@settings(max_examples=60)
@given(data=st.data(), scale_x=SCALES, scale_y=SCALES, dtype=DTYPES, holes=st.sampled_from([0.0, 0.02, 0.5]))
def test_any_window_has_the_bits_of_the_whole(
    data: st.DataObject, scale_x: float, scale_y: float, dtype: str, holes: float
) -> None:
    """Chips of overlapping tiles are equal where they overlap: each equals the same part of one big chip.

    Also with holes: a window without one takes another path through the code and must give the same bits.
    """
    pixels = picture(HEIGHT, WIDTH, 2, dtype)
    valid = np.random.default_rng(7).random((HEIGHT, WIDTH)) >= holes
    valid[: HEIGHT // 2] = True
    lattice = lattice_of(scale_x, scale_y)
    whole, whole_valid = cut(pixels, valid, lattice.window, lattice)
    window = data.draw(windows(lattice))
    part, part_valid = cut(pixels, valid, window, lattice)
    area = (slice(window.y, window.y1), slice(window.x, window.x1))
    assert part.tobytes() == whole[area].tobytes()
    assert (part_valid == whole_valid[area]).all()


@settings(max_examples=40)
@given(data=st.data(), scale_x=SCALES, scale_y=SCALES)
def test_pixels_outside_the_source_window_do_not_matter(data: st.DataObject, scale_x: float, scale_y: float) -> None:
    """``source_window`` is enough: everything else may be anything, NaN included."""
    lattice = lattice_of(scale_x, scale_y)
    window = data.draw(windows(lattice))
    source = source_window(window, lattice, WIDTH, HEIGHT)
    poisoned = np.full((HEIGHT, WIDTH, 1), np.nan, np.float32)
    clean = picture(HEIGHT, WIDTH, 1, "float32")
    area = (slice(source.y, source.y1), slice(source.x, source.x1))
    poisoned[area] = clean[area]
    everything = Window(x=0, y=0, width=WIDTH, height=HEIGHT)
    valid = np.ones((HEIGHT, WIDTH), np.bool_)
    got, _ = resample(poisoned, valid, everything, window, lattice, WIDTH, HEIGHT)
    assert got.tobytes() == cut(clean, valid, window, lattice)[0].tobytes()


@settings(max_examples=40)
@given(scale_x=SCALES, scale_y=SCALES, seed=st.integers(0, 99))
def test_invalid_pixels_carry_no_weight(scale_x: float, scale_y: float, seed: int) -> None:
    """A constant scene stays constant around holes of NaN, and a lattice pixel is valid iff half its weight is."""
    valid = np.random.default_rng(seed).random((HEIGHT, WIDTH)) > 0.4
    pixels = np.where(valid[..., None], 1000.0, np.nan).astype(np.float32)
    lattice = lattice_of(scale_x, scale_y)
    out, keep = cut(pixels, valid, lattice.window, lattice)
    share, _ = cut(valid[..., None].astype(np.float32), np.ones_like(valid), lattice.window, lattice)
    np.testing.assert_allclose(out[keep], 1000.0, rtol=1e-5)
    assert (out[~keep] == 0).all()
    clear = np.abs(share[..., 0] - 0.5) > 1e-5
    assert (keep == (share[..., 0] >= 0.5))[clear].all()


@settings(max_examples=60)
@given(scale=st.floats(0.2, 8), start=st.integers(0, 500), count=st.integers(1, 50))
def test_taps_are_centred_and_sum_to_one(scale: float, start: int, count: int) -> None:
    """The weighted mean of the taps is the lattice pixel's centre, so nothing shifts by half a pixel."""
    taps = axis_taps(start, count, scale, 10_000)
    assert taps.weight.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    centre = (np.arange(start, start + count) + 0.5) * scale
    inside = taps.index[:, 0] > 0
    mean = (taps.weight * (taps.index + 0.5)).sum(axis=1)
    np.testing.assert_allclose(mean[inside], centre[inside], atol=max(0.3, 0.2 * scale))


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_shrinking_by_a_whole_factor_does_not_shift(factor: int) -> None:
    """A linear ramp stays the same ramp, sampled at the new centres."""
    ramp = np.broadcast_to(np.arange(WIDTH, dtype=np.float32) + 0.5, (HEIGHT, WIDTH))[..., None]
    lattice = lattice_of(factor, factor)
    out, _ = cut(ramp, np.ones((HEIGHT, WIDTH), np.bool_), lattice.window, lattice)
    centres = (np.arange(lattice.width) + 0.5) * factor
    np.testing.assert_allclose(out[3, 2:-2, 0], centres[2:-2], rtol=1e-5)


@pytest.mark.parametrize(("scale_x", "scale_y"), [(1.5, 1.5), (2.4, 2.4), (3.75, 1.2), (0.6, 0.6), (0.5, 2.5)])
def test_same_answer_as_pillow(scale_x: float, scale_y: float) -> None:
    """Pillow's BILINEAR is the same filter by other people; only edges differ (it renormalises, we replicate)."""
    columns, rows = int(WIDTH / scale_x), int(HEIGHT / scale_y)
    lattice = Lattice(width=columns, height=rows, scale_x=scale_x, scale_y=scale_y, gsd_m=None)
    pixels = picture(HEIGHT, WIDTH, 1, "uint16").astype(np.float32)
    mine, _ = cut(pixels, np.ones((HEIGHT, WIDTH), np.bool_), lattice.window, lattice)
    box = (0, 0, columns * scale_x, rows * scale_y)
    theirs = Image.fromarray(pixels[..., 0]).resize((columns, rows), Image.Resampling.BILINEAR, box=box)
    np.testing.assert_allclose(mine[4:-4, 4:-4, 0], np.asarray(theirs)[4:-4, 4:-4], rtol=2e-4)


def test_the_identity_lattice_is_recognised() -> None:
    lattice = Lattice(width=WIDTH, height=HEIGHT, scale_x=1.0, scale_y=1.0, gsd_m=None)
    assert is_identity(lattice)
    window = Window(x=5, y=6, width=7, height=8)
    assert source_window(window, lattice, WIDTH, HEIGHT) == window
    assert not is_identity(lattice_of(1.0, 2.0))
