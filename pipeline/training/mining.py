"""``mine``: the false alarms of a detector on prepared scenes, as places that ``fit`` draws tiles at more often."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

import torch

from pipeline.detectors.weights import load
from pipeline.errors import ConfigError
from pipeline.names import listed
from pipeline.training.data.false_alarms import add_places, false_alarms
from pipeline.training.data.prepared import read_prepared, scenes_sha256
from pipeline.training.data.scenes import load_scenes
from pipeline.training.validation import detect_whole


def mine(arguments: Namespace, report: Callable[[str], None]) -> None:
    """Add the false alarms of ``--weights`` on scenes of ``--scenes`` to the file ``--out``; one line a scene.

    Raises ConfigError when the scenes have other bands than the detector looks at, or ``--only`` names one in vain.
    """
    torch.set_num_threads(arguments.threads)
    detector = load(arguments.weights, "cpu", "float32", arguments.threads)
    prepared = read_prepared(arguments.scenes)
    if prepared and prepared.bands != detector.card.bands:
        raise ConfigError(
            f"{arguments.scenes} has the bands {listed(prepared.bands)}, but {detector.card.name} looks at "
            f"{listed(detector.card.bands)}"
        )
    scenes = [one for one in load_scenes(arguments.scenes) if not arguments.only or one.name in arguments.only]
    if missing := set(arguments.only) - {scene.name for scene in scenes}:
        raise ConfigError(f"--only names scenes that {arguments.scenes} does not hold: {', '.join(sorted(missing))}")
    found = {}
    for scene in scenes:
        places = false_alarms(detect_whole(detector, scene, arguments.halo), scene.truth)
        found[scene.name] = places[places[:, 2] >= arguments.lowest_score]
        best = f", the best scores {found[scene.name][0, 2]:.2f}" if len(found[scene.name]) else ""
        report(f"{scene.name}: {len(found[scene.name])} false alarms{best}")
    names = list(found)
    source = {
        "detector": detector.card.name, "sha256": detector.card.sha256, "scenes": names,
        "data_sha256": scenes_sha256(arguments.scenes, names), "lowest_score": arguments.lowest_score,
    }  # fmt: skip
    add_places(arguments.out, found, source)
