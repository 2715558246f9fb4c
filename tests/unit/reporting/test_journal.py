"""What a run says: sentences for people, JSON for machines, and no secrets anywhere."""

from __future__ import annotations

import json
import logging
import warnings
from typing import Any

import pytest

from pipeline.reporting.journal import Journal, libraries_in
from pipeline.reporting.tile_failures import TileFailures
from tests.support.outcomes import SECRET, outcome


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_secret_is_ever_written(form: Any) -> None:
    lines: list[str] = []
    journal = Journal(lines.append, form)
    journal.say(f"reading {SECRET}")
    journal.emit("note", None, deep=[{"uri": SECRET}], uri=SECRET)
    TileFailures(journal, "harbour").tell(outcome(failed=1))
    assert len(lines) == (2 if form == "text" else 3), "people are spared what has no sentence"
    assert "secret" not in "".join(lines)
    assert "s3://host/scene.tif" in lines[0]


def test_a_json_line_is_one_line_that_any_reader_takes() -> None:
    lines: list[str] = []
    Journal(lines.append, "json").emit("note", "two\nlines", rate=float("nan"), left=float("inf"), seconds=1.23456)
    (line,) = lines
    assert "\n" not in line
    event = json.loads(line)
    assert (event["message"], event["rate"], event["left"], event["seconds"]) == ("two\nlines", None, None, 1.235)


def test_what_libraries_say_becomes_events_and_only_while_it_should() -> None:
    lines: list[str] = []
    handlers = list(logging.getLogger().handlers)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        with libraries_in(Journal(lines.append, "json")):
            logging.getLogger("rasterio").warning("odd file")
            warnings.warn("old habit", UserWarning, stacklevel=1)
    assert logging.getLogger().handlers == handlers
    first, second = (json.loads(line) for line in lines)
    assert (first["event"], first["logger"], first["message"]) == ("library", "rasterio", "odd file")
    assert "old habit" in second["message"]
