"""Which names mean paths of this machine."""

from __future__ import annotations

import pytest

from pipeline.storage.paths import is_local


@pytest.mark.parametrize(
    ("uri", "local"),
    [("out", True), ("/data/a b", True), ("file:///data", True), ("s3://b/k", False), ("memory://x", False),
     ("simplecache::https://h/f", False), ("~/out", True)],
)  # fmt: skip
def test_what_is_local(uri: str, local: bool) -> None:
    assert is_local(uri) is local
