"""The units for one machine without Kubernetes."""

from __future__ import annotations

import configparser
import re

from tests.support.infra import SERVICE

SECONDS = {"s": 1, "min": 60, "h": 3600}


def unit(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(re.sub(r"^Environment=", "Environment.=", text.replace("\\\n", " "), flags=re.MULTILINE))
    return parser


def seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)(\w+)", text)
    assert found
    return float(found[1]) * SECONDS[found[2]]


def test_a_tick_has_time_to_end_and_to_be_told_to() -> None:
    service = unit(SERVICE.read_text())["Service"]
    assert service["Type"] == "oneshot"  # else the timer would start the next while one is at work
    minutes = re.search(r"--max-minutes (\d+)", service["ExecStart"])
    assert minutes
    assert seconds(service["TimeoutStartSec"]) > 60 * float(minutes[1])
    assert seconds(service["TimeoutStopSec"]) > 20, "a job that is told to stop takes up to 20 s"
    assert service["User"] != "root"


def test_the_timer_starts_this_service_hourly_and_once_after_an_outage() -> None:
    timer_file = SERVICE.with_suffix(".timer")
    timer = unit(timer_file.read_text())
    assert timer_file.stem == SERVICE.stem
    assert timer["Timer"]["OnCalendar"] == "*-*-* *:07:00"
    assert timer["Timer"]["Persistent"] == "true"
    assert timer["Install"]["WantedBy"] == "timers.target"
