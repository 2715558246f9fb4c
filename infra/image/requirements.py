"""What ``pyproject.toml`` asks for, a line each, without the project itself: ``requirements.py [EXTRA ...]``.

So the image's layer of other people's packages is the same as long as nothing new is asked for.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def requirements(pyproject: str, extras: list[str]) -> list[str]:
    """Its dependencies and those of ``extras``. Raises KeyError for an extra that it does not have."""
    project = tomllib.loads(pyproject)["project"]
    return [*project["dependencies"], *(one for extra in extras for one in project["optional-dependencies"][extra])]


if __name__ == "__main__":
    print("\n".join(requirements(Path("pyproject.toml").read_text(), sys.argv[1:])))
