"""Damage, drawn from a seed: half of a scene's cases are hit among the pixels only, so that decoding sees them."""

from __future__ import annotations

import random
import re
import struct
from dataclasses import dataclass

from tests.fuzz.onnx_mutations import damaged_onnx
from tests.fuzz.templates import Template, templates

EDGES = (0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x00010000)
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
TOKENS = (b"NaN", b"Infinity", b"-1", b"0", b"1e999", b"1e308", b"-1e-320", b"9" * 400, b"null", b"true", b'"x"', b"[]",
          b"{}", b"[[[[", b"[" * 3000, b'"\\u0000"', b'"\\ud800"', b'"/vsicurl/http://127.0.0.1:9/"')  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One damaged file."""

    template: Template
    data: bytes


def make_case(seed: int, number: int) -> Case:
    """Case ``number`` of a run: the same bytes every time."""
    rng = random.Random(f"{seed}/{number}")
    known = templates()
    template = known[number % len(known)]
    database = template.file.endswith(".gpkg")
    damage = _database if database else {"scene": _scene, "model": _model}.get(template.kind, _text)
    return Case(template, damage(template, rng))


def _scene(template: Template, rng: random.Random) -> bytes:
    data = bytearray(template.data)
    pixels_only = rng.random() < 0.5
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        start, length = rng.choice(template.pixels) if pixels_only else _outside(template, rng)
        _damage(data, start, max(1, length), rng)
    if not pixels_only and rng.random() < 0.1:
        del data[rng.randrange(len(data)) :]
    return bytes(data)


def _model(template: Template, rng: random.Random) -> bytes:
    """Mostly a file that parses; sometimes its bytes, or half of it."""
    if rng.random() < 0.8:
        return damaged_onnx(template.data, rng)
    data = bytearray(template.data)
    _damage(data, 0, len(data), rng)
    if rng.random() < 0.3:
        del data[rng.randrange(len(data)) :]
    return bytes(data)


def _database(template: Template, rng: random.Random) -> bytes:
    """Mostly where something stands: the most of its pages is empty."""
    data = bytearray(template.data)
    told = [at for at, byte in enumerate(data) if byte]
    for _ in range(rng.choice((1, 1, 1, 2))):
        _damage(data, rng.choice(told), 1, rng)
    if rng.random() < 0.05:
        del data[rng.randrange(len(data)) :]
    return bytes(data)


def _outside(template: Template, rng: random.Random) -> tuple[int, int]:
    """A stretch of bytes that holds no pixels: header, directories, tags."""
    ends = [0, *(start + length for start, length in template.pixels)]
    starts = [*(start for start, _ in template.pixels), len(template.data)]
    gaps = [(end, start - end) for end, start in zip(ends, starts, strict=True) if start > end]
    return rng.choices(gaps, weights=[length for _, length in gaps])[0]


def _damage(data: bytearray, start: int, length: int, rng: random.Random) -> None:
    """Change a few bytes in ``[start, start + length)``; the file keeps its length."""
    at = min(start + rng.randrange(length), len(data) - 1)
    kind = rng.randrange(5)
    if kind == 0:
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        data[at] = rng.randrange(256)
    elif kind == 2:
        raw = struct.pack("<I", rng.choice(EDGES))[: rng.choice((1, 2, 4))]
        data[at : at + len(raw)] = raw[: len(data) - at]
    elif kind == 3:
        count = min(rng.randrange(1, 33), len(data) - at)
        data[at : at + count] = rng.randbytes(count)
    else:
        count, source = min(rng.randrange(1, 33), len(data) - at), rng.randrange(len(data))
        piece = data[source : source + count]
        data[at : at + len(piece)] = piece


def _text(template: Template, rng: random.Random) -> bytes:
    """JSON: most often a number is replaced or one of its digits, so that the parser still lets it through."""
    data = bytearray(template.data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        numbers = list(NUMBER.finditer(data))
        kind = rng.randrange(6)
        if kind <= 2 and numbers:
            span = rng.choice(numbers).span()
            data[rng.randrange(*span)] = rng.choice(b"0123456789")
        elif kind == 3 and numbers:
            span = rng.choice(numbers).span()
            data[slice(*span)] = rng.choice(TOKENS)
        elif kind == 4:
            _damage(data, 0, len(data), rng)
        else:
            at, count = rng.randrange(len(data)), rng.randrange(1, 40)
            if rng.random() < 0.5:
                del data[at : at + count]
            else:
                data[at:at] = data[at : at + count]
        data = data or bytearray(b" ")
    return bytes(data)
