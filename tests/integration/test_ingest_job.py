"""``kestrel ingest`` as people and schedulers call it: what it prints, changes, and ends with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.ingest_scenes import main
from tests.support.ticks import states, write_feed, write_scene


@pytest.fixture
def arriving(tmp_path: Path) -> Path:
    folder = tmp_path / "arriving"
    folder.mkdir()
    return folder


def test_a_tick_publishes_and_tells_the_catalogue(
    tmp_path: Path, arriving: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the embedded detector and the whole way, from the feed file to the collection."""
    write_scene(arriving / "harbour.tif", 1)
    (arriving / "broken.tif").write_bytes(b"II*\0")
    (arriving / "notes.txt").write_text("no scene")
    feed, out = write_feed(tmp_path, arriving, run={"cluster.device": "cpu"}), tmp_path / "out"
    flags = ["--feed", str(feed), "--out", str(out)]
    assert main([*flags, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "detect    harbour-" in said
    assert not out.exists(), "a dry run changes nothing"
    assert main(flags) == 0
    assert states(out) == {"broken": "INVALID", "harbour": "PUBLISHED"}
    (item,) = (out / "_catalogue" / "items").glob("harbour-*.json")
    assert json.loads(item.read_text())["type"] == "Feature"
    capsys.readouterr()
    assert main([*flags, "--log", "json"]) == 0
    events = {(line := json.loads(text))["event"]: line for text in capsys.readouterr().err.splitlines()}
    assert events["ingest_status"]["ended"] == {}
    assert events["ingest_status"]["counts"]["PUBLISHED"] == 1
    assert events["ingest_ended"]["exit_code"] == 0
    assert main(["--out", str(out), "--status", "--log", "json"]) == 0
    (status,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (status["counts"]["PUBLISHED"], status["oldest_failure_s"] > 0) == (1, True)
    assert main(["--out", str(out), "--status"]) == 0
    said = capsys.readouterr().out
    assert "oldest failure" in said
    assert "1 are tried again when they change, or by --retry invalid" in said
    arriving.rename(tmp_path / "elsewhere")
    assert main(flags) == 5
    assert "there is no folder at" in capsys.readouterr().err
    assert states(out)["harbour"] == "PUBLISHED", "what cannot be listed is not gone"
    (tmp_path / "elsewhere").rename(arriving)
    (arriving / "harbour.tif").unlink()
    assert main(flags) == 0
    (result,) = out.glob("harbour-*")
    assert not list(result.glob("_work/*")), "parts of what is published do not pile up"
    assert main(["--out", str(out), "--prune", "--dry-run"]) == 0
    assert (result / "manifest.json").is_file()
    assert main(["--out", str(out), "--prune"]) == 0
    assert not result.exists()
    assert not item.exists(), "the catalogue hears of what was removed"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--feed", "f.yaml"], "no place for the results given: add --out URI"),
        (["--out", "o"], "no feed given: add --feed FEED.yaml"),
        (["--out", "o", "--status", "--prune"], "give --status or --prune, not both"),
        (["--out", "o", "--feed", "f", "--max-scenes", "0"], "--max-scenes must be more than 0"),
        (["--out", "o", "--feed", "f", "--backfill-share", "1.5"], "--backfill-share must be from 0 to 1"),
        (["--out", "o", "--prune", "--older-than", "-1"], "--older-than must be a number of days"),
        (["--out", "o", "--feed", "nosuch.yaml"], "there is no feed file at nosuch.yaml"),
        (["--out", "o", "--feed", "f", "--lease-s", "nan"], "--lease-s must be more than 0"),
    ],
)
def test_flags_that_make_no_sense_are_one_sentence(
    flags: list[str], sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(flags) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"error: {sentence}")
    assert len(said) == 2
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(("address", "out"), [("{}", "{}/out"), ("{}", "out"), (".", "{}/out"), (".", "out")])
def test_results_are_not_written_where_scenes_arrive(
    tmp_path: Path, arriving: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    address: str, out: str,
) -> None:  # fmt: skip
    """However either is written, also by way of a link."""
    monkeypatch.chdir(arriving)
    (tmp_path / "link").symlink_to(arriving)
    feed = write_feed(tmp_path, address.format(tmp_path / "link"))
    assert main(["--feed", str(feed), "--out", out.format(arriving)]) == 2
    assert "choose another --out" in capsys.readouterr().err


def test_a_submitted_job_refuses_relative_places(
    tmp_path: Path, arriving: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    monkeypatch.chdir(tmp_path)
    feed = write_feed(tmp_path, "arriving")
    assert main(["--feed", str(feed), "--out", str(tmp_path / "out")]) == 2
    assert "source.address arriving is a relative path" in capsys.readouterr().err
