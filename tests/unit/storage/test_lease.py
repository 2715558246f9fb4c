"""A lease on a thing, given back or said to be left."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from pipeline.errors import SceneUnreadable
from pipeline.storage.lease import Lease, lease_uri


@pytest.mark.parametrize("inside", [None, SceneUnreadable("it is damaged")], ids=["all well", "an error"])
def test_a_lease_that_cannot_be_given_back_changes_nothing_that_happened_inside(
    inside: SceneUnreadable | None, tmp_path: Path
) -> None:
    """Its place turns into a folder, so that it can be neither read nor removed."""
    path = Path(lease_uri(str(tmp_path), "harbour"))
    said: list[str] = []

    def work() -> None:
        with Lease(str(tmp_path), "harbour", 30.0, said.append):
            path.unlink()
            path.mkdir()
            if inside is not None:
                raise inside

    with pytest.raises(SceneUnreadable, match="it is damaged") if inside else contextlib.nullcontext():
        work()
    assert len(said) == 1
    assert str(path) in said[0]
    assert "Is a directory" in said[0]
