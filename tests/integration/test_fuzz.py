"""A short hunt with damaged bytes; the long one is ``python -m tests.fuzz --cases 20000 --seed 0``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.fuzz.hunt import hunt, save_defects, table
from tests.fuzz.mutations import Case, make_case
from tests.fuzz.templates import templates
from tests.fuzz.trial import try_case


def test_damaged_files_end_in_a_listed_error_or_a_right_result(tmp_path: Path) -> None:
    tallies = hunt(420, seed=3, workers=2, deadline_s=20)
    assert not list(save_defects(tallies, 3, tmp_path)), table(tallies)
    assert sum(tally.cases for tally in tallies.values()) == 420
    for tally in tallies.values():
        assert tally.decoded >= 0.3 * tally.cases
        assert 0 < tally.ended["result"] < tally.cases, "some damage is found, some does not matter"


def test_sound_files_are_results(tmp_path: Path) -> None:
    for number, template in enumerate(templates()):
        folder = tmp_path / str(number)
        folder.mkdir()
        outcome = try_case(Case(template, template.data), folder)
        assert (outcome.opened, outcome.decoded, outcome.ended) == (True, True, "result"), template.name


def test_cases_are_the_same_every_time() -> None:
    assert [make_case(3, number).data for number in range(50)] == [make_case(3, number).data for number in range(50)]
    assert make_case(3, 0).data != make_case(4, 0).data


def test_a_crash_and_a_hang_are_charged_to_their_case(tmp_path: Path) -> None:
    """The same hunt over workers that die at case 2 and never answer at case 5."""
    script = tmp_path / "worker.py"
    script.write_text(
        "import json, os, signal, sys, time\n"
        "print('ready', flush=True)\n"
        "for number in range(int(sys.argv[1]), int(sys.argv[2])):\n"
        "    if number == 2: os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    if number == 5: time.sleep(60)\n"
        "    print(json.dumps({'case': number, 'opened': True, 'decoded': True, 'ended': 'result'}), flush=True)\n"
    )

    def start(first: int, end: int, seed: int, folder: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, str(script), str(first), str(end)], cwd=ROOT, stdout=subprocess.PIPE)

    tallies = hunt(8, seed=0, workers=1, deadline_s=1, start=start)
    assert sum(tally.crashes for tally in tallies.values()) == 1
    assert sum(tally.hangs for tally in tallies.values()) == 1
    assert [number for tally in tallies.values() for number, _ in tally.defects] == [2, 5]
    assert sum(tally.cases for tally in tallies.values()) == 8
