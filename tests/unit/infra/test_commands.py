"""What infra starts, our own parsers understand."""

from __future__ import annotations

from argparse import Namespace

import pytest

from jobs.cli import JOBS
from jobs.ingest_scenes import check, parser
from pipeline.command_line import parse_run
from pipeline.config import RunConfig
from pipeline.errors import ConfigError
from tests.support.infra import commands

COMMANDS = commands()


def parsed(words: list[str]) -> RunConfig | Namespace:
    """What our parsers make of a command of ours; raises ConfigError, or SystemExit where argparse does."""
    program, job, *flags = words
    assert program.rpartition("/")[2] == "kestrel"
    assert job in JOBS, f"kestrel has no job {job}"
    if job == "ingest":
        arguments = parser().parse_args(flags)
        check(arguments)
        return arguments
    config = parse_run(flags, f"kestrel {job}")
    assert isinstance(config, RunConfig)
    return config


@pytest.mark.parametrize(("where", "words"), COMMANDS)
def test_every_flag_of_an_entrypoint_is_one_of_ours(where: str, words: list[str]) -> None:
    settings = parsed(words)
    assert settings.out.startswith("s3://")
    assert settings.log == "json"
    if isinstance(settings, RunConfig):
        # On a cluster that grows, "auto" would count the nodes that are there at the start: none.
        assert isinstance(settings.cluster.workers, int)
        assert settings.cluster.wait_s >= 600, "a machine takes minutes to come"


def test_one_run_and_three_ways_of_ticking_are_looked_at() -> None:
    jobs = sorted((where, words[1]) for where, words in COMMANDS)
    assert jobs == [
        ("cronjob.yaml:RayJob", "ingest"),
        ("kestrel-ingest.service", "ingest"),
        ("raycronjob.yaml:RayCronJob", "ingest"),
        ("rayjob.yaml:RayJob", "detect"),
    ]


def test_a_misspelt_flag_would_be_found() -> None:
    with pytest.raises(ConfigError, match="unknown"):
        parsed(["kestrel", "detect", "--scene", "a.tif", "--out", "o", "--cluster.worker", "8"])
    with pytest.raises(SystemExit):
        parsed(["kestrel", "ingest", "--feed", "f.yaml", "--out", "o", "--max-scene", "8"])
