"""A limit for what a job does of a scene by itself."""

from __future__ import annotations

import threading

import pytest

from pipeline.errors import SceneUnreadable, StorageError
from pipeline.runs.in_time import in_time


def test_what_ends_in_time_is_returned_or_raised() -> None:
    assert in_time(lambda: 3, "a.tif", "planning", 60) == 3
    with pytest.raises(ZeroDivisionError):
        in_time(lambda: 1 // 0, "a.tif", "planning", 60)


def test_what_does_not_is_an_error_of_the_scene() -> None:
    """Of the file, or of the store that it comes from, and without its credentials."""
    forever = threading.Event()
    with pytest.raises(SceneUnreadable, match=r"a\.tif: planning did not end within 0\.05 s \(cluster\.deadline_s\)"):
        in_time(forever.wait, "a.tif", "planning", 0.05)
    with pytest.raises(StorageError) as caught:
        in_time(forever.wait, "https://user:secret@a.b/a.tif?token=secret", "planning", 0.05)
    assert "secret" not in str(caught.value)
    forever.set()
