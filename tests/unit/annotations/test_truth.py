"""A truth file as ``make_scene`` writes it: boxes in pixels beside the polygons."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.annotations.truth import read_truth
from pipeline.errors import ConfigError
from tests.support.annotated import truth_file
from tests.support.judging import ship


class TestMadeScenes:
    """A truth file as ``make_scene`` writes it: boxes in pixels beside the polygons."""

    def test_the_scene_is_named_as_its_file(self, tmp_path: Path) -> None:
        read = read_truth(truth_file(tmp_path, [ship(0)]))
        assert list(read.scenes) == ["harbour"]
        assert read.classes == ("ship",)
        assert len(read_truth(truth_file(tmp_path, [])).scenes["harbour"]) == 0

    def test_other_files_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "x.geojson").write_text(json.dumps({"features": [{"properties": {}}]}))
        with pytest.raises(ConfigError, match="cannot be read as the truth of a made scene"):
            read_truth(tmp_path / "x.geojson")
