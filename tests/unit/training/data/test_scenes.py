"""Prepared scenes in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.training.data.scenes import load_scenes


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no prepared scenes"):
        load_scenes(tmp_path)
