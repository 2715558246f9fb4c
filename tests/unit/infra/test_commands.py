"""What infra starts, our own parsers understand."""

from __future__ import annotations

import pytest

from jobs.cli import JOBS
from pipeline.command_line import parse_run
from pipeline.config import RunConfig
from pipeline.errors import ConfigError
from tests.support.infra import commands

COMMANDS = commands()


def parsed(words: list[str]) -> object:
    """What our parser makes of a command of ours; raises ConfigError."""
    program, job, *flags = words
    assert program.rpartition("/")[2] == "kestrel"
    assert job in JOBS, f"kestrel has no job {job}"
    assert job == "detect", f"no parser is known here for {job}"
    return parse_run(flags, "kestrel detect")


@pytest.mark.parametrize(
    ("where", "words"), [one for one in COMMANDS if one[1][1] == "detect"], ids=lambda one: str(one)
)
def test_every_flag_of_an_entrypoint_is_one_of_ours(where: str, words: list[str]) -> None:
    config = parsed(words)
    assert isinstance(config, RunConfig)
    assert config.out.startswith("s3://")
    assert config.log == "json"
    # On a cluster that grows, "auto" would count the nodes that are there at the start: none.
    assert isinstance(config.cluster.workers, int)


def test_a_misspelt_flag_would_be_found() -> None:
    with pytest.raises(ConfigError, match="unknown"):
        parsed(["kestrel", "detect", "--scene", "a.tif", "--out", "o", "--cluster.worker", "8"])
