"""Which code and which libraries did it: for the records of runs and of trainings."""

from __future__ import annotations

import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pipeline

LIBRARIES = (
    "ray",
    "torch",
    "transformers",
    "rasterio",
    "pyproj",
    "shapely",
    "pyarrow",
    "numpy",
    "numba",
    "pyogrio",
    "onnxruntime",
)


def versions() -> dict[str, str | None]:
    """Of this project (with its git commit, where there is one), Python and the libraries that touch the result.

    As they were when this process first asked: what it has imported by then is what works.
    """
    return dict(_found())


@cache
def _found() -> dict[str, str | None]:
    found: dict[str, str | None] = {
        "kestrel": pipeline.__version__,
        "git_commit": git_commit(),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
    }
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def git_commit() -> str | None:
    """Commit of the checkout the code runs from, with ``+changes`` when it differs; None outside a checkout."""
    folder = Path(pipeline.__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return None
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+changes" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()
