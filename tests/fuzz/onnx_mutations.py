"""Damage to an ONNX file as somebody would do it who knows the format: a file that parses, with fields that lie.

Bytes changed at random hardly ever leave protocol buffers that can be read; so fields are found by their descriptors,
and what they hold is exchanged for edges, for what stands elsewhere in the file, repeated, or taken away.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from typing import Any

import onnx

NUMBERS = (0, 1, 2, 3, 7, 8, 16, 64, 255, -1, -2, -8, 65536, 1 << 20, 1 << 31, (1 << 31) - 1, -(1 << 31), 1 << 40,
           (1 << 62) + 1, (1 << 63) - 1, -(1 << 63))  # fmt: skip
REALS = (0.0, -1.0, 1e-30, 1e30, float("inf"), float("-inf"), float("nan"))
TEXTS = ("", "x" * 5000, "../../etc/passwd", "\u202e", "Loop", "If", "Reshape", "Expand", "ConstantOfShape", "Concat",
         "Gather", "Pad", "Resize", "TopK", "NonZero", "Where", "Cast", "Tile", "MaxPool", "Conv", "com.microsoft",
         "mmdeploy", "output0", "images")  # fmt: skip
TELLING = ("raw_data", "i", "f", "ints", "floats", "dim_value", "dim_param", "value", "version")
"""Fields whose change is seen when the network runs, not when its file is checked."""


def damaged_onnx(data: bytes, rng: random.Random) -> bytes:
    """The file with one to four fields changed, most often such that leave a valid graph: constants and attributes."""
    model = onnx.ModelProto.FromString(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        every = list(_fields(model))
        telling = [one for one in every if one[1].name in TELLING]
        _change(*rng.choice(telling if telling and rng.random() < 0.8 else every), rng)
    return bytes(model.SerializeToString())


def _fields(message: Any) -> Iterator[tuple[Any, Any]]:
    """Every (message, field) that is set, down to the leaves."""
    for field, value in message.ListFields():
        yield message, field
        if field.message_type is not None:
            for inner in value if _repeats(field) else [value]:
                yield from _fields(inner)


def _repeats(field: Any) -> bool:
    return bool(field.is_repeated)


def _change(message: Any, field: Any, rng: random.Random) -> None:
    if not _repeats(field):
        if field.message_type is not None or rng.random() < 0.1:
            message.ClearField(field.name)
        else:
            setattr(message, field.name, _other(getattr(message, field.name), field, rng))
        return
    values = getattr(message, field.name)
    at, kind = rng.randrange(len(values)), rng.randrange(4)
    if kind == 0:
        del values[at]
    elif field.message_type is not None:
        other = rng.randrange(len(values))
        if kind == 1:
            values[at].CopyFrom(values[other])
        else:
            values.add().CopyFrom(values[other])
    elif kind == 1:
        values.append(_other(values[at], field, rng))
    else:
        values[at] = _other(values[at], field, rng)


def _other(value: Any, field: Any, rng: random.Random) -> Any:
    """Another value of the type of the field, or the same where the type takes none of ours."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        if field.enum_type is not None:
            return rng.choice([one.number for one in field.enum_type.values])
        number = rng.choice([*NUMBERS, value + 1, value - 1, value * 2])
        return number if -(1 << 31) <= number < (1 << 31) or "64" in _type(field) else rng.randrange(30)
    if isinstance(value, float):
        return rng.choice(REALS)
    if isinstance(value, bytes):
        at = rng.randrange(0, len(value), 4) if len(value) >= 4 else 0
        edge = struct.pack("<q", rng.choice(NUMBERS)) if rng.random() < 0.7 else struct.pack("<f", rng.choice(REALS))
        kept = (value[:at] + edge + value[at + len(edge) :])[: len(value)]
        return kept if rng.random() < 0.9 else rng.choice((value[:at], value * 3))
    return rng.choice(TEXTS)


def _type(field: Any) -> str:
    return "int64" if field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64) else "int32"
