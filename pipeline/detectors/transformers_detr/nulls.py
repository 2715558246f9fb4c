"""Settings that older versions of the library wrote as null, where today's version wants a value.

Until 2025 the library checked nothing: ``"dilation": null`` stood for the setting's default, and so it is written in
published files. Today a setting of type bool is refused when it is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING


def without_nulls(config: Mapping[str, Any], config_class: type) -> dict[str, Any]:
    """``config`` without the keys that are null where ``config_class`` has a default: it stands for them.

    Null stays where it is the class's own default. Configurations inside (of the backbone) are treated alike.
    """
    strict = _no_null(config_class)
    kept = {key: value for key, value in config.items() if value is not None or key not in strict}
    for key, value in kept.items():
        inner = _class_of(value)
        if inner is not None:
            kept[key] = without_nulls(value, inner)
    return kept


def _no_null(config_class: type) -> set[str]:
    """The settings of a configuration whose default is a value; ``num_labels`` is one, though no field."""
    if not is_dataclass(config_class):
        return set()
    return {"num_labels", *(field.name for field in fields(config_class) if field.default is not None)}


def _class_of(value: object) -> type | None:
    """The class of a configuration inside a configuration, which names its own model type."""
    kind = value.get("model_type") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        return None
    found: type = CONFIG_MAPPING[kind]
    return found
