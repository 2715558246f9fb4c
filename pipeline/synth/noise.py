"""Hashed randomness: numbers and smooth noise that depend on a seed and a place, never on the order of calls.

What is drawn at a place is a pure function of ``(seed, place)``, so a scene of any size can be made window by
window. The mixer is the finaliser of splitmix64 (Steele, Lea and Flood, OOPSLA 2014). numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.types import FloatArray

FloatImage = NDArray[np.float32]
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_A = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B = np.uint64(0x94D049BB133111EB)


@lru_cache(maxsize=4096)
def _seeded(seed: int) -> np.uint64:
    """The mixer's state after the seed, in plain integers because numpy's overhead would be all there is."""
    mask = 0xFFFFFFFFFFFFFFFF
    state = ((seed & mask) + int(_GAMMA)) & mask
    state = ((state ^ (state >> 30)) * int(_MIX_A)) & mask
    state = ((state ^ (state >> 27)) * int(_MIX_B)) & mask
    return np.uint64(state ^ (state >> 31))


def hashed(seed: int, *keys: object) -> NDArray[np.uint64]:
    """A well mixed uint64 for every element of the broadcast integer ``keys`` (negative ones allowed)."""
    state = np.asarray(_seeded(seed))
    with np.errstate(over="ignore"):
        for key in keys:
            state = (state ^ np.asarray(key, np.int64).astype(np.uint64)) + _GAMMA
            state = (state ^ (state >> np.uint64(30))) * _MIX_A
            state = (state ^ (state >> np.uint64(27))) * _MIX_B
            state = state ^ (state >> np.uint64(31))
    return np.asarray(state)


def uniform(seed: int, *keys: object) -> FloatArray:
    """Numbers in [0, 1), one for every element of the broadcast integer ``keys``."""
    return np.asarray((hashed(seed, *keys) >> np.uint64(11)) * 2.0**-53)


def generator(seed: int, *keys: int) -> np.random.Generator:
    """A generator of its own for the thing named by ``keys``."""
    return np.random.default_rng(int(hashed(seed, *keys)))


_TABLE = (2.0 * uniform(1, np.arange(65536)) - 1.0).astype(np.float32)


def scrambled(*keys: NDArray[np.int32]) -> FloatImage:
    """Numbers in [0, 1] for per-pixel textures: as :func:`uniform`, but coarse and ten times as fast."""
    primes = (73856093, 19349663, 83492791)
    with np.errstate(over="ignore"):
        mixed = keys[0] * np.int32(primes[0])
        for key, prime in zip(keys[1:], primes[1:], strict=False):
            mixed = mixed ^ (key * np.int32(prime))
        mixed = (mixed ^ (mixed >> 15)) * np.int32(0x2C1B3C6D)
    out: FloatImage = _TABLE[(mixed ^ (mixed >> 13)) & 0xFFFF] * np.float32(0.5) + np.float32(0.5)
    return out


def _axis_hash(seed: int, axis: int, cells: NDArray[np.int64]) -> NDArray[np.uint16]:
    return (hashed(seed, cells, axis) & np.uint64(0xFFFF)).astype(np.uint16)


def _cell(position: FloatArray, wavelength: float) -> tuple[NDArray[np.int64], FloatArray]:
    """Lattice cell of every position, and the smoothstep weight of the cell's far side."""
    scaled = position / wavelength
    cell = np.floor(scaled).astype(np.int64)
    share = scaled - cell
    return cell, share * share * (3.0 - 2.0 * share)


def noise_grid(seed: int, xs: FloatArray, ys: FloatArray, wavelength: float) -> FloatImage:
    """Smooth noise in [-1, 1] on the grid of ``xs`` (n,) and ``ys`` (m,), both ascending; returns (m, n) float32.

    A knot's value is looked up at the sum of a hash of its row and a hash of its column, which costs one addition.
    """
    ix, fx = _cell(xs, wavelength)
    iy, fy = _cell(ys, wavelength)
    columns, rows = np.arange(ix[0], ix[-1] + 2), np.arange(iy[0], iy[-1] + 2)
    knots = _TABLE[_axis_hash(seed, 1, rows)[:, None] + _axis_hash(seed, 0, columns)[None, :]]
    ix, iy = ix - ix[0], iy - iy[0]
    wx, wy = fx.astype(np.float32), fy.astype(np.float32)[:, None]
    across = knots[:, ix]
    across += (knots[:, ix + 1] - across) * wx
    out: FloatImage = across[iy]
    out += (across[iy + 1] - out) * wy
    return out


def noise_at(seed: int, x: FloatArray, y: FloatArray, wavelength: float) -> FloatArray:
    """The noise of :func:`noise_grid` at any points (same shape in, same shape out), float64."""
    ix, fx = _cell(x, wavelength)
    iy, fy = _cell(y, wavelength)
    rows = [_axis_hash(seed, 1, iy + j) for j in (0, 1)]
    columns = [_axis_hash(seed, 0, ix + i) for i in (0, 1)]
    near, far = (_TABLE[row + columns[0]] * (1 - fx) + _TABLE[row + columns[1]] * fx for row in rows)
    return np.asarray(near * (1 - fy) + far * fy)


def fractal_grid(seed: int, xs: FloatArray, ys: FloatArray, octaves: Sequence[tuple[float, float]]) -> FloatImage:
    """Sum of noises; ``octaves`` are (wavelength, amplitude) pairs in the units of ``xs``."""
    out = np.zeros((len(ys), len(xs)), np.float32)
    for k, (wavelength, amplitude) in enumerate(octaves):
        out += np.float32(amplitude) * noise_grid(seed + 7919 * k, xs, ys, wavelength)
    return out


def fractal_at(seed: int, x: FloatArray, y: FloatArray, octaves: Sequence[tuple[float, float]]) -> FloatArray:
    """The sum of :func:`fractal_grid` at any points."""
    out = np.zeros(np.broadcast(x, y).shape)
    for k, (wavelength, amplitude) in enumerate(octaves):
        out += amplitude * noise_at(seed + 7919 * k, x, y, wavelength)
    return out
