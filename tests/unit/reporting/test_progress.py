"""How far a run of several scenes is: a line for the run, and one for each scene at work."""

from __future__ import annotations

import io
import json
import threading
import time

import pytest
from rich.console import Console
from rich.live import Live

import pipeline.reporting.progress as progress_lines
from pipeline.reporting.journal import Journal
from pipeline.reporting.progress import SHOWN, Progress


def test_a_log_has_a_line_of_the_run_and_one_of_each_scene(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_lines, "LOG_EVERY_S", 0.0)
    lines: list[str] = []
    run = Progress(Journal(lines.append, "json"), scenes=3)
    with run.scene("bay", 4, 8.0) as bay, run.scene("cape", 2, 4.0) as cape:
        bay.tick(1, 1, 5)
        cape.tick(1, 0, 2, fresh=False)
        run.end(published=False)
        run.look_up()
    events = [json.loads(line) for line in lines]
    assert [event["event"] for event in events] == ["progress", "progress", "run_progress", "progress", "progress"]
    assert (events[0]["scene_id"], events[0]["tiles_done"], events[0]["tiles_failed"]) == ("bay", 1, 1)
    assert (events[1]["scene_id"], events[1]["left_s"]) == ("cape", None), "kept tiles say nothing of the rate"
    told = {key: events[2][key] for key in ("scenes", "scenes_ended", "scenes_not_published", "scenes_at_work")}
    assert told == {"scenes": 3, "scenes_ended": 1, "scenes_not_published": 1, "scenes_at_work": 2}
    assert events[2]["message"].startswith("1/3 scenes ended, 1 of them not published, 2 at work")


def test_several_scenes_take_turns_in_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of four has a line every four times LOG_EVERY_S: the log grows as with one."""
    now = [100.0]
    monkeypatch.setattr(progress_lines.time, "perf_counter", lambda: now[0])
    lines: list[str] = []
    run = Progress(Journal(lines.append), scenes=4)
    with run.scene("a", 99, 1.0) as a, run.scene("b", 9, 1.0), run.scene("c", 9, 1.0), run.scene("d", 9, 1.0):
        for _ in range(80):
            now[0] += 1.0
            a.tick(1, 0, 0)
        assert len(lines) == 2
    run.look_up()
    assert lines[-1].startswith("0/4 scenes ended")


def test_a_terminal_shows_the_run_and_a_few_scenes() -> None:
    shown = io.StringIO()
    run = Progress(Journal(lambda _: None), scenes=9, console=Console(file=shown, force_terminal=True, width=120))
    scenes = [run.scene(f"scene-{number}", 4, 8.0) for number in range(SHOWN + 2)]
    for one in scenes:
        one.__enter__()
    assert run.live
    until = time.monotonic() + 10
    while "more scenes" not in shown.getvalue() and time.monotonic() < until:
        time.sleep(0.05)
    for one in scenes:
        one.__exit__(None, None, None)
    assert not run.live
    text = shown.getvalue()
    assert "0/9 scenes ended" in text
    assert f"scene-{SHOWN - 1}: 0/4 tiles done" in text
    assert f"scene-{SHOWN}:" not in text
    assert "and 2 more scenes" in text


def test_the_end_of_a_scene_and_the_thread_that_renews_the_lines_do_not_wait_for_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who ends the last scene ends the lines too, while they may be being drawn."""
    stop, drawn = Live.stop, list[bool]()

    def stopped(live: Live) -> None:
        drawing = threading.Thread(target=live.refresh, daemon=True)
        drawing.start()
        drawing.join(5)
        drawn.append(not drawing.is_alive())
        if drawn[-1]:
            stop(live)

    monkeypatch.setattr(Live, "stop", stopped)
    run = Progress(Journal(lambda _: None), scenes=2, console=Console(file=io.StringIO(), force_terminal=True))
    with run.scene("a", 1, 1.0):
        pass
    assert drawn == [True]
