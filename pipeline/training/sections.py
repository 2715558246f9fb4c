"""Sections of a file, as mappings of keys to values → frozen dataclasses. The fields are the keys: nothing else is."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, Union, get_args, get_origin, get_type_hints

from pipeline.errors import ConfigError, PipelineError
from pipeline.names import brief, listed, near_names, quoted

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", dict: "a section"}


def typed(kind: type, given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """``given`` with every value as the field of the dataclass ``kind`` wants it: lists as tuples, 1 as 1.0, '6e-4' as
    0.0006 (YAML takes it for a text). ``where`` is the name of the section, for messages.

    Raises ConfigError for a value of another kind, and for a key that is no field, with the nearest one.
    """
    hints = get_type_hints(kind)
    known = [field.name for field in fields(kind)]
    for key in given:
        if key not in known:
            raise unknown_key(key, known, where)
    return {key: _fitting(value, hints[key], f"{where}.{key}" if where else key) for key, value in given.items()}


def unknown_key(key: object, known: list[str], where: str) -> ConfigError:
    """The error that names the nearest of the ``known`` keys of the section, or all of them where none is near."""
    near = near_names(str(key), known)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there is {listed(sorted(known))}"
    place = f"{where}." if where else ""
    return ConfigError(f"{place}{brief(str(key))} is no setting; {hint}")


def make(kind: type, values: Mapping[str, Any], where: str) -> Any:
    """The dataclass of ``values``; what it says against them names the section. Raises ConfigError."""
    try:
        return kind(**values)
    except PipelineError as error:
        raise ConfigError(f"{where}: {error}") from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from error


def defaults(kind: type) -> dict[str, Any]:
    """Field → default, of the fields that have one."""
    found = {}
    for field in fields(kind):
        if field.default is not MISSING:
            found[field.name] = field.default
        elif field.default_factory is not MISSING:
            found[field.name] = field.default_factory()
    return found


def _fitting(value: Any, hint: Any, name: str) -> Any:
    """``value`` as the type ``hint`` wants it, of those that settings have. Raises ConfigError."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in parts:
            return None
        return _fitting(value, next(part for part in parts if part is not type(None)), name)
    if origin is Mapping:
        return _plain(value, dict, name)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{name} must be a list, not {quoted(value)}")
        if parts[-1] is Ellipsis:
            return tuple(_fitting(one, parts[0], name) for one in value)
        if len(value) != len(parts):
            raise ConfigError(f"{name} must be a list of {len(parts)}, not of {len(value)}")
        return tuple(_fitting(one, part, name) for one, part in zip(value, parts, strict=True))
    return _plain(value, hint, name)


def _plain(value: Any, kind: type, name: str) -> Any:
    if kind is float and not isinstance(value, bool):
        try:
            return float(value)
        except (TypeError, ValueError):
            pass
    elif isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise ConfigError(f"{name} must be {_KINDS.get(kind, kind.__name__)}, not {quoted(value)}")
