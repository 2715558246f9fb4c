"""The wheel that is built of this tree is all of it: whoever installs it can do what a checkout can."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = ("pipeline", "jobs")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a wheel is made of, copied: building leaves files beside it, and finds there what an earlier one left."""
    folder = tmp_path_factory.mktemp("wheel") / "source"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, folder / name)
    (folder / "pipeline/detectors/weights/ships-s2/README.md").write_text("a model card for people")
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    """Built without a network, with this environment's setuptools."""
    out = source.parent / "out"
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(out)]
    done = subprocess.run([*command, "."], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("kestrel_aerial-*.whl")
    return path


def files_of(source: Path, *patterns: str) -> dict[str, bytes]:
    """Name in the tree → content."""
    paths = [path for name in PACKAGES for pattern in patterns for path in (source / name).rglob(pattern)]
    return {path.relative_to(source).as_posix(): path.read_bytes() for path in paths if path.is_file()}


def test_a_wheel_holds_every_module_and_every_file_of_weights_and_recipes(source: Path, wheel: Path) -> None:
    """Byte for byte, and nothing else: the embedded detector, and the card that people read, too."""
    expected = files_of(source, "*.py", "weights/**/*", "recipes/**/*")
    assert any(name.endswith("recipes/plans/parts.yaml") for name in expected)
    assert any(name.endswith("ships-s2/model.safetensors") for name in expected)
    with zipfile.ZipFile(wheel) as archive:
        held = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    assert held.keys() == expected.keys()
    assert held == expected


@pytest.mark.parametrize("name", PACKAGES)
def test_every_folder_of_modules_is_a_package(name: str) -> None:
    """One without ``__init__.py`` works in a checkout, and is missing from every wheel."""
    folders = {path.parent for path in (ROOT / name).rglob("*.py")}
    assert [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()] == []
