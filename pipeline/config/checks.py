"""How settings are checked, when a value is made."""

from __future__ import annotations

from string import Formatter

from pipeline.errors import ConfigError

PLACES = ("stem", "parent", "hash")
"""What a template of scene ids may hold in braces."""


class RenamedSetting(FutureWarning):
    """A setting was given by the name, or the values, of an earlier version; it is taken as it was meant."""


def require(ok: bool, message: str) -> None:
    """Raise ConfigError with ``message`` unless ``ok``."""
    if not ok:
        raise ConfigError(message)


def check_template(template: str, scenes: int) -> None:
    """Raise ConfigError for a template of scene ids that is none, or that gives ``scenes`` scenes one id."""
    try:
        parts = [part[1:] for part in Formatter().parse(template) if part[1] is not None]
    except ValueError:  # a brace that is not closed
        parts = [("", "", "")]
    known = ", ".join(f"{{{place}}}" for place in PLACES)
    require(
        all(name in PLACES and not form and not conversion for name, form, conversion in parts),
        f"--scene-id {template!r}: only {known} may stand in braces",
    )
    require(bool(template.strip()), f"--scene-id is empty; give a name, or a template with {known}")
    require(
        bool(parts) or scenes <= 1,
        f"--scene-id {template!r} would give {scenes} scenes one name; put {known} into it, e.g. '{{parent}}_{{stem}}'",
    )
