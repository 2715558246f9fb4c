"""The image's recipe: what linters say, what it is made of, and that it does not speak against the reader."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import rasterio
import yamllint.config
import yamllint.linter

from pipeline.config import RasterConfig
from pipeline.config.environment import foreign
from pipeline.raster.gdal import gdal_options
from tests.support.infra import DOCKERFILE, INFRA, ROOT, constrained, image_environment, script

BIN = Path(sys.executable).parent
requirements = script(INFRA / "image" / "requirements.py").requirements

LINES = "{extends: default, rules: {line-length: {max: 120}, document-start: disable, braces: {max-spaces-inside: 0}, comments: {min-spaces-from-content: 1}, truthy: {check-keys: false}}}"  # noqa: E501


def hadolint(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BIN / "hadolint", "-"], input=text, capture_output=True, text=True)


def test_hadolint_has_nothing_to_say() -> None:
    done = hadolint(DOCKERFILE.read_text())
    assert done.returncode == 0, done.stdout + done.stderr
    spoilt = DOCKERFILE.read_text().replace("ENTRYPOINT [", "RUN cd /opt\nENTRYPOINT [")
    assert "DL3003" in hadolint(spoilt).stdout


@pytest.mark.parametrize("path", sorted(INFRA.rglob("*.yaml")), ids=lambda path: path.name)
def test_yaml_is_tidy_and_says_nothing_twice(path: Path) -> None:
    problems = list(yamllint.linter.run(path.read_text(), yamllint.config.YamlLintConfig(LINES)))
    assert not problems, [str(one) for one in problems]


def test_the_base_is_named_by_digest_and_nobody_is_root() -> None:
    text = DOCKERFILE.read_text()
    assert re.search(r"^ARG BASE=\S+/python:3\.11-slim-bookworm@sha256:[0-9a-f]{64}$", text, re.MULTILINE)
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    for target in ("gpu", "cpu"):
        [stage] = [one for one in stages if one.startswith(f"base AS {target}\n")]
        assert stage.rstrip().endswith("USER 1000:1000")
        assert f"--from=build-{target} " in stage
    [base] = [one for one in stages if one.startswith("${BASE} AS base\n")]
    assert not re.search(r"\b(gcc|g\+\+|build-essential|make|git)\b", base), "no compiler where it runs"


def test_every_file_that_the_image_copies_is_let_in() -> None:
    """``.dockerignore`` shuts out all but a list."""
    ignored, *let_in = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in ("#", "")]
    assert ignored == "*"
    allowed = [line[1:] for line in let_in if line.startswith("!")]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    assert len(names) >= 6
    for name in names:
        assert any(name == one or name.startswith(f"{one}/") for one in allowed), f"{name} does not reach the build"
        assert (ROOT / name).exists()


def test_extras_of_the_image_are_extras_of_the_project_and_pinned() -> None:
    text = DOCKERFILE.read_text()
    found = re.search(r'^ARG EXTRAS="(.*)"$', text, re.MULTILINE)
    assert found
    lines = requirements((ROOT / "pyproject.toml").read_text(), found[1].split())
    assert any(line.startswith("ray[default]") for line in lines)
    assert any(line.startswith("s3fs") for line in lines)
    assert not any("kestrel" in line for line in lines)
    for line in lines:
        name = re.split(r"[\[><=~!;\s]", line)[0]
        assert constrained(name), f"{name} has no version in infra/constraints.txt"
    with pytest.raises(KeyError):
        requirements((ROOT / "pyproject.toml").read_text(), ["s4"])


def test_the_environment_of_the_image_does_not_speak_against_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the reader decides for each scene, it decides alone; what it would ignore with a warning is not set; and
    GDAL knows the rest by name."""
    environment = image_environment()
    ours = {name for remote in (False, True) for name in gdal_options(RasterConfig(), remote)}
    assert "GDAL_CACHEMAX" in ours
    assert "GDAL_HTTP_MULTIPLEX" in ours
    assert not ours & environment.keys()
    for name in os.environ:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert foreign() == ()
    [library] = (Path(rasterio.__file__).parent.parent / "rasterio.libs").glob("libgdal*")
    known = library.read_bytes()
    for name in environment.keys() - {"PATH", "PYTHONUNBUFFERED", "RAY_USAGE_STATS_ENABLED"}:
        assert name.encode() in known, f"GDAL does not know {name}"
