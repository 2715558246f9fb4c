"""FEED.yaml: strict, and every refusal is one sentence that names the key."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError
from pipeline.ingest.feed_file import feed_of, read_feed

GOOD = """\
name: harbours
source: {kind: folder, address: s3://bucket/in, layout: sentinel-2-safe}
filter: {since: 2023-01-01, until: 2023-12-31, bbox: [170, -20, -170, -10], cloud_cover: 20, gsd_m: [0.3, 10]}
run:
  weights: builtin:ships-s2
  detector: {batch: 8}
  output: {meta: [project=harbours]}
"""


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "feed.yaml").write_text(GOOD)
    feed = read_feed(str(tmp_path / "feed.yaml"))
    assert (feed.name, feed.source.kind, feed.source.layout) == ("harbours", "folder", "sentinel-2-safe")
    assert feed.filter.until == datetime(2023, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert feed.filter.bbox == (170, -20, -170, -10)
    assert feed.run == {"weights": "builtin:ships-s2", "detector.batch": 8, "output.meta": ["project=harbours"]}


SOURCE: dict[str, Any] = {"kind": "folder", "address": "in"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"name": "f", "source": SOURCE, "filters": {}}, "'filters'; did you mean filter?"),
        ({"name": "f", "source": {**SOURCE, "adress": "x"}}, "'source.adress'; did you mean address?"),
        ({"name": "f", "source": {**SOURCE, "layout": "sentinel2-safe"}}, "did you mean sentinel-2-safe?"),
        ({"name": "f", "source": {**SOURCE, "kind": "bucket"}}, "source.kind must be folder or list or"),
        ({"name": "f", "source": {**SOURCE, "pattern": "("}}, "no regular expression"),
        ({"name": "f", "source": {**SOURCE, "pattern": ".*"}}, "no group"),
        ({"name": "f", "source": {"kind": "folder"}}, "source.address must be given"),
        ({"name": "_f", "source": SOURCE}, "name must be given"),
        ({"name": "f"}, "source must be given"),
        ({"name": "f", "source": SOURCE, "filter": {"since": "2024-13-45"}}, "is no date"),
        ({"name": "f", "source": SOURCE, "filter": {"bbox": [0, 0, 1]}}, "filter.bbox must be a list of 4 numbers"),
        ({"name": "f", "source": SOURCE, "filter": {"bbox": [0, 9, 1, 1]}}, "is no box"),
        ({"name": "f", "source": SOURCE, "filter": {"cloud_cover": True}}, "filter.cloud_cover must be a number"),
        ({"name": "f", "source": SOURCE, "filter": {"since": "2024-02-01", "until": "2024-01-01"}}, "later than"),
        ({"name": "f", "source": SOURCE, "run": {"detektor": {"batch": 8}}}, "'run.detektor.batch'; did you mean"),
        ({"name": "f", "source": SOURCE, "run": {"detector": {"batch": 0}}}, "detector.batch must be at least 1"),
        ({"name": "f", "source": SOURCE, "run": {"detector": {"batch": "many"}}}, "batch"),
        ({"name": "f", "source": SOURCE, "run": {"scene": ["a.tif"]}}, "run.scene is set by the ingestion itself"),
        (["a"], "must hold keys and values"),
    ],
)
def test_what_is_wrong_is_named(content: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        feed_of(content)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "since: 2024-13-45\n", "\xff\xfe\x00"])
def test_no_yaml_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "feed.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match="feed file"):
        read_feed(str(tmp_path / "feed.yaml"))


def test_no_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no feed file"):
        read_feed(str(tmp_path / "none.yaml"))
