"""How settings are checked, when a value is made."""

from __future__ import annotations

from pipeline.errors import ConfigError


def require(ok: bool, message: str) -> None:
    """Raise ConfigError with ``message`` unless ``ok``."""
    if not ok:
        raise ConfigError(message)
