"""What is different inside ``ray job submit``."""

from __future__ import annotations

import os

from pipeline.config import RunConfig
from pipeline.detectors.foreign_files import is_weight_name
from pipeline.detectors.weights import HUB
from pipeline.errors import ConfigError


def in_submitted_job() -> bool:
    """True inside ``ray job submit``, where the working directory is an unpacked copy of the submitter's."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def refuse_relative_paths(config: RunConfig, source: str = "") -> None:
    """Inside a submitted job a relative path names a place in the unpacked copy, never what its author meant.

    ``source``: where the scenes of a feed arrive. Raises ConfigError for the first one (ruling 12).
    """
    if not in_submitted_job():
        return
    named = [
        ("--out", config.out),
        ("source.address", source),
        ("--aoi", "" if config.aoi_is_box else config.aoi or ""),
        ("--raster.mask_file", config.raster.mask_file or ""),
    ]
    named += [("--scene", part) for uri in config.scene for part in uri.removeprefix("@").split(",")]
    local = config.weights.startswith(".") or is_weight_name(config.weights)
    if local and not config.weights.startswith(HUB):  # others may be names of the hub
        named.append(("--weights", config.weights))
    for flag, path in named:
        if path and "://" not in path and not path.startswith("/"):
            raise ConfigError(
                f"{flag} {path} is a relative path, and a submitted job runs in an unpacked copy of the working "
                "directory; give an absolute path that every node sees, or an address such as s3://"
            )
