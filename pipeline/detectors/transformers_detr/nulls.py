"""Settings that older versions of the library wrote as null, where today's version wants a value.

Until 2025 the library checked nothing: ``"dilation": null`` stood for the setting's default, and so it is written in
published files. Today a setting of type bool is refused when it is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_args

from transformers.models.auto.configuration_auto import CONFIG_MAPPING


def without_nulls(config: Mapping[str, Any], config_class: type) -> dict[str, Any]:
    """``config`` without the keys that are null where ``config_class`` takes no null: its default stands for them.

    Null stays where the class knows it as a value. Configurations inside (of the backbone) are treated alike.
    """
    strict = _no_null(config_class)
    kept = {key: value for key, value in config.items() if value is not None or key not in strict}
    for key, value in kept.items():
        inner = _class_of(value)
        if inner is not None:
            kept[key] = without_nulls(value, inner)
    return kept


def _no_null(config_class: type) -> set[str]:
    """The settings of a configuration that null is no value of."""
    if not is_dataclass(config_class):
        return set()
    return {field.name for field in fields(config_class) if type(None) not in (field.type, *get_args(field.type))}


def _class_of(value: object) -> type | None:
    """The class of a configuration inside a configuration, which names its own model type."""
    kind = value.get("model_type") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        return None
    found: type = CONFIG_MAPPING[kind]
    return found
