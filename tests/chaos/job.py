"""``kestrel detect`` with a detector that keeps a diary and may be faulty; a process that the drill can kill.

``python -m tests.chaos.job --diary FILE [--fault KIND=JSON ...] -- FLAGS OF DETECT_SCENE``
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.command_line import parse_run
from pipeline.config import RunConfig
from pipeline.errors import PipelineError
from pipeline.reporting.journal import Journal
from pipeline.types import Chip, Window
from tests.support import faults
from tests.support.faults import Faulty, Wrapped


@dataclass
class Diary(Wrapped):
    """Writes a line for every chip before it is looked at: node, process, window."""

    path: Path = Path()

    def before(self, chips: Sequence[Chip]) -> None:
        node = os.environ.get("RAY_NODE_ID") or _node()
        lines = [f"{node} {os.getpid()} {c.window.x} {c.window.y} {c.window.width} {c.window.height}\n" for c in chips]
        with self.path.open("a") as diary:
            diary.write("".join(lines))  # one write, and short enough to be one piece


def _node() -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id()) if ray.is_initialized() else "-"


def main() -> int:
    """Run; the exit code is the run's."""
    own, rest = sys.argv[1 : sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1 :]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--diary", type=Path, required=True)
    parser.add_argument("--fault", action="append", default=[])
    arguments = parser.parse_args(own)
    config = parse_run(rest, "drill")
    assert isinstance(config, RunConfig)
    try:
        return run(config, arguments.diary, arguments.fault)
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def run(config: RunConfig, diary: Path, wanted: Sequence[str]) -> int:
    """As jobs/detect_scene.py does, with the detector wrapped."""
    from pipeline.cluster.executor import RayExecutor
    from pipeline.detectors.weights import load_as_planned, model_card
    from pipeline.engine.local import LocalExecutor
    from pipeline.runs.run import detect

    journal = Journal(form=config.log)
    how = {"device": config.cluster.device, "precision": config.detector.dtype, "runtime": config.detector.runtime}
    card = model_card(config.weights, **how)
    loader = Faulty(
        partial(load_as_planned, card.runtime, config.weights, how, config.cluster.threads),
        Diary,
        (("path", diary),),
    )
    for one in wanted:
        kind, _, settings = one.partition("=")
        values = {key: Window(**value) if key == "window" else value for key, value in json.loads(settings).items()}
        loader = Faulty(loader, getattr(faults, kind), tuple(values.items()))
    if config.executor == "local":
        return detect(config, card, LocalExecutor(loader, max_attempts=config.cluster.max_attempts), journal).exit_code
    with RayExecutor(loader, config.cluster, journal) as executor:
        return detect(config, card, executor, journal).exit_code


if __name__ == "__main__":
    sys.exit(main())
