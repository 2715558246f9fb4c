"""Under which licence a checkpoint says that it stands: the front matter of the README.md that hubs put beside it."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.names import brief

README = "README.md"
_MOST_BYTES = 65_536
_FENCE = "---"
_KEY = re.compile(r"(license|license_name|licence):\s*(.*)")
_NAMED_ELSEWHERE = "other"
"""What stands as the licence where ``license_name`` says which."""


def stated_licence(folder: Path) -> str | None:
    """The licence that ``folder/README.md`` states in its front matter, as it is written there; None where it does not.

    Read line by line, not as YAML: the file is from elsewhere, and one key of it is asked for.
    """
    try:
        with (folder / README).open(encoding="utf-8", errors="replace") as file:
            lines = file.read(_MOST_BYTES).splitlines()
    except OSError:
        return None
    if not lines or lines[0].strip() != _FENCE:
        return None
    front = lines[1:]
    ends = [number for number, line in enumerate(front) if line.strip() == _FENCE]
    found: dict[str, str] = {}
    for number, line in enumerate(front[: ends[0]] if ends else []):
        match = _KEY.fullmatch(line.rstrip())
        if match:
            found[match[1]] = _plain(match[2]) or ", ".join(_items(front[number + 1 : ends[0]]))
    licence = found.get("license") or found.get("licence")
    if licence in (None, _NAMED_ELSEWHERE):
        licence = found.get("license_name") or licence
    return brief(licence) if licence else None


def _items(lines: list[str]) -> list[str]:
    """The list that ``lines`` begin with."""
    found = []
    for line in lines:
        if not line.lstrip().startswith("- "):
            break
        found.append(_plain(line.lstrip()[2:]))
    return found


def _plain(value: str) -> str:
    """Without quotes, brackets of a list and a comment."""
    inner = value.split(" #", 1)[0].strip().strip("[]")
    return ", ".join(part for one in inner.split(",") if (part := one.strip().strip("'\"")))
