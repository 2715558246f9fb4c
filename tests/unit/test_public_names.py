"""The names that pipeline/README.md promises are there, and the packages that re-export say no more and no less."""

from __future__ import annotations

import importlib
import re

import pytest

from tests.conftest import ROOT

BLOCK = re.compile(r"^```names\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def promised() -> dict[str, list[str]]:
    """Module → names, from the block ``names`` of the page: one line ``module: name, name`` each."""
    (block,) = BLOCK.findall((ROOT / "pipeline" / "README.md").read_text())
    lines = [line.partition(": ") for line in block.splitlines()]
    return {module: names.split(", ") for module, _, names in lines}


NAMES = promised()


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in NAMES.items() for name in names])
def test_a_promised_name_can_be_imported(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize("module", ["pipeline.types", "pipeline.detectors", "pipeline.raster"])
def test_a_package_that_re_exports_does_so_as_the_page_says(module: str) -> None:
    assert sorted(importlib.import_module(module).__all__) == sorted(NAMES[module])
